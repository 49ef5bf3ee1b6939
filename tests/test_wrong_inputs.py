"""
What a person gets wrong, five kinds of it: one error of the right class, on one screen, that names the cause and the
remedy.

More of each kind are refused in the tests of its own room; here all kinds are held against the same rules.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import date
from pathlib import Path

import pytest

from include.errors import (
    DeclarationError,
    RequestError,
    SourceQueryError,
    SourceUnavailableError,
    SuiteError,
    UpdraftError,
)
from include.modeling.schema import InputColumn
from include.quality.suite import load_suite
from include.serving.inputs import coerce_rows, csv_records, json_records
from include.serving.limits import Limits
from include.sources.database import open_partition
from include.workflow import DatabaseSource, Features, Gate, LocalEndpoint, Partition, Search, Target, Training
from include.workflow.partitions import window_of_key
from tests.factories import declare_workflow
from updraft.hooks.connections import connection_uri

pytestmark = pytest.mark.claim("wrong-inputs", is_quick=True)
SECRET = "hunter2-of-the-tests"
QUERY = "SELECT id, sent_at FROM parcels WHERE sent_at >= :partition_start AND sent_at < :partition_end"
COLUMNS = (InputColumn(name="depot", type="text"), InputColumn(name="distance_km", type="number"))
NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "depot"}}

DECLARATIONS: list[tuple[Callable[[Path], object], str, str]] = [
    (lambda _: Search(metric="aucc"), "Search.metric: 'aucc'", "should be 'average_precision'"),
    (lambda _: Search(worker=2), "Search.worker", "did you mean 'workers'?"),
    (lambda _: Training(window="8 fortnights"), "Training.window: '8 fortnights'", "for instance '8 weeks'"),
    (lambda _: Gate(minimum={"roc_auc": "high"}), "Gate.minimum.roc_auc: 'high'", "valid number"),
    (lambda _: Partition(), "Partition.start", "every declaration needs it"),
    (lambda _: LocalEndpoint(url="localhost:80"), "LocalEndpoint.url: 'localhost:80'", "https?://"),
    (
        lambda folder: declare_workflow(folder, expectations="missing.json"),
        "expectations='missing.json'",
        "create it there",
    ),
    (
        lambda folder: declare_workflow(folder, features=Features(exclude=["is_late"])),
        "the target 'is_late'",
        "leave it out",
    ),
    (
        lambda folder: declare_workflow(folder, target=Target(column="row_id")),
        "target.column='row_id'",
        "rename it in the query",
    ),
    (
        lambda folder: declare_workflow(folder, partition=Partition(every="month", start=date(2026, 1, 1))),
        "training.every='week'",
        "choose month",
    ),
]

CONNECTIONS = [
    (None, SourceQueryError, "'source_db'", "add it under Admin > Connections, or set AIRFLOW_CONN_SOURCE_DB"),
    (f"mysql://u:{SECRET}@h/d", SourceQueryError, "'source_db' is of type 'mysql'", "reads postgres and sqlite"),
    (f'{{"conn_type": "postgres", "password": "{SECRET}"', SourceQueryError, "'source_db'", "to a URI or JSON"),
    ('{"conn_type": "sqlite", "host": "parcels.db"}', SourceQueryError, "'source_db'", "absolute path"),
    ("sqlite:////nowhere/parcels.db", SourceUnavailableError, "/nowhere/parcels.db", "does not exist"),
    (f"postgres://u:{SECRET}@127.0.0.1:1/d", SourceUnavailableError, "'d' at 127.0.0.1:1", "retry"),
]

QUERIES = [
    (("AND sent_at < :partition_end", ""), ":partition_end", "compare 'sent_at' with both bounds"),
    ((":partition_start", ":partition_begin"), ":partition_begin", "'sent_at >= :partition_start"),
    (("FROM parcels", "FROM parcel"), "parcel", "correct the query"),
    (("id, sent_at", "idd, sent_at"), "idd", "correct the query"),
    (("sent_at FROM", "sent_at AS sent FROM"), "no column 'sent_at', which source.event_time names", "it has id, sent"),
    (("SELECT id", "SELECT 1; SELECT id"), "more than one statement", "leave one SELECT"),
    (
        ("sent_at FROM", f"'{SECRET}' AS sent_at FROM"),
        "'sent_at' holds a text that is no ISO 8601 time",
        "write it like 2026-11-23",
    ),
    (("AND sent_at <", "OR sent_at <"), "2 of the first 3 rows", "compare that very column with both bounds"),
]

SUITES = [
    ("{not json", "line 1, column 2: not JSON", "correct the text there"),
    ('{"expectations": []}', "the suite is empty", "add an expectation"),
    (
        '{"expectations": [{"expectation_type": "x", "kwargs": {}}]}',
        "expectation 1: 'expectation_type'",
        "rename the key to 'type'",
    ),
    (
        json.dumps({"expectations": [NOT_NULL, NOT_NULL]}),
        "expectation 2 (expect_column_values_to_not_be_null)",
        "remove one",
    ),
    (
        json.dumps({"expectations": [NOT_NULL | {"meta": {"severity": "fatal"}}]}),
        "meta.severity='fatal'",
        "warn, quarantine, stop",
    ),
    (
        json.dumps({"expectations": [NOT_NULL | {"type": "expect_column_not_null"}]}),
        "(expect_column_not_null)",
        "did you mean",
    ),
    (json.dumps({"expectations": [{**NOT_NULL, "kwargs": {}}]}), "the argument 'column' is missing", "add it"),
]

BODIES = [
    (json_records, b'{"depot": "ea', "the body is not JSON", "line 1, column"),
    (json_records, b"3", "a JSON number", "send an object"),
    (json_records, b"[[1, 2]]", "row 0 is a list", "maps column names to values"),
    (json_records, b'{"depot": 3}', "column 'depot' is a text", "send text in quotes"),
    (json_records, b'{"distance_km": "far"}', "column 'distance_km' is a number", "send a number"),
    (json_records, b'{"colour": "red"}', "none of the model's columns", "send some of depot, distance_km"),
    (json_records, b"[" * 20 + b"]" * 20, "nested deeper than 16", "send flat records"),
    (csv_records, b"depot,distance_km\neast\n", "CSV line 2 has 1 cells", "quote cells that hold commas"),
    (csv_records, b"a,b\n1,2\n", "the first CSV line", "start with a header of depot, distance_km"),
]


def check(act: Callable[[], object], error: type[UpdraftError], cause: str, remedy: str) -> None:
    """Hold what `act` raises against the rules of a message."""
    with pytest.raises(error) as caught:
        act()
    message = str(caught.value)
    assert type(caught.value) is error
    assert cause in message
    assert remedy in message
    assert len(message.splitlines()) <= 24
    assert len(message) <= 2_000
    assert "Traceback" not in message
    assert SECRET not in message


def read(uri: str, query: str = QUERY) -> None:
    source = DatabaseSource(
        conn_id="source_db", query="extract.sql", event_time="sent_at", known_time="sent_at", timeout_seconds=20
    )
    with open_partition(source, query, uri, window_of_key("day", "2026-01-05")) as reader:
        reader.read_all()


@pytest.mark.parametrize(("declare", "cause", "remedy"), DECLARATIONS)
def test_wrong_declaration(tmp_path, declare, cause, remedy):
    check(lambda: declare(tmp_path), DeclarationError, cause, remedy)


@pytest.mark.parametrize(("connection", "error", "cause", "remedy"), CONNECTIONS)
def test_wrong_connection(monkeypatch, connection, error, cause, remedy):
    if connection is not None:
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE_DB", connection)
    check(lambda: read(connection_uri("source_db")), error, cause, remedy)


@pytest.fixture(scope="module")
def parcels_uri(tmp_path_factory):
    """Three parcels in SQLite, one a day."""
    path = tmp_path_factory.mktemp("source") / "parcels.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE parcels (id INTEGER, sent_at TEXT)")
        database.executemany(
            "INSERT INTO parcels VALUES (?, ?)", [(day, f"2026-01-0{day} 10:00:00") for day in (4, 5, 6)]
        )
        database.commit()
    read(f"sqlite:///{path}")  # the control: the query itself is right
    return f"sqlite:///{path}"


@pytest.mark.parametrize(("change", "cause", "remedy"), QUERIES)
def test_wrong_query(parcels_uri, change, cause, remedy):
    check(lambda: read(parcels_uri, QUERY.replace(*change)), SourceQueryError, cause, remedy)


@pytest.mark.parametrize(("text", "cause", "remedy"), SUITES)
def test_wrong_suite(tmp_path, text, cause, remedy):
    path = tmp_path / "expectations.json"
    path.write_text(text)
    check(lambda: load_suite(path), SuiteError, cause, remedy)


@pytest.mark.parametrize(("parse", "body", "cause", "remedy"), BODIES)
def test_wrong_request_body(parse, body, cause, remedy):
    """As the endpoint reads it; tests/serving sends such bodies over HTTP."""

    def ask() -> None:
        records = json_records(body, Limits()) if parse is json_records else csv_records(body, COLUMNS, Limits())
        coerce_rows(records, COLUMNS)

    check(ask, RequestError, cause, remedy)
