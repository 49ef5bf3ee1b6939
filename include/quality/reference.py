"""Referential rules: which values another workflow's published table does not hold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError
from include.lake.readers import delta_schema, scan_batches
from include.lake.store import Lake, native_filesystem, open_table
from include.quality.history import Past

# So many values are gathered before repeated ones are let go.
_GATHERED = 1_000_000


def find_unknown(
    values: pa.ChunkedArray, *, name: str, other_workflow: str, other_column: str, past: Past
) -> np.ndarray:
    """
    Find the values that are not there.

    Parameters
    ----------
    values : ChunkedArray of shape (n_rows,)
        A null is no value, and never unknown.
    name : str
        Their column, for the message.
    other_workflow, other_column : str
        Where they have to be: in any row of `<other_workflow>/validated` whose event time lies before this partition's
        end (of the same workflow: before its start).
    past : Past
        Gives the partition and the lake.

    Returns
    -------
    ndarray of int, of shape (n_unknown,)
        Positions, ascending.

    Raises
    ------
    TableNotFoundError
        If the other workflow has published nothing.
    DataError
        If it has no such column, or one of another kind of type.

    """
    window = past.window
    before = window.start if other_workflow == past.workflow.name else window.end
    known = read_distinct(past.lake, f"{other_workflow}/validated", other_column, before=before)
    if not _is_comparable(values.type, known.type):
        raise DataError(
            f"column {name!r} is {values.type}, and {other_workflow}.{other_column} is {known.type}: cast one in its "
            "query"
        )
    is_known = pc.is_in(values.cast(known.type, safe=False) if values.type != known.type else values, value_set=known)
    return np.flatnonzero(pc.and_(values.is_valid(), pc.invert(is_known)).to_numpy())


def _is_comparable(left: pa.DataType, right: pa.DataType) -> bool:
    return bool(left == right or (pa.types.is_integer(left) and right == pa.int64()))


def read_distinct(lake: Lake, table: str, column: str, *, before: datetime) -> pa.Array:
    """Distinct values of a column, of the rows whose event time lies before a moment; its nulls are left out."""
    delta = open_table(lake, table)
    schema = delta_schema(delta)
    if column not in schema.names:
        raise DataError(f"table {table!r} has no column {column!r}: it has {', '.join(schema.names)}")
    dataset = delta.to_pyarrow_dataset(filesystem=native_filesystem(lake, table), schema=schema)
    moment = pa.scalar(before, pa.timestamp("us", tz="UTC"))
    kind = schema.field(column).type
    parts: list[pa.Array] = [pa.array([], kind)]
    for part in _values_before(scan_batches(dataset, [column, "event_time"]), moment):
        parts.append(part)
        if sum(map(len, parts)) > _GATHERED:
            parts = [pc.unique(pa.concat_arrays(parts))]
    return pc.unique(pa.concat_arrays(parts))


def _values_before(batches: Iterator[pa.RecordBatch], moment: pa.Scalar) -> Iterator[pa.Array]:
    for batch in batches:
        yield pc.unique(pc.drop_null(batch.column(0).filter(pc.less(batch.column(1), moment))))
