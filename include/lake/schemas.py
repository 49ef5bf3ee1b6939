"""
The lake's column types: what any Arrow type becomes before it is digested and stored.

Delta has no unsigned, dictionary, large or view types, and stores `uint8` as a signed byte: values are widened here,
and a value that would not survive is refused rather than bent.
"""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from include.errors import DataError

PARTITION_COLUMN = "partition_key"

_types = pa.types
_SAME: tuple[Callable[[pa.DataType], bool], ...] = (
    _types.is_boolean,
    _types.is_signed_integer,
    _types.is_float32,
    _types.is_float64,
    _types.is_date32,
    _types.is_decimal128,
    _types.is_string,
    _types.is_binary,
)
_CHANGED: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (_types.is_uint8, pa.int16()),
    (_types.is_uint16, pa.int32()),
    (_types.is_uint32, pa.int64()),
    (_types.is_uint64, pa.int64()),
    (_types.is_float16, pa.float32()),
    (_types.is_date64, pa.date32()),
    # A time without a zone is taken as UTC.
    (_types.is_timestamp, pa.timestamp("us", tz="UTC")),
    (_types.is_large_string, pa.string()),
    (_types.is_string_view, pa.string()),
    (_types.is_large_binary, pa.binary()),
    (_types.is_binary_view, pa.binary()),
    (_types.is_fixed_size_binary, pa.binary()),
)
_LISTS = (
    _types.is_list,
    _types.is_large_list,
    _types.is_fixed_size_list,
    _types.is_list_view,
    _types.is_large_list_view,
)


def lake_type(column: str, data_type: pa.DataType) -> pa.DataType:
    """
    Return the type in which the lake keeps a column.

    Raises
    ------
    DataError
        If Delta has no such type.

    """
    if any(is_type(data_type) for is_type in _SAME):
        return data_type
    for is_type, becomes in _CHANGED:
        if is_type(data_type):
            return becomes
    if _types.is_dictionary(data_type):
        return lake_type(column, data_type.value_type)
    if any(is_type(data_type) for is_type in _LISTS):
        return pa.list_(pa.field("element", lake_type(column, data_type.value_type)))
    if _types.is_struct(data_type):
        return pa.struct([pa.field(field.name, lake_type(column, field.type)) for field in data_type])
    remedy = "give it a type in the query" if _types.is_null(data_type) else "cast it in the query"
    raise DataError(f"column {column!r} has the type {data_type}, which the lake can't store: {remedy}")


def lake_schema(schema: pa.Schema, *, stored: pa.Schema | None = None) -> pa.Schema:
    """
    Return the schema in which the lake keeps data: lake types, all columns nullable.

    Parameters
    ----------
    schema : Schema
        What the data came with.
    stored : Schema, optional
        The table's schema. A column without a type (all null) takes the type that the table gives it.

    Raises
    ------
    DataError
        If a column has no type in Delta, another type than the table's, or a name that is given twice or to the lake
        itself.

    """
    _check_names(schema.names)
    known = {} if stored is None else {field.name: field.type for field in stored}
    fields = []
    for field in schema:
        is_untyped = _types.is_null(field.type) and field.name in known
        data_type = known[field.name] if is_untyped else lake_type(field.name, field.type)
        if field.name in known and not known[field.name].equals(data_type):
            raise DataError(
                f"column {field.name!r} is {data_type}, but the table holds it as {known[field.name]}: cast it, or "
                "give it another name"
            )
        fields.append(pa.field(field.name, data_type))
    return pa.schema(fields)


def cast_batch(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    """
    Cast a batch to the lake's schema, losing nothing.

    Raises
    ------
    DataError
        If a value does not fit; the message names the column, not the value.

    """
    columns = []
    for name, array, field in zip(batch.schema.names, batch.columns, schema, strict=True):
        try:
            columns.append(array if array.type.equals(field.type, check_metadata=True) else array.cast(field.type))
        except pa.ArrowInvalid as error:
            raise DataError(
                f"column {name!r} holds a value that {field.type} can't ({array.type} came): cast it in the query"
            ) from error
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _check_names(names: list[str]) -> None:
    folded = [name.lower() for name in names]
    if PARTITION_COLUMN in folded:
        raise DataError(f"column {PARTITION_COLUMN!r} is the lake's own: rename it in the query")
    twice = sorted({name for name in names if folded.count(name.lower()) > 1})
    if twice:
        raise DataError(
            f"columns {', '.join(map(repr, twice))} have the same name (case does not count): rename them in the query"
        )
