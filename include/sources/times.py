"""Timestamps in one form: `timestamp[us, UTC]`, whatever the driver gave."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceQueryError

UTC_TIMESTAMP = pa.timestamp("us", tz="UTC")
# What Python's datetime can hold. PostgreSQL's infinity arrives as a number far outside.
_FIRST = pa.scalar(datetime(1, 1, 1, tzinfo=UTC), UTC_TIMESTAMP)
_LAST = pa.scalar(datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC), UTC_TIMESTAMP)
_ZONE = r"(Z|[+-]\d{2}:?\d{2})$"


def normalised_type(field: pa.Field, *, name: str, is_time: bool) -> pa.DataType:
    """
    Type that a column has in the lake.

    Raises
    ------
    SourceQueryError
        If the event or known time is neither a time nor a text.

    """
    if pa.types.is_timestamp(field.type):
        return UTC_TIMESTAMP
    if not is_time or pa.types.is_date(field.type):
        return field.type
    if pa.types.is_string(field.type):
        return UTC_TIMESTAMP
    raise SourceQueryError(
        f"{name}: the column {field.name!r} is {field.type}, not a time: convert it in the query, "
        "for instance to_timestamp(seconds) in PostgreSQL or datetime(seconds, 'unixepoch') in SQLite"
    )


def normalise_times(batch: pa.RecordBatch, schema: pa.Schema, *, name: str) -> pa.RecordBatch:
    """
    Bring a batch into `schema` (see `normalised_type`).

    Raises
    ------
    SourceQueryError
        If a text is no ISO 8601 time, or a timestamp is infinite.

    """
    columns = [_normalise(column, field, name=name) for column, field in zip(batch.columns, schema, strict=True)]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _normalise(column: pa.Array, field: pa.Field, *, name: str) -> pa.Array:
    if field.type != UTC_TIMESTAMP:
        return column
    if pa.types.is_string(column.type):
        return _parse(column, field.name, name=name)
    times = column.cast(UTC_TIMESTAMP)
    if pc.any(pc.or_(pc.less(times, _FIRST), pc.greater(times, _LAST))).as_py():
        raise SourceQueryError(
            f"{name}: the column {field.name!r} holds an infinite timestamp: make it NULL in the query"
        )
    return times


def _parse(texts: pa.Array, column: str, *, name: str) -> pa.Array:
    # A day alone is its midnight; a time without a zone is UTC.
    texts = pc.if_else(pc.equal(pc.utf8_length(texts), 10), pc.binary_join_element_wise(texts, "00:00:00", " "), texts)
    zoned = pc.match_substring_regex(texts, _ZONE)
    try:
        return pc.if_else(zoned, texts, pc.binary_join_element_wise(texts, "Z", "")).cast(UTC_TIMESTAMP)
    except pa.ArrowInvalid:  # its message quotes the value
        raise SourceQueryError(
            f"{name}: the column {column!r} holds a text that is no ISO 8601 time: "
            "write it like 2026-11-23 07:00:00 (UTC), or convert it in the query"
        ) from None
