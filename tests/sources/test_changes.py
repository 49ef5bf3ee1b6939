"""A database read by its changes: every version lands once, and a training sees the one that was known."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.errors import DeclarationError, PartitionError, SourceQueryError
from include.lake.ledger import RunRecord, append_run
from include.lake.partitions import read_partition
from include.lake.store import Lake, open_table
from include.sources.extraction import collect_partition, extract_partition
from include.workflow import DatabaseSource, Partition, Workflow
from tests.crashes import KILLED
from tests.factories import START, declare_workflow
from tests.forks import PROCESSES

QUERY = """
SELECT id, sent_at, updated_at, price FROM orders
WHERE updated_at >= :known_after AND updated_at < :known_until
ORDER BY updated_at, id
"""
KEY = "2026-01-05"


def lately(seconds: int = 0) -> datetime:
    """A known time that the next collection covers: a row is updated when it is updated, not in the past."""
    return datetime.now(UTC) - timedelta(minutes=30) + timedelta(seconds=seconds)


class Orders:
    """A SQLite file whose rows change: only the newest version is there, as in most databases."""

    def __init__(self, path: Path) -> None:
        self.uri = f"sqlite:///{path}"
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.execute(
            "CREATE TABLE orders (id INTEGER PRIMARY KEY, sent_at TEXT, updated_at TEXT, price REAL)"
        )

    def put(self, number: int, price: float, *, sent: datetime | None = START, updated: datetime = START) -> None:
        row = (number, f"{sent:%Y-%m-%d %H:%M:%S}" if sent else None, f"{updated:%Y-%m-%d %H:%M:%S}", price)
        self._connection.execute("INSERT OR REPLACE INTO orders VALUES (?, ?, ?, ?)", row)


@pytest.fixture
def orders(tmp_path: Path) -> Orders:
    return Orders(tmp_path / "orders.db")


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    return declare(tmp_path / "w")


def declare(folder: Path) -> Workflow:
    source = DatabaseSource(
        conn_id="db",
        query="extract.sql",
        event_time="sent_at",
        known_time="updated_at",
        key=("id",),
        incremental=True,
        overlap="1 hour",
    )
    workflow = declare_workflow(folder, source=source, partition=Partition(every="day", start=date(2026, 1, 1)))
    (workflow.folder / "extract.sql").write_text(QUERY)
    return workflow


def collect(workflow: Workflow, orders: Orders, lake: Lake):
    return collect_partition(workflow, KEY, connection_uri=orders.uri, lake=lake, token=1)


def rows_of(workflow: Workflow, lake: Lake, key: str = KEY) -> list[tuple[int, float]]:
    extract_partition(workflow, key, connection_uri=None, lake=lake, token=1)
    rows = read_partition(lake, "parcels/raw", key)
    return list(zip(rows["id"].to_pylist(), rows["price"].to_pylist(), strict=True))


def publish(lake: Lake, key: str = KEY) -> None:
    counts = {"rows_in": 0, "rows_published": 0, "rows_quarantined": 0, "rows_duplicate": 0}
    versions = {"table_version": 0, "quarantine_version": 0, "raw_version": 0}
    names = {"workflow": "parcels", "partition_key": key, "run_id": "r", "try_id": "t", "digest": "d"}
    append_run(lake, RunRecord(**names, **counts, **versions, recorded_at=datetime.now(UTC)))


def test_every_version_of_a_row_is_kept_though_the_database_forgets(workflow, orders, lake):
    orders.put(1, 10.0)
    orders.put(2, 20.0)
    assert collect(workflow, orders, lake).counts == {"rows": 2}
    orders.put(1, 11.0, updated=lately())
    assert collect(workflow, orders, lake).counts == {"rows": 1}
    assert rows_of(workflow, lake) == [(1, 10.0), (1, 11.0), (2, 20.0)]


def test_a_collection_without_news_lands_nothing(workflow, orders, lake):
    orders.put(1, 10.0)
    collect(workflow, orders, lake)
    version = open_table(lake, "parcels/changes").version()
    report = collect(workflow, orders, lake)
    assert (report.is_new, report.reopened, report.counts) == (False, (), {"rows": 0})
    assert open_table(lake, "parcels/changes").version() == version


def test_a_row_that_was_committed_late_is_found_within_the_overlap(workflow, orders, lake):
    orders.put(1, 10.0)
    collect(workflow, orders, lake)
    now = datetime.now(UTC)
    orders.put(2, 20.0, updated=now - timedelta(minutes=50))
    collect(workflow, orders, lake)
    orders.put(3, 30.0, updated=now - timedelta(minutes=55))  # before the watermark, by less than an hour
    assert collect(workflow, orders, lake).counts == {"rows": 1}
    assert rows_of(workflow, lake) == [(1, 10.0), (2, 20.0), (3, 30.0)]


def test_control_beyond_the_overlap_it_is_missed(workflow, orders, lake):
    orders.put(1, 10.0)
    collect(workflow, orders, lake)
    orders.put(2, 20.0, updated=datetime.now(UTC) - timedelta(hours=3))
    assert collect(workflow, orders, lake).counts == {"rows": 0}


def test_published_partitions_that_changed_are_reopened(workflow, orders, lake):
    tomorrow = START + timedelta(days=1)
    orders.put(1, 10.0)
    orders.put(2, 20.0, sent=tomorrow)
    assert collect(workflow, orders, lake).reopened == ()
    publish(lake)
    orders.put(1, 11.0, updated=lately())
    orders.put(2, 21.0, sent=tomorrow, updated=lately())
    assert collect(workflow, orders, lake).reopened == (KEY,)


def test_a_row_without_event_time_is_in_the_partition_of_its_known_time(workflow, orders, lake):
    orders.put(1, 10.0)
    orders.put(2, 20.0, sent=None)
    collect(workflow, orders, lake)
    assert rows_of(workflow, lake) == [(1, 10.0), (2, 20.0)]


def test_nothing_collected_is_said(workflow, lake):
    with pytest.raises(
        PartitionError, match=r"nothing of 'parcels' has been collected yet: run parcels.ingest by hand"
    ):
        extract_partition(workflow, KEY, connection_uri=None, lake=lake, token=1)


def collect_until(point: str, folder: Path, orders_uri: str, lake: Lake) -> None:
    """Collect in a process of its own that dies at the point."""
    os.environ["UPDRAFT_CRASH_AT"] = point
    collect_partition(declare(folder), KEY, connection_uri=orders_uri, lake=lake, token=1)


@pytest.mark.claim("kills")
@pytest.mark.parametrize("point", ["append_batch.before_commit", "append_batch.after_commit"])
def test_killed_anywhere_every_version_is_there_once(workflow, orders, lake, point):
    """25 kills at each point, between changes: the independent list of versions is what the partition holds."""
    expected = Counter[tuple[int, float]]()
    for number in range(25):
        orders.put(number % 7, float(number), updated=lately(number))
        expected[(number % 7, float(number))] += 1
        process = PROCESSES.Process(target=collect_until, args=(point, workflow.folder, orders.uri, lake))
        process.start()
        process.join()
        assert process.exitcode == KILLED
        if point.endswith("before_commit"):  # after it the row is there already, and the version must not count twice
            collect(workflow, orders, lake)
    collect(workflow, orders, lake)
    assert Counter(rows_of(workflow, lake)) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"incremental": True}, "incremental needs the key"),
        (
            {"incremental": True, "key": ("id",), "replay": "replayable"},
            "replay='replayable' does not go with incremental=True",
        ),
        ({"replay": "archived"}, "replay='archived' does not go with incremental=False"),
    ],
)
def test_a_contradiction_in_the_declaration_is_refused(changes, message):
    with pytest.raises(DeclarationError, match=message):
        DatabaseSource(conn_id="db", query="q.sql", event_time="sent_at", known_time="updated_at", **changes)


def test_an_incremental_query_has_to_name_its_own_bounds(workflow, orders, lake):
    (workflow.folder / "extract.sql").write_text(QUERY.replace("known_", "partition_"))
    with pytest.raises(SourceQueryError, match="does not name :known_after and :known_until"):
        collect(workflow, orders, lake)
