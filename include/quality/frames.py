"""From the lake's Arrow tables to what Great Expectations judges, without changing a value on the way."""

from __future__ import annotations

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ContractViolationError

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")

# pandas alone would make floats of integers beside a null (and lose digits beyond 2**53), and objects of booleans.
_NULLABLE = {
    pa.int8(): pd.Int8Dtype(),
    pa.int16(): pd.Int16Dtype(),
    pa.int32(): pd.Int32Dtype(),
    pa.int64(): pd.Int64Dtype(),
    pa.uint8(): pd.UInt8Dtype(),
    pa.uint16(): pd.UInt16Dtype(),
    pa.uint32(): pd.UInt32Dtype(),
    pa.uint64(): pd.UInt64Dtype(),
    pa.bool_(): pd.BooleanDtype(),
}


def frame_of(table: pa.Table) -> pd.DataFrame:
    """Convert a table to a frame with the index 0, 1, ...: same columns, same values, nulls stay nulls."""
    columns = {
        name: column.to_pandas(types_mapper=_NULLABLE.get if column.null_count else None)
        for name, column in zip(table.column_names, table.columns, strict=True)
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows), copy=False)


def utc_times(table: pa.Table, column: str) -> pa.ChunkedArray:
    """
    Read a column as moments.

    Parameters
    ----------
    table : Table of shape (n_rows, n_columns)
        Any table that holds the column.
    column : str
        Timestamps (without a zone they count as UTC), dates, or ISO 8601 text.

    Returns
    -------
    ChunkedArray of timestamp[us, UTC], of shape (n_rows,)
        Null where there is no moment, or text that is none.

    Raises
    ------
    ContractViolationError
        If the column holds neither times nor text.

    """
    values = table.column(column)
    kind = values.type
    if pa.types.is_timestamp(kind):
        naive_is_utc = values if kind.tz else pc.assume_timezone(values, "UTC")
        return naive_is_utc.cast(UTC_MICROSECONDS, safe=False)
    if pa.types.is_date(kind):
        return pc.assume_timezone(values.cast(pa.timestamp("us")), "UTC")
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        moments = pd.to_datetime(
            pd.Series(values.to_pylist(), dtype="object"), utc=True, format="ISO8601", errors="coerce"
        )
        naive = pa.array(moments.dt.tz_localize(None).to_numpy(), from_pandas=True).cast(pa.timestamp("us"), safe=False)
        return pa.chunked_array([pc.assume_timezone(naive, "UTC")])
    if pa.types.is_null(kind):
        return values.cast(UTC_MICROSECONDS)
    raise ContractViolationError(f"column {column!r} holds {kind}, not times: let the query return a timestamp")
