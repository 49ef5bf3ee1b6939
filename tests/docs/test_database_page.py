"""The page about databases does what it says."""

from __future__ import annotations

import runpy
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.sources.extraction import collect_partition, extract_partition
from include.workflow import DatabaseSource, Partition
from tests.docs.pages import type_in
from tests.factories import declare_workflow

KEY = "2026-01-05"


@pytest.fixture
def page(tmp_path: Path) -> Path:
    type_in("sources/database.md", tmp_path)
    return tmp_path / "include" / "workflows"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


def database(path: Path, *statements: str) -> str:
    connection = sqlite3.connect(path)
    connection.executescript(";\n".join(statements))
    connection.close()
    return f"sqlite:///{path}"


def test_the_join_takes_what_was_known_then(page, tmp_path, lake):
    """The price of product 1 was corrected after the first order and before the second; product 2 never had one."""
    uri = database(
        tmp_path / "orders.db",
        "CREATE TABLE orders (order_id INT, ordered_at TEXT, recorded_at TEXT, customer_id INT, product_id INT, "
        "quantity INT, is_returned INT)",
        "CREATE TABLE customers (customer_id INT, country TEXT)",
        "CREATE TABLE prices (product_id INT, known_at TEXT, price REAL)",
        "INSERT INTO customers VALUES (7, 'NO')",
        "INSERT INTO prices VALUES (1, '2026-01-01 00:00:00', 10.0), (1, '2026-01-05 12:00:00', 12.0)",
        "INSERT INTO orders VALUES (1, '2026-01-05 09:00:00', '2026-01-05 09:01:00', 7, 1, 3, 0), (2, '2026-01-05 "
        "13:00:00', '2026-01-05 13:01:00', 7, 1, 3, 0), (3, '2026-01-05 14:00:00', '2026-01-05 14:01:00', 7, 2, 1, 1)",
    )
    source = DatabaseSource(
        conn_id="db", query="extract.sql", event_time="ordered_at", known_time="recorded_at", key=("order_id",)
    )
    workflow = declare_workflow(tmp_path / "w", source=source)
    (workflow.folder / "extract.sql").write_text((page / "orders" / "extract.sql").read_text())
    extract_partition(workflow, KEY, connection_uri=uri, lake=lake, token=1)
    assert read_partition(lake, "parcels/raw", KEY)["price"].to_pylist() == [10.0, 12.0, None]


def test_the_incremental_workflow_keeps_every_version(page, tmp_path, lake):
    (page / "changing_orders" / "expectations.json").write_text("{}")
    workflow = runpy.run_path(str(page / "changing_orders" / "workflow.py"))["workflow"]
    assert workflow.partition == Partition(every="day", start=workflow.partition.start)
    changed = [f"{datetime.now(UTC) - timedelta(minutes=m):%Y-%m-%d %H:%M:%S}" for m in (20, 10)]
    create = (
        "CREATE TABLE orders (order_id INT PRIMARY KEY, ordered_at TEXT, updated_at TEXT, quantity INT, is_returned "
        "INT)"
    )
    uri = database(
        tmp_path / "orders.db", create, f"INSERT INTO orders VALUES (1, '2026-01-05 09:00:00', '{changed[0]}', 3, 0)"
    )
    collect_partition(workflow, KEY, connection_uri=uri, lake=lake, token=1)
    database(tmp_path / "orders.db", f"UPDATE orders SET is_returned = 1, updated_at = '{changed[1]}'")
    collect_partition(workflow, KEY, connection_uri=uri, lake=lake, token=2)
    extract_partition(workflow, KEY, connection_uri=None, lake=lake, token=3)
    assert read_partition(lake, "changing_orders/raw", KEY)["is_returned"].to_pylist() == [0, 1]


def test_a_source_without_history_is_backfilled_from_what_was_read(tmp_path, lake):
    from include.errors import PartitionError

    source = DatabaseSource(
        conn_id="db", query="extract.sql", event_time="sent_at", known_time="recorded_at", replay="forward_only"
    )
    workflow = declare_workflow(tmp_path / "w", source=source)
    columns = "parcel_id INT, sent_at TEXT, recorded_at TEXT, depot TEXT, distance_km REAL, weight_kg REAL, is_late INT"
    row = "(1, '2026-01-05 09:00:00', '2026-01-05 10:00:00', 'north', 1.0, 1.0, 0)"
    uri = database(tmp_path / "p.db", f"CREATE TABLE parcels ({columns})", f"INSERT INTO parcels VALUES {row}")
    with pytest.raises(
        PartitionError, match=r"'2026-01-05' of 'parcels' was never read, and its source keeps no history"
    ):
        extract_partition(workflow, KEY, connection_uri=uri, lake=lake, token=1, is_backfill=True)
    first = extract_partition(workflow, KEY, connection_uri=uri, lake=lake, token=1)
    database(tmp_path / "p.db", "DELETE FROM parcels")
    again = extract_partition(workflow, KEY, connection_uri=uri, lake=lake, token=2, is_backfill=True)
    assert (again.n_rows, again.digest, again.is_changed) == (1, first.digest, False)
