"""
Read a query from SQLite as a stream of Arrow batches, through ADBC.

SQLite types values, not columns, and the driver takes each column's type from the rows it sees first: a leading NULL,
or an integer before a fraction, would end in an error. So the types are settled before: by the column's declaration (or
a CAST in the query) where that is INTEGER, REAL or TEXT, which keeps them the same in every partition; otherwise by
looking at all values of the partition (any text: text; any fraction: float64; integers: int64; nothing but NULL: as
declared, or text). A first row of known types, dropped again, then tells the driver. Booleans are integers 0 and 1, as
SQLite stores them.

The bounds are bound as text, `2026-11-23 00:00:00` (UTC): the form that SQLite's own date functions write, and that
compares right with itself. Write `datetime(column) >= datetime(:partition_start)` where the column
holds another form. The driver cannot interrupt SQLite: the deadline is checked before every batch.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
from adbc_driver_manager import Error as DriverError
from adbc_driver_sqlite import StatementOptions, dbapi

from include.errors import SourceError, SourceQueryError, SourceUnavailableError
from include.sources.bounds import Bounds, bind_bounds
from include.sources.connection import Connection
from include.sources.stream import BATCH_ROWS, Deadline, Stream

_SENTINELS = {"integer": "0", "real": "0.0", "text": "''", "blob": "x''"}
_TYPES = {"integer": pa.int64(), "real": pa.float64(), "text": pa.string(), "blob": pa.binary()}


@contextlib.contextmanager
def open_query(query: str, connection: Connection, *, bounds: Bounds, deadline: Deadline) -> Iterator[Stream]:
    """
    Run the query for one partition; its batches are read while the block is open.

    Raises
    ------
    SourceUnavailableError
        If the file is missing or locked, or time is up.
    SourceQueryError
        If SQLite refuses the query, or a column mixes types.

    """
    name = deadline.name
    bound = _BoundQuery(
        sql=bind_bounds(query, "sqlite", bounds=bounds, parameters=("?1", "?2"), name=name),
        unbound=bind_bounds(query, "sqlite", bounds=bounds, parameters=("NULL", "NULL"), name=name),
        bounds=(f"{bounds.start:%Y-%m-%d %H:%M:%S}", f"{bounds.end:%Y-%m-%d %H:%M:%S}"),
        name=name,
    )
    if not Path(connection.address).is_file():
        raise SourceUnavailableError(
            f"{connection.label} does not exist: check the connection's path, or create the file"
        )
    # The dbapi opens a transaction: types and rows are read from one state of the file.
    with (
        contextlib.closing(dbapi.connect(f"file:{quote(connection.address)}?mode=ro")) as session,
        contextlib.closing(session.cursor()) as cursor,
    ):
        try:
            kinds = _settle_types(session, bound)
            cursor.adbc_statement.set_options(**{StatementOptions.BATCH_ROWS.value: str(BATCH_ROWS)})
            cursor.execute(_typed(bound.sql, kinds), parameters=bound.bounds)
            reader = cursor.fetch_record_batch()
        except (DriverError, OSError) as error:
            raise _translate(error, connection, name, columns=()) from None
        _check_types(reader.schema, kinds, name=name)
        with contextlib.closing(reader):
            yield Stream(schema=reader.schema, batches=_batches(reader, connection, deadline))


@dataclass(frozen=True, kw_only=True)
class _BoundQuery:
    sql: str  # with ?1 and ?2
    unbound: str  # with NULL for both
    bounds: tuple[str, str]
    name: str


def _settle_types(session: Any, query: _BoundQuery) -> dict[str, str]:
    """Kind of each column ("integer", "real", "text" or "blob"), in the query's order."""
    with contextlib.closing(session.cursor()) as cursor:
        # A view tells the declared types of a query's columns; it may hold no parameter, so its bounds are NULL.
        cursor.execute(f"CREATE TEMP VIEW updraft_source AS\n{query.unbound}")
        cursor.execute("SELECT name, type FROM pragma_table_info('updraft_source')")
        declared = {str(column): str(type_name) for column, type_name in cursor.fetchall()}
    for column in declared:
        # The view numbers what is repeated: note, note:1.
        if column.rpartition(":")[0] in declared:
            repeated = column.rpartition(":")[0]
            raise SourceQueryError(
                f"{query.name}: the result repeats the column {repeated!r}: give each its own name with AS"
            )
    kinds = {column: _kind_of_declaration(type_name) for column, type_name in declared.items()}
    observed = _observe(session, query, [column for column, kind in kinds.items() if kind is None])
    return {
        column: kind or _kind_of_values(column, declared[column], observed[column], query.name)
        for column, kind in kinds.items()
    }


