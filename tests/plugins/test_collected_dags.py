"""The ingest Dag of an archived source: it is asked by `collect` alone, and changed partitions are run again."""

from __future__ import annotations

import sqlite3
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.lake.ledger import latest_run
from include.lake.partitions import read_partition
from include.lake.store import open_lake
from include.workflow import DatabaseSource, Partition, Workflow
from tests.factories import declare_workflow
from tests.plugins.conftest import parse_dag, run_parsed

pytestmark = [pytest.mark.claim("crawls"), pytest.mark.airflow]

QUERY = (
    "SELECT id, sent_at, updated_at, is_late FROM orders WHERE updated_at >= :known_after AND updated_at < "
    ":known_until ORDER BY id"
)
TODAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
KEYS = [f"{TODAY - timedelta(days=n):%Y-%m-%d}" for n in (2, 1)]
SUITE = {
    "name": "orders",
    "expectations": [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "is_late"}}],
}


DAG_FILE = """\
# an Airflow Dag file
from pathlib import Path
from tests.plugins.test_collected_dags import declare
from updraft.dags import build_dags

build_dags(declare(Path({folder!r})))
"""


def declare(folder: Path) -> Workflow:
    source = DatabaseSource(
        conn_id="orders_db",
        query="extract.sql",
        event_time="sent_at",
        known_time="updated_at",
        key=("id",),
        incremental=True,
    )
    partition = Partition(every="day", start=date(2026, 1, 1))
    workflow = declare_workflow(folder, name="orders", source=source, partition=partition, suite=SUITE)
    (folder / "extract.sql").write_text(QUERY)
    return workflow


class Orders:
    """A SQLite file of orders, and the Dag that ingests it."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "orders.db"
        self._n_updates = 0
        self._connection = sqlite3.connect(self.path, isolation_level=None)
        self._connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, sent_at TEXT, updated_at TEXT, is_late INTEGER)"
        )
        self.workflow = declare(folder / "orders")
        self.dags = folder / "dags"
        self.dags.mkdir()
        (self.dags / "orders.py").write_text(DAG_FILE.format(folder=str(self.workflow.folder)))

    def put(self, number: int, day: str, is_late: int) -> None:
        self._n_updates += 1
        updated = datetime.now(UTC) - timedelta(minutes=5) + timedelta(seconds=self._n_updates)
        self._connection.execute(
            "INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)",
            (number, f"{day} 10:00:00", f"{updated:%Y-%m-%d %H:%M:%S}", is_late),
        )

    def run(self, key: str, **conf):
        dag_run = run_parsed(parse_dag("orders.ingest", self.dags), {"partition": key, **conf})
        return {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}


@pytest.fixture
def orders(tmp_path, monkeypatch, airflow_db):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    orders = Orders(tmp_path)
    monkeypatch.setenv("AIRFLOW_CONN_ORDERS_DB", f"sqlite:///{orders.path}")
    return orders


def test_it_collects_then_extracts_from_what_has_landed(orders, monkeypatch):
    orders.put(1, KEYS[0], 0)
    orders.put(2, KEYS[1], 1)
    found = orders.run(KEYS[0])
    assert found == {"collect": "success", "reopen": "skipped", "extract": "success", "validate": "success"}
    # The other day landed with it: no connection is needed, as in a backfill.
    monkeypatch.delenv("AIRFLOW_CONN_ORDERS_DB")
    assert orders.run(KEYS[1], collect=False)["validate"] == "success"
    lake = open_lake()
    assert [latest_run(lake, "orders", key).rows_published for key in KEYS] == [1, 1]


def test_control_asking_the_source_needs_the_connection(orders, monkeypatch):
    monkeypatch.delenv("AIRFLOW_CONN_ORDERS_DB")
    found = orders.run(KEYS[0])
    assert (found["collect"], found["validate"]) == ("failed", "upstream_failed")


def test_a_published_partition_that_changes_is_named_to_be_run_again(orders):
    from include.sources.extraction import collect_partition

    orders.put(1, KEYS[0], 0)
    orders.run(KEYS[0])
    orders.put(1, KEYS[0], 1)
    report = collect_partition(
        orders.workflow, KEYS[1], connection_uri=f"sqlite:///{orders.path}", lake=open_lake(), token=1
    )
    assert report.reopened == (KEYS[0],)
    orders.run(KEYS[0], collect=False)
    assert read_partition(open_lake(), "orders/validated", KEYS[0])["is_late"].to_pylist() == [0, 1]
