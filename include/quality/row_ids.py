"""
Row ids: the same row has the same id in every run, process and machine.

Each value becomes text by a rule that depends on nothing but the value (floats by their bits, times by their
microseconds since 1970 in UTC), the texts are joined under their columns' names so that no two rows can read the same,
and the whole is hashed to 128 bits: twice 64 of SipHash-2-4 (Aumasson and Bernstein, 2012) under two keys, as pandas
computes it, which takes a seventh of what hashlib takes row by row. A null adds nothing: a column that the source gains
later leaves the ids of older rows as they were.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pandas.util import hash_array

# 16 bytes each. Another key would make every stored row a new one.
KEYS = ("updraft row id 1", "updraft row id 2")
ID_LENGTH = 32  # hex digits
_ROWS_A_BATCH = 65_536


def compute_row_ids(table: pa.Table, columns: Sequence[str]) -> pa.Array:
    """
    Compute an id for each row from some of its columns.

    Parameters
    ----------
    table : Table of shape (n_rows, n_columns)
        Any table that holds the columns.
    columns : sequence of str
        Columns that identify a row, in any order.

    Returns
    -------
    Array of string, of shape (n_rows,)
        32 hex digits each. Equal values give equal ids, whatever the order of columns or the width of an integer.

    """
    chunks = [_ids_of(batch) for batch in table.select(sorted(columns)).to_batches(max_chunksize=_ROWS_A_BATCH)]
    return pa.concat_arrays(chunks) if chunks else pa.array([], pa.string())


def _ids_of(batch: pa.RecordBatch) -> pa.Array:
    parts = [
        part for name, column in zip(batch.schema.names, batch.columns, strict=True) for part in _named(name, column)
    ]
    # The empty text keeps a single column from standing alone: a join of one does not fill its nulls.
    rows = pc.binary_join_element_wise(_scalar(b""), *parts, b"", null_handling="replace", null_replacement=b"")
    texts_of_rows = rows.to_numpy(zero_copy_only=False)
    halves = [hash_array(texts_of_rows, hash_key=key, categorize=False) for key in KEYS]
    digits = np.column_stack(halves).astype(">u8").tobytes().hex().encode()
    offsets = np.arange(0, ID_LENGTH * batch.num_rows + 1, ID_LENGTH, dtype=np.int32)
    return pa.Array.from_buffers(pa.string(), batch.num_rows, [None, pa.py_buffer(offsets), pa.py_buffer(digits)])


def _named(name: str, column: pa.Array) -> list[pa.Array | pa.Scalar]:
    """Parts of a column's texts: its name as JSON, then the value; nothing where the value is null."""
    parts = [_scalar(json.dumps(name).encode()), *_canonical(column)]
    return parts if not column.null_count else [pc.binary_join_element_wise(*parts, b"")]


def _canonical(column: pa.Array) -> list[pa.Array | pa.Scalar]:
    """Parts of one binary text a value; nulls stay null."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column = column.dictionary_decode()
        kind = column.type
    if pa.types.is_floating(kind):
        return [_plain(_float_bits(column))]
    if pa.types.is_timestamp(kind):
        return [_plain(column.cast(pa.timestamp("us", tz=kind.tz)).cast(pa.int64()))]
    if pa.types.is_boolean(kind) or pa.types.is_integer(kind) or pa.types.is_decimal(kind):
        return [_plain(column)]
    if pa.types.is_temporal(kind):
        return [_plain(column)]
    if pa.types.is_nested(kind):
        return _measured(pa.array([_json(value) for value in column.to_pylist()], pa.binary()))
    return _measured(column.cast(pa.binary()))


def _plain(column: pa.Array) -> pa.Array:
    return column.cast(pa.string()).cast(pa.binary())


def _measured(texts: pa.Array) -> list[pa.Array | pa.Scalar]:
    """Put each text's length before it, so that no text can imitate the end of one value and the start of the next."""
    return [_plain(pc.binary_length(texts)), _scalar(b":"), texts]


def _scalar(text: bytes) -> pa.Scalar:
    return pa.scalar(text, pa.binary())


def _float_bits(column: pa.Array) -> pa.Array:
    """
    Bits of each float: exact, and the same however a library prints floats. Zero and not-a-number have
    one form each.
    """
    values = column.cast(pa.float64())
    numbers = values.to_numpy(zero_copy_only=False) + 0.0  # -0.0 + 0.0 is 0.0
    bits = np.where(np.isnan(numbers), np.float64("nan"), numbers).view(np.int64)
    return pa.array(bits, mask=values.is_null().to_numpy(zero_copy_only=False))


def _json(value: object) -> bytes | None:
    return None if value is None else json.dumps(value, sort_keys=True, default=str).encode()
