"""Trials: leak-free, within a budget, and never repeated."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
from dataclasses import asdict
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.pipeline import Pipeline

from include.errors import TrainingError
from include.lake.files import get_file, list_files, put_file
from include.lake.store import Lake
from include.modeling import search
from include.modeling.search import leaderboard, run_trials
from include.modeling.snapshot import Snapshot, pin_snapshot
from include.modeling.stored_form import dump_pipeline
from include.selection import plan, worker
from include.selection.families import Configuration
from include.selection.trial import Outcome, run_trial
from include.workflow import Search, Target, Training, Workflow
from tests.factories import START, days, parcel_rows
from tests.modeling.conftest import Trained
from tests.modeling.published import AS_OF, declare_short, publish, publish_days, validated

VALIDATION_DAY = START + timedelta(days=3)


def search_all(trained: Trained, training_id: str, **changes: Any) -> list[str]:
    bounds = {"worker": 0, "n_workers": 1, "budget_seconds": 60.0, **changes}
    return run_trials(trained.workflow, trained.snapshot, lake=trained.lake, training_id=training_id, **bounds)


def test_the_leaderboard_is_in_order_with_the_baseline_on_it(trained: Trained) -> None:
    """The naive model's average precision is the share of positives among the validation rows."""
    trials = leaderboard(trained.workflow, trained.lake, "t1")
    scores = [trial.score for trial in trials]
    assert scores == sorted(scores, reverse=True)
    assert {trial.family for trial in trials} == {"naive", "boosting", "linear", "extra_trees"}
    assert trials[-1].is_naive
    assert all(trial.cpu_seconds > 0 and trial.error is None for trial in trials)


def test_a_metric_that_is_better_when_lower_is_ranked_so(trained: Trained) -> None:
    folder = "parcels/_training/loss/trials"
    training = trained.workflow.training.model_copy(update={"search": Search(metric="brier")})
    workflow = trained.workflow.model_copy(update={"training": training})
    run_trials(
        workflow,
        trained.snapshot,
        lake=trained.lake,
        training_id="loss",
        worker=0,
        n_workers=1,
        budget_seconds=60,
        max_trials=2,
    )
    scores = [trial.score for trial in leaderboard(workflow, trained.lake, "loss")]
    assert scores == sorted(scores)
    assert len(list_files(trained.lake, folder)) == 3


@pytest.mark.claim("search")
def test_workers_share_the_trials(trained: Trained) -> None:
    shares = [search_all(trained, "shared", worker=worker, n_workers=3, max_trials=4) for worker in range(3)]
    numbers = [[int(path.rsplit("/", 1)[1][:4]) for path in share] for share in shares]
    assert numbers == [[0, 3], [1, 4], [2]]
    with pytest.raises(TrainingError, match="worker=3 of n_workers=3: number the workers from 0 to 2"):
        search_all(trained, "shared", worker=3, n_workers=3)


def test_without_a_budget_the_baseline_and_one_model_are_tried(trained: Trained) -> None:
    assert len(search_all(trained, "poor", budget_seconds=0.001)) == 2
    assert len(search_all(trained, "poor", worker=1, n_workers=2, budget_seconds=0.001)) == 1


def test_finished_trials_count_against_the_budget(trained: Trained) -> None:
    """A worker that starts again has what its first life left over."""
    first = search_all(trained, "again", max_trials=2)
    spent = sum(trial.cpu_seconds for trial in leaderboard(trained.workflow, trained.lake, "again"))
    assert search_all(trained, "again", budget_seconds=spent) == first


