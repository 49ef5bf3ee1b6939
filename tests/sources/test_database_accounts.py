"""
A real database that restates its rows and changes its columns: every version is accounted for, no change
passes unseen.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import execute_values

from embedded.postgres import PostgresServer, create_database
from include.errors import UpdraftError
from include.lake.store import Lake
from include.sources.extraction import collect_partition
from include.workflow import DatabaseSource, Partition, Workflow
from tests.factories import START, declare_workflow
from tests.injected import Expected, assert_accounted, ingest, latest_lines

pytestmark = pytest.mark.claim("accounts")

KEYS = ["2026-01-05", "2026-01-06", "2026-01-07"]
ORDERS_A_DAY = 200
TABLE = (
    "(id int PRIMARY KEY, sent_at timestamptz, updated_at timestamptz, depot text, price float8, quantity int, "
    "is_returned bool)"
)
CHANGES = "SELECT * FROM orders WHERE updated_at >= :known_after AND updated_at < :known_until ORDER BY updated_at, id"
DAY = "SELECT * FROM {} WHERE sent_at >= :partition_start AND sent_at < :partition_end ORDER BY id"

PRICE, DEPOT = "price: expect_column_values_to_be_between", "depot: expect_column_values_to_be_in_set"
RETURNED, VERSION = (
    "is_returned: expect_column_values_to_not_be_null",
    "id, updated_at: expect_compound_columns_to_be_unique",
)
SUITE: dict[str, Any] = {
    "name": "orders",
    "expectations": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 5}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "price", "min_value": 0, "max_value": 1000},
        },
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "depot", "value_set": ["north", "south"]}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "is_returned"}},
        {"type": "expect_compound_columns_to_be_unique", "kwargs": {"column_list": ["id", "updated_at"]}},
    ],
}
FAULTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"price": -1.0}, (PRICE,)),
    ({"price": float("inf")}, (PRICE, "price: value is infinite")),
    ({"depot": "moon"}, (DEPOT,)),
    ({"is_returned": None}, (RETURNED,)),
    ({"sent_at": None}, ("sent_at: event time is missing",)),
    ({"depot": "", "price": 1001.0}, (DEPOT, PRICE)),
]


def order(number: int, **changes: Any) -> dict[str, Any]:
    """A good order, known an hour after it was sent."""
    sent = START + timedelta(days=number // ORDERS_A_DAY, minutes=number % ORDERS_A_DAY)
    row = {
        "id": number,
        "sent_at": sent,
        "updated_at": sent + timedelta(hours=1),
        "depot": "north",
        "price": 9.5,
        "quantity": 1,
    }
    return {**row, "is_returned": False, **changes}


@pytest.fixture(scope="module")
def database(postgres: PostgresServer) -> Iterator[Callable[..., None]]:
    """Run statements in a database of this module's own, with rows for the VALUES, if any."""
    create_database(postgres, "restated")
    connection = psycopg2.connect(postgres.uri("restated"))
    connection.autocommit = True

    def run(sql: str, rows: list[dict[str, Any]] | None = None) -> None:
        with connection.cursor() as cursor:
            execute_values(cursor, sql, [tuple(row.values()) for row in rows]) if rows else cursor.execute(sql)

    yield run
    connection.close()


@pytest.fixture(scope="module")
def uri(postgres: PostgresServer) -> str:
    return postgres.uri("restated")


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))


def declare(folder: Path, query: str, **source: Any) -> Workflow:
    declared = {
        "conn_id": "db",
        "query": "extract.sql",
        "event_time": "sent_at",
        "known_time": "updated_at",
        "key": ("id",),
        **source,
    }
    partition = Partition(every="day", start=date(2026, 1, 1))
    workflow = declare_workflow(folder, source=DatabaseSource(**declared), partition=partition, suite=SUITE)
    (workflow.folder / "extract.sql").write_text(query)
    return workflow


