"""
An Airflow connection becomes the URI that reads: real connections, from the environment as a team hands
them over.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from urllib.parse import unquote, urlsplit

import psycopg2
import pytest
from psycopg2 import sql

from include.errors import SourceQueryError
from include.sources.connection import read_connection_uri
from include.sources.database import open_partition
from include.workflow import DatabaseSource
from include.workflow.partitions import window_of_key
from updraft.hooks.connections import connection_uri

HOSTILE = "p@ss:w/rd?#%25 ü'\\"
QUERY = "SELECT sent_at FROM parcels WHERE sent_at >= :partition_start AND sent_at < :partition_end"


@pytest.fixture
def connect(monkeypatch):
    """Set `AIRFLOW_CONN_SOURCE` to a URI or to JSON, and ask the hook for its URI."""

    def set_and_ask(connection: str | dict) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_SOURCE", connection if isinstance(connection, str) else json.dumps(connection))
        return connection_uri("source")

    return set_and_ask


def read(uri: str) -> int:
    source = DatabaseSource(conn_id="source", query="extract.sql", event_time="sent_at", known_time="sent_at")
    with open_partition(source, QUERY, uri, window_of_key("day", "2026-01-05")) as reader:
        return int(reader.read_all().num_rows)


def execute(uri: str, *statements: sql.Composable) -> None:
    with closing(psycopg2.connect(uri)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def test_every_character_of_a_password_reaches_postgresql(connect, postgres):
    """Login, password and database hold what a URI gives a meaning to; the server itself tells whether they arrived."""
    role, database = "re@d:er", "par/cels 100%"
    owner = {"role": sql.Identifier(role), "database": sql.Identifier(database)}
    execute(
        postgres.uri(),
        sql.SQL("CREATE ROLE {role} LOGIN PASSWORD {password}").format(**owner, password=sql.Literal(HOSTILE)),
        sql.SQL("CREATE DATABASE {database} OWNER {role}").format(**owner),
    )
    place = {"conn_type": "postgres", "host": "127.0.0.1", "port": postgres.port, "schema": database, "login": role}
    uri = connect({**place, "password": HOSTILE})
    execute(uri, sql.SQL("CREATE TABLE parcels AS SELECT timestamptz '2026-01-05 10:00Z' AS sent_at"))
    assert read(uri) == 1
    with pytest.raises(psycopg2.OperationalError):  # the control: the server does look at the password
        psycopg2.connect(connect({**place, "password": f"{HOSTILE}x"}))


def test_every_character_of_a_path_reaches_sqlite(connect, tmp_path):
    path = tmp_path / "a b%25?c#d.db"
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE parcels AS SELECT '2026-01-05 10:00:00' AS sent_at")
        database.commit()
    assert read(connect({"conn_type": "sqlite", "host": str(path)})) == 1


@pytest.mark.parametrize("uri", ["sqlite:////data/a%20b.db", "sqlite://%2Fdata%2Fa%20b.db"])
def test_a_sqlite_uri_of_the_environment_keeps_its_path(connect, uri):
    assert read_connection_uri(connect(uri)).address == "/data/a b.db"


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("postgres://u:pw@db:5433/flights", "postgresql://u:pw@db:5433/flights"),
        ("postgresql://u@db/flights", "postgresql://u@db:5432/flights"),
        ({"conn_type": "postgres"}, "postgresql://localhost:5432/"),
        ({"conn_type": "postgres", "host": "::1", "login": "u"}, "postgresql://u@[::1]:5432/"),
        ({"conn_type": "postgres", "host": "db", "password": "secret"}, "postgresql://:secret@db:5432/"),
        (
            {
                "conn_type": "postgres",
                "host": "db",
                "extra": {"sslmode": "require", "connect_timeout": 3, "cursor": "dictcursor"},
            },
            "postgresql://db:5432/?sslmode=require&connect_timeout=3",
        ),
    ],
    ids=["whole", "no password", "nothing", "IPv6", "no login", "extras that libpq knows"],
)
def test_postgresql_uri(connect, connection, expected):
    uri = connect(connection)
    assert uri == expected
    assert read_connection_uri(uri).kind == "postgresql"


def test_hostile_credentials_survive_the_uri(connect):
    parts = urlsplit(
        connect({"conn_type": "postgres", "host": "db", "login": HOSTILE, "password": HOSTILE[::-1], "schema": HOSTILE})
    )
    assert (parts.hostname, parts.query, parts.fragment) == ("db", "", "")
    assert [unquote(text) for text in (parts.username, parts.password, parts.path[1:])] == [
        HOSTILE,
        HOSTILE[::-1],
        HOSTILE,
    ]


@pytest.mark.parametrize(
    ("connection", "message"),
    [
        ("mysql://u:hunter2@h/d", "connection 'source' is of type 'mysql': this source reads postgres and sqlite"),
        ({"conn_type": "http", "password": "hunter2"}, "is of type 'http'"),
        ({"conn_type": "sqlite"}, "connection 'source' names no SQLite file: give its absolute path as the host"),
        ({"conn_type": "sqlite", "host": "parcels.db"}, "names no SQLite file"),
        ('{"conn_type": "postgres", "password": "hunter2"', "no Airflow connection 'source' that can be read"),
        ({"conn_type": "postgres", "port": "hunter2"}, "no Airflow connection 'source' that can be read"),
    ],
)
def test_a_wrong_connection_is_refused_without_its_secret(connect, connection, message):
    with pytest.raises(SourceQueryError) as refusal:
        connect(connection)
    assert message in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert not refusal.value.is_retryable


def test_a_missing_connection_is_named_with_its_variable():
    with pytest.raises(
        SourceQueryError, match=r"'nowhere_db'.*Admin > Connections, or set AIRFLOW_CONN_NOWHERE_DB to a URI"
    ):
        connection_uri("nowhere_db")
