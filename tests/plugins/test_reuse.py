"""What one run of a training has done, another run on the same rows takes over, and says so."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.lake.store import open_lake
from include.registry.lookup import list_versions
from include.registry.stages import find_stage, record_stage, stage_key
from include.registry.store import open_registry
from include.workflow import Search, Training, Workflow
from tests.factories import START, days, parcel_rows
from tests.modeling.published import AS_OF, declare_short, publish, publish_days, validated
from updraft.dags import build_dags
from updraft.operators.reuse import REUSED_FROM, ReusedFromLink

pytestmark = pytest.mark.claim("loop")

STEPS = ("tune", "fit", "evaluate", "gate")


@dataclass
class Run:
    """One run of the train Dag's steps, with their own `execute`, in this process."""

    workflow: Workflow
    run_id: str
    params: dict[str, Any] = field(default_factory=dict)
    pushed: dict[str, Any] = field(default_factory=dict)

    def context(self, step: str) -> dict[str, Any]:
        pushed = self.pushed.setdefault(step, {})
        known = {"as_of": f"{AS_OF:%Y-%m-%d}", "force": False, "dry_run": False, "search_budget_seconds": 2}
        return {
            "run_id": self.run_id,
            "params": {**known, **self.params},
            "dag": SimpleNamespace(params=known),
            "dag_run": SimpleNamespace(run_type="manual", conf={}, run_after=datetime.now(UTC)),
            "ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value})),
        }

    def go(self, steps: tuple[str, ...] = STEPS) -> dict[str, Any]:
        """Run some of the steps, after the snapshot is pinned; their results."""
        dag = next(dag for dag in build_dags(self.workflow) if dag.dag_id == "parcels.train")
        done = {"pin_snapshot": dag.get_task("pin_snapshot").execute(self.context("pin_snapshot"))}
        for step in steps:
            task = dag.get_task(step)
            task = task.unmap({"worker": 0, "workflow": self.workflow, "training": None}) if step == "tune" else task
            task.training = done["pin_snapshot"]
            if step in ("evaluate", "gate"):
                task.version = done["fit"]["version"]
            done[step] = task.execute(self.context(step))
            self.pushed[step]["link"] = ReusedFromLink().get_link(task, ti_key=SimpleNamespace(dag_id=dag.dag_id))
        return done

    def reused(self) -> dict[str, str | None]:
        return {step: pushed.get(REUSED_FROM) for step, pushed in self.pushed.items() if step in STEPS}


@pytest.fixture(scope="module")
def done_once(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A home in which run `manual__1` has trained, and its results."""
    home = tmp_path_factory.mktemp("reuse")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(home / "home"))
        workflow = declare(home)
        publish_days(workflow, open_lake(), n_rows=120)
        first = Run(workflow, "manual__1")
        done = first.go()
        assert first.reused() == dict.fromkeys(STEPS)  # the control: nothing was there
        assert {first.pushed[step]["link"] for step in STEPS} == {""}
    return home, done


@pytest.fixture
def workflow(done_once: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workflow:
    """The workflow, in a copy of that home."""
    shutil.copytree(done_once[0] / "home", tmp_path / "home")
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    return declare(tmp_path)


def declare(folder: Path) -> Workflow:
    """Parcels with one family, one worker."""
    search = Search(metric="roc_auc", workers=1, families=("linear",))
    training = Training(window="4 days", validation="1 day", test="2 days", minimum_rows=100, search=search)
    return declare_short(folder / "parcels", training=training)


def n_versions(workflow: Workflow) -> int:
    return len(list_versions(open_registry(), workflow.name))


def test_a_second_run_on_the_same_rows_takes_all_over_and_says_from_whom(
    workflow: Workflow, done_once: tuple[Path, Any]
) -> None:
    # another day: the table has another version, the rows are the same
    publish_days(workflow, open_lake(), [days(7)[-1]])
    second = Run(workflow, "manual__2")
    again = second.go()
    assert second.reused() == dict.fromkeys(STEPS, "manual__1")
    assert {step: again[step] for step in STEPS} == {step: done_once[1][step] for step in STEPS}
    assert all(second.pushed[step]["link"].endswith("/dags/parcels.train/runs/manual__1") for step in STEPS)
    assert n_versions(workflow) == 1


def test_force_does_it_anew_and_marks_what_is_as_of_a_past_date(
    workflow: Workflow, done_once: tuple[Path, Any]
) -> None:
    publish_days(workflow, open_lake(), [days(14)[-1]])
    forced = Run(workflow, "manual__2", params={"force": True})
    assert forced.go(("tune", "fit"))["fit"]["is_backfilled"] is True
    assert forced.reused() == {"tune": None, "fit": None}
    assert done_once[1]["fit"]["is_backfilled"] is False
    assert [version.is_backfilled for version in list_versions(open_registry(), "parcels")] == [False, True]


@pytest.mark.parametrize("name", ["code_digest", "lock_digest", ""])
def test_other_code_libraries_or_rows_are_another_training(
    workflow: Workflow, done_once: tuple[Path, Any], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def training_id() -> str:
        return str(Run(workflow, "manual__2").go(())["pin_snapshot"]["training_id"])

    assert training_id() == done_once[1]["pin_snapshot"]["training_id"]  # the control
    if name:
        monkeypatch.setattr(f"include.modeling.identity.{name}", lambda: "0" * 64)
    else:
        publish(workflow, open_lake(), START, validated(parcel_rows(day=START, n_rows=120, seed=7)))
    assert training_id() != done_once[1]["pin_snapshot"]["training_id"]


def test_what_is_cleared_in_its_own_run_is_done_again_and_makes_no_second_version(
    workflow: Workflow, done_once: tuple[Path, Any]
) -> None:
    cleared = Run(workflow, "manual__1")
    assert cleared.go(("tune", "fit"))["fit"] == done_once[1]["fit"]
    assert cleared.reused() == {"tune": None, "fit": None}
    assert n_versions(workflow) == 1


def test_a_dry_run_takes_nothing_over(workflow: Workflow) -> None:
    """It would go on with the version that is there, to the gate and further."""
    with pytest.raises(AirflowSkipException, match="dry run"):
        Run(workflow, "manual__2", params={"dry_run": True}).go()


def test_a_version_that_is_gone_is_not_taken_over(workflow: Workflow) -> None:
    registry = open_registry()
    assert Run(workflow, "manual__2").go(("fit",))["fit"]["version"] == "1"  # the control
    registry.client.delete_model_version("parcels", "1")
    again = Run(workflow, "manual__3")
    assert again.go(("fit",))["fit"]["training_id"]
    assert again.reused() == {"fit": None}


def test_of_two_records_the_first_stays_and_a_broken_one_counts_as_none(workflow: Workflow) -> None:
    lake, key = open_lake(), stage_key("a", 1)
    for run_id in ("first", "second"):
        record_stage(lake, "parcels", "fit", key, run_id=run_id, result={"x": 1})
    finished = find_stage(lake, "parcels", "fit", key)
    assert finished is not None
    assert (finished.run_id, finished.result) == ("first", {"x": 1})
    assert find_stage(lake, "parcels", "fit", stage_key("a", 2)) is None
    Path(f"{lake.uri}/parcels/_stages/fit-{key}.json").write_text("{")
    assert find_stage(lake, "parcels", "fit", key) is None