def test_each_version_of_a_restated_row_is_judged_for_itself(database, uri, tmp_path):
    """
    A correction heals no older version: what was known then stays refused, and what is known now is published beside
    it.
    """
    workflow, lake = declare(tmp_path / "w", CHANGES, incremental=True), Lake(uri=str(tmp_path / "lake"))
    numbers = range(ORDERS_A_DAY * len(KEYS))
    faults = {number: FAULTS[number // 4 % len(FAULTS)] for number in numbers if number % 4 == 0}
    first = [order(number, **faults.get(number, ({}, ()))[0]) for number in numbers]
    database(f"DROP TABLE IF EXISTS orders; CREATE TABLE orders {TABLE}")
    database("INSERT INTO orders VALUES %s", first)
    collect_partition(workflow, KEYS[0], connection_uri=uri, lake=lake, token=1)
    for key in KEYS:
        ingest(workflow, key, lake=lake)

    # Of the first two days: 40 bad orders are mended, 20 good ones become bad, 20 change and stay good.
    now = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
    of_two_days = range(2 * ORDERS_A_DAY)
    mended, broken = [n for n in of_two_days if n % 4 == 0][:40], [n for n in of_two_days if n % 4 == 1][:20]
    changed = [n for n in of_two_days if n % 4 == 2][-20:]
    second = [order(n, updated_at=now, price=5.0) for n in (*mended, *changed)] + [
        order(n, updated_at=now, price=-5.0) for n in broken
    ]
    columns = ", ".join(f"{name} = excluded.{name}" for name in first[0])
    database(f"INSERT INTO orders VALUES %s ON CONFLICT (id) DO UPDATE SET {columns}", second)
    report = collect_partition(workflow, KEYS[2], connection_uri=uri, lake=lake, token=2)
    assert report.reopened == tuple(KEYS[:2])
    for key in report.reopened:
        ingest(workflow, key, lake=lake)

    reasons = {(n, order(n)["updated_at"]): why for n, (_, why) in faults.items()} | {
        (n, now): (PRICE,) for n in broken
    }
    versions = [(row["id"], row["updated_at"]) for row in (*first, *second)]
    expected = Expected(
        n_in=680,
        n_published=510,
        reasons_by_row=reasons,
        published=[version for version in versions if version not in reasons],
    )
    assert (expected.n_quarantined, expected.n_kinds) == (170, 6)
    assert_accounted(lake, "parcels", expected, marker_column=("id", "updated_at"))


@dataclass(frozen=True)
class Alteration:
    """What somebody does to the table, and what becomes of the next partition."""

    name: str
    sql: str
    note: str = ""
    stop: str = ""
    query: str = DAY


GONE = "column '{}' ({}) is gone: 2026-01-05 had it"
RETYPED = "column '{}' is {}, but the table holds it as {}"
OTHER_ORDER = "CREATE VIEW turned AS SELECT is_returned, quantity, price, depot, updated_at, sent_at, id FROM altered"
ALTERATIONS = [
    Alteration("added", "ADD COLUMN note text", note="column 'note' (string) is new since 2026-01-05"),
    Alteration(
        "added with a default",
        "ADD COLUMN weight float8 DEFAULT 1",
        note="column 'weight' (double) is new since 2026-01-05",
    ),
    Alteration(
        "added json", "ADD COLUMN extra jsonb DEFAULT '{}'", note="column 'extra' (string) is new since 2026-01-05"
    ),
    Alteration("dropped", "DROP COLUMN quantity", stop=GONE.format("quantity", "int32")),
    Alteration("renamed", "RENAME COLUMN quantity TO quantities", stop="was it renamed to 'quantities'? Bring it back"),
    Alteration("a rule's column dropped", "DROP COLUMN depot", stop=GONE.format("depot", "string")),
    Alteration("the event time dropped", "DROP COLUMN sent_at", stop='column "sent_at" does not exist'),
    Alteration("number to text", "ALTER price TYPE text", stop=RETYPED.format("price", "string", "double")),
    Alteration("integer widened", "ALTER quantity TYPE bigint", stop=RETYPED.format("quantity", "int64", "int32")),
    Alteration(
        "flag to integer",
        "ALTER is_returned TYPE int USING is_returned::int",
        stop=RETYPED.format("is_returned", "int32", "bool"),
    ),
    Alteration("text bounded", "ALTER depot TYPE varchar(20)"),
    Alteration("other order", f"ADD CHECK (true); {OTHER_ORDER}", query=DAY.replace("{}", "turned")),
]


@pytest.fixture(scope="module")
def published(database, uri, tmp_path_factory) -> Iterator[tuple[Path, str]]:
    """A lake that holds the first day, and the digest that the second would have."""
    folder = tmp_path_factory.mktemp("published")
    database(f"CREATE TABLE whole {TABLE}")
    database("INSERT INTO whole VALUES %s", [order(number) for number in range(2 * ORDERS_A_DAY)])
    workflow = declare(folder / "w", DAY.format("whole"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        ingest(workflow, KEYS[0], lake=Lake(uri=str(folder / "lake")), connection_uri=uri)
        shutil.copytree(folder / "lake", folder / "both")
        yield folder / "lake", ingest(workflow, KEYS[1], lake=Lake(uri=str(folder / "both")), connection_uri=uri).digest


@pytest.mark.parametrize("alteration", ALTERATIONS, ids=lambda alteration: alteration.name)
def test_an_altered_table_is_taken_noted_or_stopped(database, uri, tmp_path, published, caplog, alteration):
    lake_folder, digest = published
    shutil.copytree(lake_folder, tmp_path / "lake")
    lake = Lake(uri=str(tmp_path / "lake"))
    database("DROP TABLE IF EXISTS altered CASCADE; CREATE TABLE altered AS TABLE whole")
    database(f"ALTER TABLE altered {alteration.sql}")
    workflow = declare(tmp_path / "w", alteration.query.format("altered"))
    if alteration.stop:
        with pytest.raises(UpdraftError) as stopped:
            ingest(workflow, KEYS[1], lake=lake, connection_uri=uri)
        assert alteration.stop in str(stopped.value)
        assert not stopped.value.is_retryable
        assert list(latest_lines(lake, "parcels")) == KEYS[:1]
        return
    record = ingest(workflow, KEYS[1], lake=lake, connection_uri=uri)
    assert record.rows_published == ORDERS_A_DAY
    assert alteration.note in caplog.text
    if not alteration.note:
        assert record.digest == digest
        assert "is new since" not in caplog.text


def test_a_query_that_names_its_columns_does_not_see_a_new_one(database, uri, tmp_path, published):
    lake_folder, digest = published
    shutil.copytree(lake_folder, tmp_path / "lake")
    database("DROP TABLE IF EXISTS altered CASCADE; CREATE TABLE altered AS TABLE whole")
    database("ALTER TABLE altered ADD COLUMN note text")
    query = DAY.replace("*", ", ".join(order(0))).format("altered")
    record = ingest(declare(tmp_path / "w", query), KEYS[1], lake=Lake(uri=str(tmp_path / "lake")), connection_uri=uri)
    assert record.digest == digest
