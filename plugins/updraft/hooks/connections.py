"""Connection URIs of sources, from Airflow's connections."""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import quote, urlencode

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import SourceQueryError
from include.workflow import Source

_URI_EXTRAS = ("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name")


def connection_uri(conn_id: str, *, types: Sequence[str] = ("postgres", "postgresql", "sqlite")) -> str:
    """
    URI of a connection, password included: hand it on, never log it.

    :param conn_id: id of an Airflow connection
    :param types: types of connection that the reader can use
    :raises SourceQueryError: if there is no such connection, or its type has no reader
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise SourceQueryError(
            f"there is no Airflow connection {conn_id!r} that can be read: add it under Admin > Connections, "
            f"or set AIRFLOW_CONN_{conn_id.upper()} to a URI or JSON"
        ) from None
    if connection.conn_type not in types:
        raise SourceQueryError(
            f"connection {conn_id!r} is of type {connection.conn_type!r}: this source reads "
            f"{' and '.join(_shown(types))}"
        )
    builders = {"sqlite": _sqlite_uri, "postgres": _postgres_uri, "postgresql": _postgres_uri}
    return builders.get(str(connection.conn_type), _plain_uri)(connection)


def source_uri(source: Source) -> str | None:
    """
    URI of the connection that a source needs; None if it needs none.

    :param source: a declared source
    :raises SourceQueryError: if there is no such connection, or its type has no reader
    """
    return None if source.connection is None else connection_uri(source.connection, types=source.connection_types)


def _shown(types: Sequence[str]) -> list[str]:
    return [name for name in types if name != "postgresql"]


def _plain_uri(connection: Connection) -> str:
    """Any other type: `<type>://login:password@host:port/schema?<extra as a query>`."""
    login, password = (quote(text or "", safe="") for text in (connection.login, connection.password))
    credentials = f"{login}:{password}@" if password else (f"{login}@" if login else "")
    host = connection.host or ""
    place = f"[{host}]" if ":" in host else host
    port = f":{connection.port}" if connection.port else ""
    options = {name: str(value) for name, value in connection.extra_dejson.items()}
    query = f"?{urlencode(options)}" if options else ""
    return f"{connection.conn_type}://{credentials}{place}{port}/{quote(connection.schema or '', safe='')}{query}"


def _sqlite_uri(connection: Connection) -> str:
    # Airflow's form keeps the path as the host, its parser of URIs as the schema.
    path = connection.host or connection.schema or ""
    if not path.startswith("/"):
        raise SourceQueryError(
            f"connection {connection.conn_id!r} names no SQLite file: give its absolute path as the host"
        )
    return f"sqlite:///{quote(path)}"


def _postgres_uri(connection: Connection) -> str:
    login, password = (quote(text or "", safe="") for text in (connection.login, connection.password))
    credentials = f"{login}:{password}" if password else login
    host = connection.host or "localhost"
    place = f"{f'[{host}]' if ':' in host else host}:{connection.port or 5432}"
    options = {name: value for name, value in connection.extra_dejson.items() if name in _URI_EXTRAS}
    query = f"?{urlencode(options)}" if options else ""
    database = quote(connection.schema or "", safe="")
    return f"postgresql://{f'{credentials}@' if credentials else ''}{place}/{database}{query}"
