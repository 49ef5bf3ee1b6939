"""Two databases that hold the same shipments: a PostgreSQL with a restricted reader, and a SQLite file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from embedded.postgres import PostgresServer, create_database
from include.workflow import DatabaseSource
from include.workflow.partitions import PartitionWindow, window_of_key
from tests.factories import START

DAY = window_of_key("day", "2026-01-05")
QUERY = """
SELECT id, sent_at, recorded_at, note FROM shipments
WHERE sent_at >= :partition_start AND sent_at < :partition_end
ORDER BY id -- in this order
"""


def rows() -> list[tuple[int, datetime, datetime, str | None]]:
    """Two days, a row a minute; the first is at the day's first moment."""
    return [
        (i, START + timedelta(minutes=i), START + timedelta(minutes=i + 90), None if i % 7 == 0 else f"note {i}")
        for i in range(2 * 1440)
    ]


def declare(**changes: Any) -> DatabaseSource:
    parts = {
        "conn_id": "db",
        "query": "extract.sql",
        "event_time": "sent_at",
        "known_time": "recorded_at",
        "timeout_seconds": 30,
    }
    return DatabaseSource(**{**parts, **changes})


@pytest.fixture(scope="session")
def execute(postgres: PostgresServer) -> Iterator[Callable[..., None]]:
    """Run a statement as the superuser of the test's database."""
    create_database(postgres, "sources")
    connection = psycopg2.connect(postgres.uri("sources"))
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE shipments (id bigint PRIMARY KEY, sent_at timestamptz, recorded_at timestamptz, note text)"
        )
        cursor.executemany("INSERT INTO shipments VALUES (%s, %s, %s, %s)", rows())
        cursor.execute("CREATE INDEX ON shipments (sent_at)")
        cursor.execute("CREATE TABLE secrets AS SELECT * FROM shipments")
        cursor.execute("CREATE ROLE reader LOGIN PASSWORD 'pass word'")
        cursor.execute("GRANT SELECT ON shipments TO reader")
        yield cursor.execute
    connection.close()


@pytest.fixture
def postgres_uri(execute: Callable[..., None], postgres: PostgresServer) -> str:
    return f"postgres://reader:pass%20word@127.0.0.1:{postgres.port}/sources"


@pytest.fixture
def sqlite_path(tmp_path: Path) -> Path:
    path = tmp_path / "shipments.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE shipments (id INTEGER PRIMARY KEY, sent_at TEXT, recorded_at TEXT, note TEXT)")
    texts = [
        (i, f"{sent:%Y-%m-%d %H:%M:%S}", f"{known:%Y-%m-%dT%H:%M:%S}+00:00", note) for i, sent, known, note in rows()
    ]
    connection.executemany("INSERT INTO shipments VALUES (?, ?, ?, ?)", texts)
    connection.commit()
    connection.close()
    return path


@pytest.fixture(params=["postgresql", "sqlite"])
def uri(request: pytest.FixtureRequest) -> str:
    """Each database in turn."""
    if request.param == "sqlite":
        return f"sqlite:///{request.getfixturevalue('sqlite_path')}"
    return str(request.getfixturevalue("postgres_uri"))


@pytest.fixture
def day() -> PartitionWindow:
    return DAY
