"""
Which PostgreSQL the stack uses: the embedded one, or the server that `UPDRAFT_POSTGRES_URI` names.

`postgresql://user:password@host:5432/prefix` makes the databases `prefix_airflow`, `prefix_mlflow` and `prefix_flights`
there (without a path the prefix is `updraft`); its user must be allowed to create databases.
"""

from __future__ import annotations

import os
import re
from urllib.parse import SplitResult, urlsplit

from embedded.home import Home
from include.errors import SettingsError

SETTING = "UPDRAFT_POSTGRES_URI"
DATABASES = ("airflow", "mlflow", "flights")


def is_external() -> bool:
    """Tell whether a team's own server is used."""
    return bool(os.environ.get(SETTING))


def database_uri(home: Home, name: str, *, driver: str = "") -> str:
    """URI of one of the stack's databases; `driver` is SQLAlchemy's, for instance `psycopg2`."""
    if not is_external():
        return home.postgres.uri(name, driver=driver)
    server = _external_server()
    prefix = server.path.strip("/") or "updraft"
    return server._replace(scheme=f"postgresql+{driver}" if driver else "postgresql", path=f"/{prefix}_{name}").geturl()


def check_server(home: Home) -> str | None:
    """Say why the server does not answer, or None if it does."""
    import psycopg2

    uri = _maintenance_uri(home)
    try:
        psycopg2.connect(uri, connect_timeout=3).close()
    except psycopg2.Error as error:
        # psycopg2's text names host and reason, never the password.
        return str(error).strip().splitlines()[-1]
    return None


def create_databases(home: Home) -> None:
    """Create the stack's databases unless they exist."""
    import psycopg2
    from psycopg2 import errors, sql

    connection = psycopg2.connect(_maintenance_uri(home))
    try:
        connection.autocommit = True
        with connection.cursor() as cursor:
            # Two set-up steps ask at the same moment: the second one waits, and finds them there.
            cursor.execute("SELECT pg_advisory_lock(20130101)")
        for name in DATABASES:
            database = urlsplit(database_uri(home, name)).path.lstrip("/")
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (database,))
                if cursor.fetchone() is None:
                    try:
                        cursor.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))
                    except errors.InsufficientPrivilege:
                        message = (
                            f"{SETTING}: its user may not create the database {database!r}: create it, or grant "
                            "CREATEDB"
                        )
                        raise SettingsError(message) from None
    finally:
        connection.close()


def _maintenance_uri(home: Home) -> str:
    return _external_server()._replace(path="/postgres").geturl() if is_external() else home.postgres.uri()


def _external_server() -> SplitResult:
    try:
        server = urlsplit(os.environ[SETTING])
        is_address = server.scheme in {"postgres", "postgresql"} and bool(server.hostname) and server.port != 0
    except ValueError:  # of a port that is no number: most likely a piece of the password
        is_address = False
    # libpq would quote what it cannot read, and so the password.
    if (
        not is_address
        or not re.fullmatch(r"/?[a-z][a-z0-9_]{0,40}|/?", server.path)
        or re.search("%(?![0-9A-Fa-f]{2})", server.netloc)
    ):
        raise SettingsError(
            f"{SETTING} is no PostgreSQL server's address: write postgresql://user:password@host:5432/prefix, "
            "special characters of user and password percent-encoded"
        )
    return server._replace(scheme="postgresql")
