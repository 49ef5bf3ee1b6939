"""
A retrain whose table has grown by some 15 %, of the tables that scikit-learn brings: cold, and warm from the training
before.

The best of 24 trials is mostly the luckiest of several equal ones. So a score counts as reached by the rule by which a
search calls two trials equally good (`prefer`, docs/search.md): the chance of being no worse is above 20 %.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

from include.evaluation.paired import compare_paired
from include.lake.store import Lake
from include.modeling.search import leaderboard, load_search_data, run_trials
from include.modeling.snapshot import pin_snapshot
from include.modeling.trials import Trial, read_predictions
from include.modeling.warm_start import keep_for_next
from include.selection.problem import FloatArray
from include.workflow import Gate, Search, Target, Training, Workflow
from tests.factories import START, days, declare_workflow
from tests.modeling.published import publish, validated

# How to load a table, its task, a metric, and how to read its labels.
TABLES: dict[str, tuple[Callable[..., Any], str, str, Callable[[Any], Any]]] = {
    "breast_cancer": (load_breast_cancer, "classification", "log_loss", lambda y: y.astype(bool)),
    "diabetes": (load_diabetes, "regression", "rmse", lambda y: y.astype(float)),
    "wine": (load_wine, "multiclass", "log_loss", lambda y: np.array(["a", "b", "c"])[y]),
}
N_DAYS, N_TRIALS = 20, 24
BEFORE, NOW = (START + timedelta(days=n) for n in (N_DAYS - 3, N_DAYS))
EQUAL = 0.2


def names_of(X: Any) -> list[str]:
    return [f"x{i}" for i in range(X.shape[1])]


def declare_table(folder: Path, X: Any, *, task: str, metric: str) -> Workflow:
    """A table of scikit-learn, of which each day brings some rows."""
    workflow = declare_workflow(
        folder,
        target=Target(column="y", task=task),  # type: ignore[arg-type]
        training=Training(
            window=f"{N_DAYS - 1} days",
            window_minimum=10,
            validation="1 day",
            test="1 day",
            split="random",
            minimum_rows=50,
            search=Search(metric=metric, budget_seconds=3600),
        ),
        gate=Gate(minimum={}),
    )
    builder = f"def build(row):\n    return {{name: row[name] for name in {names_of(X)}}}\n"
    (folder / "features.py").write_text(builder, encoding="utf-8")
    return workflow


def publish_table(workflow: Workflow, lake: Lake, X: Any, y: Any) -> None:
    """Publish a share of the rows each day."""
    for day, rows in zip(days(N_DAYS), np.array_split(np.arange(len(y)), N_DAYS), strict=True):
        at = pa.array([day + timedelta(minutes=n) for n in range(len(rows))], pa.timestamp("us", tz="UTC"))
        columns = {"parcel_id": pa.array(rows), "sent_at": at, "recorded_at": at, "y": pa.array(y[rows])}
        features = {name: pa.array(X[rows, i]) for i, name in enumerate(names_of(X))}
        publish(workflow, lake, day, validated(pa.table({**columns, **features})))


def search(
    workflow: Workflow, lake: Lake, as_of: datetime, name: str, *, n_trials: int, warm_from: str | None = None
) -> list[Trial]:
    """Trials of a search in their order, without the baseline."""
    run_trials(
        workflow,
        pin_snapshot(workflow, as_of, lake=lake),
        lake=lake,
        training_id=name,
        worker=0,
        n_workers=1,
        budget_seconds=3600,
        max_trials=n_trials,
        warm_from=warm_from,
    )
    found = (trial for trial in leaderboard(workflow, lake, name) if not trial.is_naive)
    return sorted(found, key=lambda trial: trial.number)


class Retrain:
    """A cold search of a table that has grown, and what came before it."""

    def __init__(self, folder: Path, table: str) -> None:
        load, task, metric, read = TABLES[table]
        X, y = load(return_X_y=True)
        chance = np.random.default_rng(0)
        rows = chance.permutation(len(y))
        X, y = X[rows], read(y[rows])
        self.workflow, self.lake = declare_table(folder, X, task=task, metric=metric), Lake(uri=str(folder / "lake"))
        publish_table(self.workflow, self.lake, X, y)
        disordered = Lake(uri=str(folder / "disordered"))
        publish_table(self.workflow, disordered, X, chance.permutation(y))
        snapshot = pin_snapshot(self.workflow, BEFORE, lake=self.lake)
        for name, (lake, n_trials) in {"learned": (self.lake, N_TRIALS), "misled": (disordered, N_TRIALS // 2)}.items():
            trials = search(self.workflow, lake, BEFORE, name, n_trials=n_trials)
            keep_for_next(self.lake, self.workflow, snapshot, training_id=name, trials=trials)
        data = load_search_data(
            self.workflow, pin_snapshot(self.workflow, NOW, lake=self.lake), lake=self.lake, with_features=False
        )
        self.problem, self.y = data.problem, data.y[data.held_out]
        self.cold = search(self.workflow, self.lake, NOW, "cold", n_trials=N_TRIALS)
        self.best = self.predictions("cold", min(self.cold, key=lambda trial: trial.loss))

    def predictions(self, name: str, trial: Trial) -> FloatArray:
        return read_predictions(self.lake, self.workflow.name, name, trial)

    def n_until_as_good(self, name: str, trials: list[Trial]) -> int:
        """Trials until one is as good as the best of the cold search; one more than there are, if none is."""
        for n, trial in enumerate(trials, start=1):
            if trial.score is not None:
                found = self.predictions(name, trial)
                kind = {"random_state": 0, "task": self.problem.task}
                if compare_paired(self.problem.metric, self.y, found, self.best, **kind).p_worse > EQUAL:
                    return n
        return len(trials) + 1

    def n_warm(self, warm_from: str) -> int:
        name = f"warm-{warm_from}"
        trials = search(self.workflow, self.lake, NOW, name, n_trials=N_TRIALS // 2, warm_from=warm_from)
        return self.n_until_as_good(name, trials)


@pytest.mark.claim("search")
@pytest.mark.timeout(900)
def test_a_warm_start_needs_half_of_the_trials(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    """Beside it the control: what was learned from labels in disorder is no help."""
    cold, warm, misled = [], [], []
    for table in TABLES:
        retrain = Retrain(tmp_path / table, table)
        cold.append(retrain.n_until_as_good("cold", retrain.cold))
        warm.append(retrain.n_warm("learned"))
        misled.append(retrain.n_warm("misled"))
    record_property(
        "figure",
        f"as good as the best of {N_TRIALS} cold trials after {warm} trials when warm, {cold} when cold, {misled} when "
        f"misled ({', '.join(TABLES)})",
    )
    assert sum(warm) <= sum(cold) / 2
    assert sum(misled) > sum(cold) / 2
