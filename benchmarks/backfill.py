"""
A backfill of 56 days of flights beside the same days through tasks that do nothing: what the work adds to Airflow's own
cost.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from benchmarks.report import Finding
from embedded.api_client import FINISHED, AirflowClient
from embedded.cases import FLIGHTS
from include.settings import PROJECT_ROOT
from tests.acceptance.stack import running_stack

N_DAYS = 56
MAX_SECONDS = 900.0
EMPTY = '''\
"""Two tasks a partition that do nothing: an Airflow Dag file."""

from datetime import UTC, datetime

from airflow.sdk import DAG, task

from updraft.defaults import TASK_DEFAULTS
from updraft.schedules import every_partition

with DAG("empty", schedule=every_partition("day"), start_date=datetime(2025, 1, 1, tzinfo=UTC), catchup=False,
         max_active_runs=8, default_args=TASK_DEFAULTS):

    @task
    def first():
        return {}

    @task
    def second(found):
        return {}

    second(first())
'''


def measure() -> list[Finding]:
    """Seconds of each backfill, one after the other on one stack, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "empty.py").write_text(EMPTY, encoding="utf-8")
        shutil.copy(PROJECT_ROOT / "dags" / "flight_delays.py", dags)
        with running_stack(Path(folder) / "home", environ={"UPDRAFT_DAGS_FOLDER": str(dags)}) as stack:
            FLIGHTS.fetch(stack.home, lambda _: None)
            FLIGHTS.load(stack.home, lambda _: None)
            stack.client.wait_for_dags({"empty", "flight_delays.ingest"})
            for dag_id in ("empty", "flight_delays.ingest"):
                stack.client.set_paused(dag_id, False)
            last = datetime.now(UTC).date() - timedelta(days=7)
            # A few days of each first: imports and connections are made then.
            for dag_id in ("empty", "flight_delays.ingest"):
                _backfill_seconds(stack.client, dag_id, last - timedelta(days=N_DAYS + 4), 4)
            first = last - timedelta(days=N_DAYS - 1)
            empty, flights = (
                _backfill_seconds(stack.client, dag_id, first, N_DAYS) for dag_id in ("empty", "flight_delays.ingest")
            )
    return [
        Finding(
            what=f"a backfill of {N_DAYS} days / the same days through empty tasks",
            observed=flights / empty,
            bound=1.5,
            note=f"{flights:.1f} s beside {empty:.1f} s",
        )
    ]


def _backfill_seconds(client: AirflowClient, dag_id: str, first: date, n_days: int) -> float:
    """Seconds from the first run's start to the last one's end."""
    keys = {f"{first + timedelta(days=n)}" for n in range(n_days)}
    deadline = time.monotonic() + MAX_SECONDS
    while not all(found["completed_at"] for found in client.call("GET", "backfills", dag_id=dag_id)["backfills"]):
        time.sleep(1)  # Airflow takes one a Dag at a time, and notices late that one is over
    client.backfill(dag_id, start=f"{first}", end=f"{first + timedelta(days=n_days - 1)}")
    while True:
        runs = [run for run in client.runs(dag_id, run_type="backfill") if run["partition_key"] in keys]
        if len(runs) == n_days and all(run["state"] in FINISHED for run in runs):
            break
        if time.monotonic() > deadline:
            raise RuntimeError(f"the backfill of {dag_id} did not end within {MAX_SECONDS:g} s")
        time.sleep(0.5)
    failed = [run["partition_key"] for run in runs if run["state"] != "success"]
    if failed:
        raise RuntimeError(f"{dag_id}: the runs of {', '.join(failed)} failed")
    starts, ends = ([datetime.fromisoformat(run[name]) for run in runs] for name in ("start_date", "end_date"))
    return (max(ends) - min(starts)).total_seconds()
