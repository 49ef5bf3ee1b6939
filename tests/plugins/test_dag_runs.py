"""Every Dag, run whole by `dag.test()`, on real flights in a real PostgreSQL, to a real endpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta

import pytest
import requests

from include.lake.ledger import current_champion, latest_decision, latest_run
from include.lake.store import open_lake
from include.rehearsal import ingest
from include.settings import PROJECT_ROOT, read_settings
from include.workflow.partitions import window_of_moment, windows_between
from include.workflows.flight_delays.workflow import workflow

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.timeout(900),
]


@pytest.fixture(scope="module")
def lake(updraft_home):
    return open_lake()


@pytest.fixture(scope="module")
def as_of() -> datetime:
    """The end of the last week whose every flight has been reported."""
    return window_of_moment("week", datetime.now(UTC) - workflow.partition.delay).start


@pytest.fixture(scope="module")
def history(lake, as_of, flights_uri):
    """Five weeks of published days before `as_of`: more than half of the declared window, and the week to judge on."""
    for window in windows_between("day", as_of - timedelta(weeks=6), as_of - timedelta(days=1)):
        ingest(workflow, window.key, connection_uri=flights_uri, lake=lake)


@pytest.fixture(scope="module")
def endpoint(updraft_home):
    """The endpoint's process."""
    url = read_settings().endpoint_url
    command = [sys.executable, "-m", "include.serving", "--workflow", "flight_delays", "--port", url.rpartition(":")[2]]
    with (updraft_home / "endpoint.log").open("wb") as log:
        process = subprocess.Popen(
            command, cwd=PROJECT_ROOT, env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}, stdout=log, stderr=log
        )
    deadline = time.monotonic() + 60
    while not _is_live(url):
        assert process.poll() is None, (updraft_home / "endpoint.log").read_text()
        assert time.monotonic() < deadline
        time.sleep(0.2)
    yield url
    process.send_signal(signal.SIGTERM)
    process.wait(timeout=20)


def _is_live(url: str) -> bool:
    try:
        return requests.get(f"{url}/v2/health/live", timeout=2).status_code == 200
    except requests.ConnectionError:
        return False


def states(dag_run) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}


def test_ingest_of_a_keyed_run(run_dag, lake, as_of):
    key = f"{as_of - timedelta(days=1):%Y-%m-%d}"
    run = run_dag("flight_delays.ingest", partition_key=key)
    assert states(run) == {"extract": "success", "validate": "success"}
    line = latest_run(lake, "flight_delays", key)
    assert line.run_id == run.run_id
    assert line.rows_in == line.rows_published + line.rows_quarantined + line.rows_duplicate > 500


def test_ingest_by_hand_without_a_key_takes_the_last_day_that_is_over(run_dag, lake):
    run = run_dag("flight_delays.ingest")
    yesterday = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"
    assert states(run)["validate"] == "success"
    assert latest_run(lake, "flight_delays", yesterday).run_id == run.run_id


@pytest.mark.parametrize(
    ("conf", "task"),
    [
        ({"partition": "../../etc/passwd"}, "extract"),
        ({"partition": "2013-01-01"}, "extract"),
        ({"partitoin": "2026-01-01"}, "extract"),
    ],
    ids=["no key", "before the start", "unknown key"],
)
def test_hostile_conf_fails_the_first_task_with_its_cause(run_dag, updraft_home, conf, task):
    run = run_dag("flight_delays.ingest", conf=conf)
    assert states(run)[task] == "failed"
    assert states(run)["validate"] == "upstream_failed"


@pytest.mark.claim("loop")
@pytest.mark.usefixtures("history")
def test_dry_run_registers_nothing(run_dag, lake, as_of):
    run = run_dag(
        "flight_delays.train", conf={"as_of": f"{as_of:%Y-%m-%d}", "dry_run": True, "search_budget_seconds": 2}
    )
    assert states(run)["tune"] == "success"
    assert states(run)["fit"] == states(run)["register"] == "skipped"
    assert latest_decision(lake, "flight_delays", "1") is None


@pytest.mark.claim("loop")
@pytest.mark.usefixtures("history")
def test_train_then_deploy_then_monitor(run_dag, lake, as_of, endpoint):
    trained = run_dag("flight_delays.train", conf={"as_of": f"{as_of:%Y-%m-%d}", "search_budget_seconds": 4})
    decision = latest_decision(lake, "flight_delays", "1")
    assert decision.verdict == "PROMOTE", decision.reasons
    # Nobody need be asked about what the gate promotes.
    assert set(states(trained).values()) == {"success"}
    assert requests.get(f"{endpoint}/ping", timeout=5).status_code == 503

    deployed = run_dag("flight_delays.deploy", partition_key=f"{as_of:%Y-%m-%d}")
    assert set(states(deployed).values()) == {"success"}
    assert current_champion(lake, "flight_delays").model_version == "1"
    assert requests.get(f"{endpoint}/version", timeout=5).json()["model_version"] == "1"

    watched = run_dag("flight_delays.monitor")
    assert states(watched) == {
        "collect_predictions": "success",
        "judge_window": "success",
        "request_retraining": "skipped",
    }

    rebuilt = run_dag("reproduce_model", conf={"workflow": "flight_delays", "version": "1"})
    assert states(rebuilt) == {"reproduce": "success"}


@pytest.mark.claim("loop")
@pytest.mark.usefixtures("history")
def test_too_short_a_history_skips_an_automatic_training(run_dag, as_of):
    """`dag.test()` makes manual runs, and those fail so that the person who asked is told."""
    run = run_dag("flight_delays.train", conf={"as_of": f"{as_of - timedelta(weeks=4):%Y-%m-%d}"})
    assert states(run)["pin_snapshot"] == "failed"


def test_deploying_a_version_that_does_not_exist_fails_clearly(run_dag, updraft_home):
    run = run_dag("flight_delays.deploy", conf={"model_version": "999"})
    assert states(run)["verify_evidence"] == "failed"
    assert states(run)["promote"] == "upstream_failed"