def test_a_trial_that_fails_stands_on_the_leaderboard(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    broken, fine = Configuration(family="linear", params={"C": -1.0}), Configuration(family="linear", params={"C": 1.0})
    monkeypatch.setattr(plan, "portfolio", lambda *_, **__: (broken, fine))
    search_all(trained, "broken", max_trials=2)
    trials = leaderboard(trained.workflow, trained.lake, "broken")
    assert [trial.number for trial in trials] == [2, 0, 1]
    assert trials[-1].score is None
    assert trials[-1].error == "InvalidParameterError: see the task's log"


def fitted_pipelines(workflow: Workflow, lake: Lake, monkeypatch: pytest.MonkeyPatch, training_id: str) -> list[bytes]:
    made: list[Pipeline] = []

    def remember(*args: Any, **kwargs: Any) -> Outcome:
        outcome = run_trial(*args, **kwargs)
        made.extend(outcome.models)
        return outcome

    monkeypatch.setattr(worker, "run_trial", remember)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    run_trials(
        workflow, snapshot, lake=lake, training_id=training_id, worker=0, n_workers=1, budget_seconds=60, max_trials=3
    )
    # Rounds of boosting are stopped by the rows held out: that is their use. What was prepared must not know them.
    return [dump_pipeline(pipeline.named_steps["prepare"]) for pipeline in made[1:]] + [dump_pipeline(made[2])]


def strange(rows: pa.Table) -> pa.Table:
    """Rows of a place and a size that no other row has."""
    rows = rows.set_column(rows.schema.get_field_index("depot"), "depot", pa.array(["moon"] * rows.num_rows))
    return rows.set_column(
        rows.schema.get_field_index("distance_km"), "distance_km", pc.multiply(rows["distance_km"], 1e6)
    )


def test_validation_and_test_rows_change_no_fitted_statistic(
    workflow: Workflow, lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Byte for byte the same preparation, whatever the rows to choose and to judge on. A strange train day
    is the control.
    """
    publish_days(workflow, lake)
    before = fitted_pipelines(workflow, lake, monkeypatch, "a")
    for day in days(3, start=VALIDATION_DAY):
        publish(workflow, lake, day, validated(strange(parcel_rows(day=day, n_rows=60))))
    assert fitted_pipelines(workflow, lake, monkeypatch, "b") == before
    publish(workflow, lake, START, validated(strange(parcel_rows(day=START, n_rows=60))))
    assert all(new != old for new, old in zip(fitted_pipelines(workflow, lake, monkeypatch, "c"), before, strict=True))


@pytest.mark.parametrize(
    ("positive", "depots", "message"),
    [
        (5, None, "the train rows hold one class only: 0 of 180 have is_late = 5: check target.positive"),
        (True, "null", "target column 'is_late' is null in 1 of 180 rows: leave such rows out in the query"),
    ],
)
def test_labels_that_say_nothing_are_refused(
    tmp_path: Path, lake: Lake, positive: Any, depots: str | None, message: str
) -> None:
    workflow = declare_short(tmp_path / "parcels", target=Target(column="is_late", positive=positive))
    publish_days(workflow, lake)
    if depots == "null":
        rows = parcel_rows(day=START, n_rows=60)
        labels = pa.array([None, *rows["is_late"].to_pylist()[1:]], pa.bool_())
        publish(
            workflow, lake, START, validated(rows.set_column(rows.schema.get_field_index("is_late"), "is_late", labels))
        )
    with pytest.raises(TrainingError) as raised:
        run_trials(
            workflow,
            pin_snapshot(workflow, AS_OF, lake=lake),
            lake=lake,
            training_id="a",
            worker=0,
            n_workers=1,
            budget_seconds=9,
        )
    assert message in str(raised.value)


def test_a_target_that_is_no_column_is_refused(trained: Trained, tmp_path: Path) -> None:
    workflow = declare_short(tmp_path / "parcels", target=Target(column="late"))
    with pytest.raises(TrainingError, match=r"target.column='late' is no column of the validated rows"):
        run_trials(
            workflow, trained.snapshot, lake=trained.lake, training_id="x", worker=0, n_workers=1, budget_seconds=9
        )


def test_a_trial_that_another_try_finished_first_stands(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stale try's own result has other bytes (its seconds); files never change, so the first one stays."""
    [path] = search_all(trained, "raced", worker=1, n_workers=2, max_trials=1)
    before = get_file(trained.lake, path)
    monkeypatch.setattr(search, "read_trials", lambda *_: [])
    assert search_all(trained, "raced", worker=1, n_workers=2, max_trials=1) == [path]
    assert get_file(trained.lake, path) == before


def test_a_damaged_record_is_named(trained: Trained) -> None:
    put_file(trained.lake, "parcels/_training/damaged/trials/000-x.json", b"{")
    with pytest.raises(TrainingError, match=r"parcels/_training/damaged/trials/000-x.json .* is no record of a trial"):
        leaderboard(trained.workflow, trained.lake, "damaged")


def test_progress_is_told(trained: Trained, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="include.selection.worker")
    search_all(trained, "told", max_trials=1)
    assert "trial 0: naive, average_precision 0." in caplog.text
    assert "trial 1: boosting, average_precision 0." in caplog.text
    assert "s of the budget left" in caplog.text


WORKER = """
import json, sys
from pathlib import Path
from include.lake.store import Lake
from include.modeling.search import run_trials
from include.modeling.snapshot import Snapshot
from tests.modeling.published import declare_short
workflow = declare_short(Path(sys.argv[1]))
snapshot = Snapshot(**json.loads(sys.argv[3]))
run_trials(workflow, snapshot, lake=Lake(uri=sys.argv[2]), training_id="killed", worker=0, n_workers=1,
    budget_seconds=600, max_trials=3)
"""


def run_worker(workflow: Workflow, lake: Lake, snapshot: Snapshot, *, crash_at: str) -> int:
    """Exit code of a worker's process that is told to crash."""
    done = subprocess.run(
        [sys.executable, "-c", WORKER, str(workflow.folder), lake.uri, json.dumps(asdict(snapshot))],
        env={**os.environ, "UPDRAFT_CRASH_AT": crash_at, "OMP_NUM_THREADS": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        check=False,
        timeout=120,
    )
    return done.returncode


@pytest.mark.claim("search")
def test_a_killed_worker_repeats_no_finished_trial(
    workflow: Workflow, lake: Lake, caplog: pytest.LogCaptureFixture
) -> None:
    """Killed after its first trial was recorded, then before its second was: the third life runs what is left, once."""
    publish_days(workflow, lake)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    assert run_worker(workflow, lake, snapshot, crash_at="trial.after_record") == -signal.SIGKILL
    [first] = list_files(lake, "parcels/_training/killed/trials")
    content = get_file(lake, first)
    assert run_worker(workflow, lake, snapshot, crash_at="trial.before_record") == -signal.SIGKILL
    assert list_files(lake, "parcels/_training/killed/trials") == [first]
    caplog.set_level(logging.INFO, logger="include.selection.worker")
    for _ in range(2):
        run_trials(
            workflow, snapshot, lake=lake, training_id="killed", worker=0, n_workers=1, budget_seconds=600, max_trials=3
        )
    assert [record.args[0] for record in caplog.records if "CPU-seconds" in record.msg] == [1, 2, 3]  # type: ignore[index]
    assert get_file(lake, first) == content


def test_scores_do_not_depend_on_who_ran_them(trained: Trained) -> None:
    """Two workers and one give the same scores."""
    search_all(trained, "one", max_trials=3)
    alone = {trial.number: trial.score for trial in leaderboard(trained.workflow, trained.lake, "one")}
    together = {trial.number: trial.score for trial in leaderboard(trained.workflow, trained.lake, "t1")}
    assert alone == together
    assert np.isfinite(list(alone.values())).all()


def test_an_integer_seed_reaches_the_trials(trained: Trained) -> None:
    assert {trial.seed for trial in leaderboard(trained.workflow, trained.lake, "t1")} == {Training().random_state}
