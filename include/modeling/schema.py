"""The input columns of a model: what a row may hold, and how a request's values become the values that training saw."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import RequestError
from include.workflow import Workflow
from include.workflow.workflow import RESERVED_COLUMNS

ColumnType = Literal["number", "text", "boolean", "timestamp"]

_TIMESTAMP = pa.timestamp("us", tz="UTC")
_BOOLEANS: dict[Any, bool] = {True: True, False: False, "true": True, "false": False, "1": True, "0": False}
_MAX_SHOWN = 60


@dataclass(frozen=True, kw_only=True)
class InputColumn:
    """One column that a model reads. `is_integer` keeps whole numbers `int`, as the table holds them."""

    name: str
    type: ColumnType
    is_integer: bool = False


def hidden_columns(workflow: Workflow) -> frozenset[str]:
    """
    Columns that no feature may come from.

    They are the target, the excluded columns, those that Updraft adds, those that tell persons apart, and what the
    source gives too late: at least the time at which a row became known (a row is known after its event, so that time
    does not exist when a prediction is asked for).
    """
    own = {workflow.target.column, *workflow.features.exclude, *RESERVED_COLUMNS, *workflow.source.pseudonyms}
    return frozenset(own) | workflow.source.late_columns


def input_columns_of(schema: pa.Schema, *, hidden: frozenset[str]) -> tuple[InputColumn, ...]:
    """Columns of a table that features may come from, in its order. Nested and binary columns are left out."""
    found = ((field.name, _describe_type(field.type)) for field in schema if field.name not in hidden)
    return tuple(
        InputColumn(name=name, type=known[0], is_integer=known[1]) for name, known in found if known is not None
    )


def iterate_rows(table: pa.Table, columns: Sequence[InputColumn]) -> Iterator[tuple[Any, ...]]:
    """Rows of a table as tuples of Python values, one value a column; a column that the table lacks is None."""
    values = [_values(table[c.name]) if c.name in table.schema.names else [None] * table.num_rows for c in columns]
    return zip(*values, strict=True) if values else iter([()] * table.num_rows)


def coerce_row(columns: Sequence[InputColumn], row: Mapping[str, Any]) -> dict[str, Any]:
    """
    Turn one record of a request into the values that training saw: the same types, None where a column is missing.

    Numbers and booleans may come as text (CSV has nothing else); times are ISO 8601, UTC unless they name an offset.
    Columns that the model does not know are ignored.

    Raises
    ------
    RequestError
        Status 400 if the record is no mapping, 422 if a value does not fit its column or no column is known.

    """
    if not isinstance(row, Mapping):
        raise RequestError(f"a record is a {type(row).__name__}, not an object: send {{column: value, …}}", status=400)
    if columns and not any(column.name in row for column in columns):
        names = ", ".join(column.name for column in columns[:12])
        raise RequestError(f"the record has none of the model's columns: send some of {names}", status=422)
    return {column.name: _coerce(column, row.get(column.name)) for column in columns}


def _coerce(column: InputColumn, value: Any) -> Any:
    if value is None:
        return None
    if column.type == "text":
        if not isinstance(value, str):
            raise _refusal(column, value, "send text in quotes")
        return value
    if column.type == "number":
        return _coerce_number(column, value)
    if isinstance(value, str) and not value.strip():
        return None
    if column.type == "timestamp":
        return _coerce_timestamp(column, value)
    key = value.strip().lower() if isinstance(value, str) else value
    try:
        return _BOOLEANS[key]
    except (KeyError, TypeError):
        raise _refusal(column, value, "send true or false") from None


def _coerce_number(column: InputColumn, value: Any) -> int | float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise _refusal(column, value, "send a number")
    if isinstance(value, str) and not value.strip():
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        raise _refusal(column, value, "send a number") from None
    if not math.isfinite(number):
        raise _refusal(column, value, "send a finite number, or null where it is unknown")
    if not column.is_integer:
        return number
    # Text such as "12345678901234567" must not lose its last digits by way of a float.
    whole = (
        int(value)
        if isinstance(value, int) or (isinstance(value, str) and value.strip().lstrip("+-").isdecimal())
        else int(number)
    )
    return whole if number.is_integer() else number


def _coerce_timestamp(column: InputColumn, value: Any) -> datetime | None:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError:
            raise _refusal(column, value, "send an ISO 8601 time such as 2026-11-23T07:15:00+00:00") from None
    if not isinstance(value, datetime):
        raise _refusal(column, value, "send an ISO 8601 time such as 2026-11-23T07:15:00+00:00")
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise _refusal(column, value, "send a time between the years 2 and 9998") from None


def _refusal(column: InputColumn, value: Any, remedy: str) -> RequestError:
    shown = repr(value) if isinstance(value, str | int | float | bool) else f"a {type(value).__name__}"
    shown = shown if len(shown) <= _MAX_SHOWN else shown[: _MAX_SHOWN - 1] + "…"
    return RequestError(f"column {column.name!r} is a {column.type}, but holds {shown}: {remedy}", status=422)


def _describe_type(kind: pa.DataType) -> tuple[ColumnType, bool] | None:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_boolean(kind):
        return "boolean", False
    if pa.types.is_integer(kind):
        return "number", True
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number", False
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return "text", False
    return ("timestamp", False) if pa.types.is_timestamp(kind) or pa.types.is_date(kind) else None


def _values(column: pa.ChunkedArray) -> list[Any]:
    kind = column.type
    if pa.types.is_decimal(kind):
        column = pc.cast(column, pa.float64(), safe=False)
    elif pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        naive = pa.types.is_date(kind) or kind.tz is None
        column = pc.cast(column, pa.timestamp("us"), safe=False) if naive else column
        column = pc.assume_timezone(column, "UTC") if naive else pc.cast(column, _TIMESTAMP, safe=False)
    values: list[Any] = column.to_pylist()
    return values
