"""
Alerts of Dags that are run by `dag.test()`: tasks that raise, days that are missing, rounds of the watchdog, a channel
that is down.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from include.lake.incidents import open_incident, read_incidents
from include.lake.ledger import append_run
from include.lake.records import RunRecord
from include.lake.store import Lake, open_lake
from include.workflow import Partition, Workflow
from tests.alerts.receivers import SECRET, HookSink, hook_sink
from tests.factories import declare_workflow
from tests.plugins.conftest import parse_dag, run_parsed

pytestmark = [pytest.mark.claim("alerts"), pytest.mark.airflow]

# The watchdog under another name than the project's own: Airflow's database holds both.
DAG_FILE = """\
# an Airflow Dag file
from pathlib import Path
from tests.plugins.test_alerts import declare
from updraft.dags import build_dags
from updraft.replay_dags import build_replay_dag
from updraft.watch_dags import build_watch_dag

told, silent = (declare(Path({folder!r}), name) for name in ("postcards", "telegrams"))
untold = silent.model_copy(update={{"alerts": ()}})
build_dags(told)
build_dags(untold)
build_replay_dag([told, untold], doc="", dag_id="replay_postcards")
watch = build_watch_dag(doc="", workflows=[told, silent])
watch.dag_id = "watch_postcards"
"""
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
DAYS = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in range(6)]


def declare(folder: Path, name: str) -> Workflow:
    partition = Partition(every="day", start=date(2026, 1, 1), delay="1 minute")
    return declare_workflow(folder, name=name, partition=partition, alerts=("ops_hook",))


@pytest.fixture(scope="module")
def dags(tmp_path_factory: pytest.TempPathFactory, airflow_db: None) -> Path:
    """
    The Dags of two workflows whose source is an empty SQLite file, and of their watchdog.

    Those of `telegrams` call nobody back, as when the Dag processor dies: of it only the watchdog tells.
    """
    folder = tmp_path_factory.mktemp("postcards")
    (folder / "dags").mkdir()
    (folder / "dags" / "postcards.py").write_text(DAG_FILE.format(folder=str(folder / "files")))
    return folder / "dags"


@dataclass(frozen=True)
class Postcards:
    """The Dags, and who is told."""

    dags: Path
    hook: HookSink

    def run(self, dag_id: str, **conf: Any) -> Any:
        """Run one Dag; return the run."""
        return run_parsed(parse_dag(dag_id, self.dags), conf)

    def watch(self) -> str:
        """Run one round of the watchdog; return its state."""
        return str(self.run("watch_postcards").state)


@pytest.fixture
def postcards(dags: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Postcards]:
    """A lake of its own for each test."""
    sqlite3.connect(tmp_path / "postcards.db").close()
    with hook_sink() as hook:
        monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
        monkeypatch.setenv(
            "AIRFLOW_CONN_PARCELS_DB", json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "postcards.db")})
        )
        monkeypatch.setenv("AIRFLOW_CONN_OPS_HOOK", json.dumps(hook.settings()))
        yield Postcards(dags, hook)


def published(key: str, *, at: datetime) -> RunRecord:
    counts = {"rows_in": 1, "rows_published": 1, "rows_quarantined": 0, "rows_duplicate": 0}
    versions = {"table_version": 1, "quarantine_version": 1, "raw_version": 1}
    return RunRecord(
        workflow="postcards",
        partition_key=key,
        run_id="r",
        try_id="t",
        digest="d",
        recorded_at=at,
        **counts,
        **versions,
    )


def set_paused(postcards: Postcards, dag_id: str, *, is_paused: bool) -> None:
    """As the switch in the web UI does."""
    from airflow.models.dag import DagModel
    from airflow.utils.session import create_session

    parse_dag(dag_id, postcards.dags)
    with create_session() as session:
        session.get(DagModel, dag_id).is_paused = is_paused


def test_a_task_that_raises_is_told_once_with_its_cause_and_triage(
    postcards: Postcards, caplog: pytest.LogCaptureFixture
) -> None:
    run = postcards.run("postcards.ingest", partition=DAYS[5])
    assert str(run.state) == "failed"
    assert postcards.watch() == "success"  # finds it told
    (body,) = postcards.hook.bodies
    (incident,) = body["incidents"]
    assert body["text"] == f"[Updraft] postcards {DAYS[5]}: a task failed"
    assert incident["summary"].startswith("SourceQueryError: ")
    assert incident["triage"].startswith("the message names the connection, table or column.")
    assert incident["links"]["run"].endswith(f"/dags/postcards.ingest/runs/{quote(run.run_id, safe='')}/tasks/extract")
    assert SECRET not in caplog.text


def test_a_replay_that_fails_is_told_to_those_whose_rows_it_was_about(postcards: Postcards) -> None:
    """And once one of the same workflow is done, that it is over."""
    for name in ("telegrams", "postcards"):
        assert str(postcards.run("replay_postcards", workflow=name, partitions=[DAYS[5]]).state) == "failed"
    (body,) = postcards.hook.bodies
    assert body["text"] == "[Updraft] postcards: a task failed"
    (incident,) = body["incidents"]
    assert incident["summary"].startswith(f"PartitionNotFoundError: nothing of postcards {DAYS[5]} has landed")
    assert "/dags/replay_postcards/runs/" in incident["links"]["run"]
    assert str(postcards.run("replay_postcards", workflow="postcards").state) == "success"
    assert postcards.hook.texts[1:] == ["[Updraft] Recovered: postcards: a task failed"]


def test_who_said_nothing_is_found_by_the_watchdog_once(postcards: Postcards, tmp_path: Path) -> None:
    """A second round finds it told, even if it has forgotten what the first one saw."""
    postcards.run("telegrams.ingest", partition=DAYS[3])
    assert postcards.hook.requests == []
    assert postcards.watch() == "success"
    shutil.rmtree(tmp_path / "home" / "watch")
    assert postcards.watch() == "success"
    # Each test has a lake of its own; Airflow's database still has what failed before.
    assert [text for text in postcards.hook.texts if DAYS[3] in text] == [
        f"[Updraft] telegrams {DAYS[3]}: a task was killed or lost"
    ]


def test_a_run_that_took_too_long_is_found_though_none_of_its_tasks_failed(postcards: Postcards) -> None:
    """As Airflow leaves it (`dagrun_timeout`): the run is failed, what had not ended is skipped."""
    from airflow.models.dagrun import DagRun
    from airflow.utils.session import create_session

    run = postcards.run("telegrams.ingest", partition=DAYS[4])
    with create_session() as session:
        dag_run = session.get(DagRun, run.id)
        for task in dag_run.get_task_instances(session=session):
            task.state = "skipped"
    assert [postcards.watch() for _ in range(2)] == ["success"] * 2
    assert [text for text in postcards.hook.texts if DAYS[4] in text] == [
        f"[Updraft] telegrams {DAYS[4]}: a run failed"
    ]


def test_a_day_past_its_time_is_told_once_and_its_arrival_once(postcards: Postcards) -> None:
    lake = open_lake()
    append_run(lake, published(DAYS[5], at=TODAY - timedelta(days=4, hours=-1)))
    for key in (DAYS[4], DAYS[3], DAYS[1]):
        append_run(lake, published(key, at=TODAY))
    set_paused(postcards, "postcards.ingest", is_paused=True)
    assert postcards.watch() == "success"
    assert missing_of(lake) == []  # nobody waits for the days of a paused Dag
    set_paused(postcards, "postcards.ingest", is_paused=False)
    assert postcards.watch() == "success"
    assert missing_of(lake) == [(DAYS[2], True)]
    append_run(lake, published(DAYS[2], at=datetime.now(UTC)))
    assert [postcards.watch() for _ in range(2)] == ["success"] * 2
    assert missing_of(lake) == [(DAYS[2], False)]
    told = [
        f"[Updraft] postcards {DAYS[2]}: data is missing",
        f"[Updraft] Recovered: postcards {DAYS[2]}: data is missing",
    ]
    assert [text for text in postcards.hook.texts if "missing" in text] == told


def missing_of(lake: Lake) -> list[tuple[str, bool]]:
    return [(i.partition_key, i.is_open) for i in read_incidents(lake) if i.kind == "missing_data"]


@pytest.mark.parametrize("fault", ["down", "no connection"])
def test_a_round_that_could_not_tell_is_red_and_names_the_channel(
    postcards: Postcards, fault: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    postcards.hook.status = 503
    if fault == "no connection":
        monkeypatch.delenv("AIRFLOW_CONN_OPS_HOOK")
    open_incident(
        open_lake(),
        workflow="postcards",
        partition_key="",
        kind="failed_task",
        subject="train.fit",
        summary="s",
        counts={},
    )
    assert postcards.watch() == "failed"
    assert "Nobody was told through 'ops_hook' at attempt 1" in caplog.text
    assert SECRET not in caplog.text


def test_a_workflow_that_tells_nobody_has_no_callback(postcards: Postcards) -> None:
    dag = parse_dag("telegrams.ingest", postcards.dags)
    assert not dag.on_failure_callback
    assert not any(task.on_failure_callback or task.on_retry_callback for task in dag.tasks)


@pytest.mark.parametrize("step", ["ingest", "train", "deploy", "monitor"])
def test_every_dag_and_task_of_one_that_does_has_them(postcards: Postcards, step: str) -> None:
    dag = parse_dag(f"postcards.{step}", postcards.dags)
    assert dag.on_failure_callback
    assert dag.on_success_callback
    assert all(task.on_failure_callback and task.on_retry_callback for task in dag.tasks)