def _kind_of_declaration(type_name: str) -> str | None:
    # SQLite's own rules of affinity, in their order: https://www.sqlite.org/datatype3.html#determination_of_column_affinity
    upper = type_name.upper()
    for kind, parts in (("integer", ("INT",)), ("text", ("CHAR", "CLOB", "TEXT")), ("real", ("REAL", "FLOA", "DOUB"))):
        if any(part in upper for part in parts):
            return kind
    return None


def _observe(session: Any, query: _BoundQuery, columns: list[str]) -> dict[str, set[str]]:
    if not columns:
        return {}
    kinds = list(_SENTINELS)
    flags = ", ".join(f"max(typeof({_quoted(column)}) = '{kind}')" for column in columns for kind in kinds)
    with contextlib.closing(session.cursor()) as cursor:
        cursor.execute(f"SELECT {flags} FROM (\n{query.sql})", parameters=query.bounds)  # noqa: S608 -- the workflow's own query
        values = cursor.fetchone()
    return {
        column: {kind for j, kind in enumerate(kinds) if values[i * len(kinds) + j]} for i, column in enumerate(columns)
    }


def _kind_of_values(column: str, type_name: str, seen: set[str], name: str) -> str:
    if "blob" in seen and len(seen) > 1:
        raise SourceQueryError(f"{name}: the column {column!r} mixes blobs with other values: CAST it in the query")
    is_decimal = re.search(r"NUM|DEC", type_name.upper()) is not None
    if "blob" in seen or "text" in seen:
        return "blob" if "blob" in seen else "text"
    if "real" in seen or is_decimal:
        return "real"
    if "integer" in seen or "BOOL" in type_name.upper():
        return "integer"
    return "text"


def _typed(sql: str, kinds: dict[str, str]) -> str:
    first = ", ".join(f"{_SENTINELS[kind]} AS {_quoted(column)}" for column, kind in kinds.items())
    return f"SELECT {first} UNION ALL SELECT * FROM (\n{sql})"  # noqa: S608 -- the workflow's own query


def _check_types(schema: pa.Schema, kinds: dict[str, str], *, name: str) -> None:
    # The driver widens a column whose first rows do not fit the declared type: what a column is must not depend on
    # luck.
    for field, kind in zip(schema, kinds.values(), strict=True):
        if field.type != _TYPES[kind]:
            raise _misfit(name, field.name, kind)


def _misfit(name: str, column: str, kind: str) -> SourceQueryError:
    return SourceQueryError(
        f"{name}: the column {column!r} is {kind} but holds other values too: CAST it in the query, or correct the rows"
    )


def _batches(reader: Any, connection: Connection, deadline: Deadline) -> Iterator[pa.RecordBatch]:
    is_first = True
    while True:
        deadline.remaining()
        try:
            batch = reader.read_next_batch()
            batch.validate(full=True)  # TEXT may hold bytes that are no UTF-8
        except StopIteration:
            return
        except (DriverError, OSError, pa.ArrowException) as error:
            raise _translate(error, connection, deadline.name, columns=reader.schema.names) from None
        yield batch.slice(1 if is_first else 0)  # without the row of known types
        is_first = False


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _translate(error: Exception, connection: Connection, name: str, *, columns: Any) -> SourceError:
    reason = re.sub(r"^.*?\[SQLite\]\s*", "", str(error).partition("\n")[0])
    mismatch = re.search(r"Type mismatch in column (\d+): expected (\w+)", reason)
    if mismatch:
        kinds = {"INT64": "integer", "DOUBLE": "real"}
        return _misfit(name, columns[int(mismatch[1])], kinds.get(mismatch[2], mismatch[2].lower()))
    if isinstance(error, pa.ArrowException):
        return SourceQueryError(
            f"{name}: a text column holds bytes that are no UTF-8: CAST it to BLOB in the query, or correct the rows"
        )
    if any(part in reason for part in ("locked", "busy", "disk I/O", "unable to open", "failed to open")):
        return SourceUnavailableError(
            f"{name}: {connection.label} does not answer: {reason}: retry when its writer has finished"
        )
    return SourceQueryError(
        f"{name}: {connection.label} refuses the query: {reason.removeprefix('Failed to prepare query: ')}: correct "
        "the query"
    )
