"""The Dags as Airflow finds them: their exact set, their joints, their forms and their notes."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, timedelta

import pytest
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import (
    CronPartitionTimetable,
    MinimumCount,
    PartitionedAssetTimetable,
    RollupMapper,
    WaitForAll,
    WeekWindow,
)
from airflow.sdk.definitions.partition_mappers.identity import IdentityMapper

from include.settings import PROJECT_ROOT
from include.workflow import Drift, Monitoring, Partition, Training
from tests.factories import declare_workflow
from updraft.dags import build_dags

STEPS = {
    "ingest": ["extract", "validate"],
    "train": ["pin_snapshot", "tune", "fit", "evaluate", "gate", "approve", "register"],
    "deploy": ["verify_evidence", "approve_backfilled", "stage", "smoke_test", "canary", "promote"],
    "monitor": ["collect_predictions", "judge_window", "request_retraining"],
}
NAMES = ("air_quality", "fashion_items", "flight_delays", "release_notes")
LAKE_DAGS = {
    "batch_transform": ["transform"],
    "audit_models": [f"audit_{name}" for name in NAMES],
    "reproduce_model": ["reproduce"],
    "erase_respondent": ["erase", "find_models", "request"],
    "roll_back_model": ["roll_back"],
    "replay_quarantine": ["replay", "require_published"],
    "maintain_lake": sorted(["tidy_ledger", *(f"tidy_{name}" for name in NAMES)]),
}


@pytest.fixture(scope="module")
def dag_bag():
    return DagBag(dag_folder=str(PROJECT_ROOT / "dags"))


def test_discovery_finds_exactly_these_dags(dag_bag):
    assert dag_bag.import_errors == {}
    of_workflows = [f"{name}.{step}" for name in NAMES for step in STEPS]
    assert sorted(dag_bag.dags) == sorted([*of_workflows, *LAKE_DAGS, "watch_runs"])


@pytest.mark.parametrize("dag_id", LAKE_DAGS)
def test_the_dags_of_all_workflows_run_one_at_a_time_and_say_how_to_triage(dag_bag, dag_id):
    dag = dag_bag.dags[dag_id]
    assert sorted(task.task_id for task in dag.tasks) == LAKE_DAGS[dag_id]
    assert (dag.max_active_runs, dag.catchup) == (1, False)
    assert all(
        "*Triage:*" in text and ":param" not in text for text in (dag.doc_md, *(task.doc_md for task in dag.tasks))
    )
    assert all(task.execution_timeout is not None and task.retry_policy is not None for task in dag.tasks)


def test_the_watchdog_is_awake_every_minute(dag_bag):
    dag = dag_bag.dags["watch_runs"]
    assert (dag.timetable.expression, dag.is_paused_upon_creation, dag.max_active_runs) == ("* * * * *", False, 1)
    assert "*Triage:*" in dag.doc_md
    assert "*Triage:*" in dag.get_task("watch").doc_md


@pytest.mark.parametrize("step", STEPS)
def test_each_dag_has_its_steps_in_order(dag_bag, step):
    dag = dag_bag.dags[f"flight_delays.{step}"]
    assert [task.task_id for task in dag.topological_sort()] == STEPS[step]


@pytest.mark.parametrize("step", STEPS)
def test_dag_and_tasks_say_how_to_triage(dag_bag, step):
    dag = dag_bag.dags[f"flight_delays.{step}"]
    assert "*Triage:*" in dag.doc_md
    for task in dag.tasks:
        assert "*Triage:*" in task.doc_md
        assert ":param" not in task.doc_md


@pytest.mark.parametrize("step", STEPS)
def test_every_task_retries_past_a_restart_and_ends(dag_bag, step):
    for task in dag_bag.dags[f"flight_delays.{step}"].tasks:
        waits = [task.retry_delay.total_seconds() * task.retry_exponential_backoff**i for i in range(task.retries)]
        assert sum(waits) > 300
        assert task.execution_timeout is not None
        assert task.retry_policy is not None


@pytest.mark.parametrize("name", NAMES)
def test_assets_join_the_dags_into_a_loop(dag_bag, name):
    own = [task for step in STEPS for task in dag_bag.dags[f"{name}.{step}"].tasks if task.outlets]
    asked = {"request_retraining": [f"{name}/retrain_requested"]} if name == "flight_delays" else {}
    assert {task.task_id: [asset.name for asset in task.outlets] for task in own} == {
        "validate": [f"{name}/validated"],
        "register": [f"{name}/model"],
        "promote": [f"{name}/endpoint"],
        **asked,
    }


def _dags(tmp_path, **changes):
    return {dag.dag_id.split(".")[1]: dag for dag in build_dags(declare_workflow(tmp_path, **changes))}


def test_schedules_carry_partition_keys(tmp_path):
    dags = _dags(tmp_path)
    assert isinstance(dags["ingest"].schedule, CronPartitionTimetable)
    assert isinstance(dags["train"].schedule, PartitionedAssetTimetable)
    mapper = dags["train"].schedule.default_partition_mapper
    assert isinstance(mapper, RollupMapper)
    assert isinstance(mapper.window, WeekWindow)
    assert mapper.wait_policy == WaitForAll()


def test_a_training_listens_to_the_monitor_where_drift_or_decay_is_declared(tmp_path):
    dags = _dags(tmp_path, monitoring=Monitoring(drift=Drift()))
    mappers = {asset.name: mapper for asset, mapper in dags["train"].schedule.partition_mapper_config.items()}
    assert isinstance(mappers["parcels/validated"], RollupMapper)
    assert isinstance(mappers["parcels/retrain_requested"], IdentityMapper)
    assert dags["monitor"].max_active_runs == 1


@pytest.mark.parametrize(("delay", "offset"), [("2 hours", -1), ("1 day", -2), ("30 hours", -2), ("1 week", -8)])
def test_whole_periods_of_delay_move_the_schedule(tmp_path, delay, offset):
    """A run never waits longer than a period, so that it holds no place of an active run for days."""
    dags = _dags(tmp_path, partition=Partition(every="day", start=date(2026, 1, 5), delay=delay))
    assert dags["ingest"].schedule.run_offset == offset


def test_a_run_that_waits_for_late_rows_does_not_time_out(tmp_path):
    dags = _dags(tmp_path, partition=Partition(every="week", start=date(2026, 1, 5), delay="6 days"))
    assert dags["ingest"].dagrun_timeout > timedelta(days=6) > dags["train"].dagrun_timeout


def test_wait_policy_is_the_declared_one(tmp_path):
    mapper = _dags(tmp_path, training=Training(window_minimum=-2))["train"].schedule.default_partition_mapper
    assert mapper.wait_policy == MinimumCount(-2)


def test_training_every_partition_needs_no_rollup(tmp_path):
    mapper = _dags(tmp_path, training=Training(every="day"))["train"].schedule.default_partition_mapper
    assert isinstance(mapper, IdentityMapper)


def test_forms_are_typed_and_have_defaults(dag_bag):
    params = dag_bag.dags["flight_delays.train"].params
    assert sorted(params) == ["as_of", "dry_run", "force", "search_budget_seconds"]
    assert params.get_param("as_of").schema["format"] == "date"
    assert params.get_param("dry_run").schema["type"] == "boolean"
    assert dict(params) == {"as_of": None, "dry_run": False, "force": False, "search_budget_seconds": None}


def test_parsing_imports_nothing_heavy():
    script = (
        "import sys; from include.workflows.flight_delays.workflow import workflow\n"
        "from updraft.dags import build_dags; build_dags(workflow)\n"
        "heavy = ('pandas', 'numpy', 'sklearn', 'great_expectations', 'mlflow', 'pyarrow', 'deltalake', 'skops', "
        "'matplotlib', 'scipy')\n"
        "print([m for m in heavy if m in sys.modules])"
    )
    paths = f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": paths, "HOME": "/tmp"}, capture_output=True, text=True
    )
    assert done.stdout.strip().splitlines()[-1] == "[]", done.stderr


def test_plugin_scanner_sees_one_file():
    """Airflow executes every file that it finds under plugins/: the package must be hidden from it."""
    from airflow.plugins_manager import _get_plugins

    plugins, errors = _get_plugins()
    assert errors == {}
    assert [p.name for p in plugins if p.name == "updraft"] == ["updraft"]


def test_the_tasks_that_work_on_a_version_link_to_its_card(dag_bag):
    """As the API server knows the Dag: from its serialized form."""
    from airflow.serialization.serialized_objects import DagSerialization

    dag = DagSerialization.from_dict(DagSerialization.to_dict(dag_bag.dags["flight_delays.train"]))
    links = {task.task_id: task.operator_extra_link_dict.get("Model card") for task in dag.tasks}
    assert {name for name, link in links.items() if link is not None} == {"evaluate", "gate", "approve", "register"}
    assert links["gate"].xcom_key == "_link_ModelCardLink"
