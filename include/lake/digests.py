"""
Digests of tables: the same for the same rows in the same order, whatever the chunks, batches, files or order of
columns.

Each column is hashed by streams that ignore where batches end: whether a value is there, the values (zero where there
is none), and for text and lists their lengths. A column that holds no value at all counts as absent, so that a column
that a table gains later leaves the digests of older partitions as they were.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError
from include.lake.schemas import lake_type

FORMAT = "updraft-table-1"


class TableDigest:
    """
    The digest of a table that comes in batches.

    Parameters
    ----------
    ignore : sequence of str
        Columns left out.

    """

    def __init__(self, *, ignore: Sequence[str] = ()) -> None:
        self.n_rows = 0
        self._ignore = frozenset(ignore)
        self._columns: dict[str, _ColumnDigest] | None = None

    def update(self, batch: pa.RecordBatch) -> None:
        """
        Add a batch of rows.

        Raises
        ------
        DataError
            If its columns are other ones than those of the batches before, or of a type that the lake can't store.

        """
        fields = {field.name: field.type for field in batch.schema if field.name not in self._ignore}
        if self._columns is None:
            self._columns = {name: _ColumnDigest(lake_type(name, data_type)) for name, data_type in fields.items()}
        if fields.keys() != self._columns.keys():
            raise DataError(
                f"a batch has the columns {sorted(fields)}, those before it {sorted(self._columns)}: read them with "
                "one query"
            )
        self.n_rows += batch.num_rows
        for name, column in self._columns.items():
            column.update(batch.column(batch.schema.get_field_index(name)))

    def hexdigest(self) -> str:
        """Return the SHA-256 of all rows so far, as 64 hex digits."""
        columns = [
            [name, column.summary()] for name, column in sorted((self._columns or {}).items()) if column.n_values
        ]
        return digest_bytes(json.dumps([FORMAT, self.n_rows, columns], ensure_ascii=True).encode())


def digest_table(table: pa.Table, *, ignore: Sequence[str] = ()) -> str:
    """Return the digest of a table that is in memory."""
    digest = TableDigest(ignore=ignore)
    for batch in table.to_batches():
        digest.update(batch)
    return digest.hexdigest()


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


class _ColumnDigest:
    """Streams of one column; a list's or struct's inner columns are digests of their own."""

    def __init__(self, data_type: pa.DataType) -> None:
        self.n_values = 0
        self._type = data_type
        self._is_valid, self._values, self._lengths = hashlib.sha256(), hashlib.sha256(), hashlib.sha256()
        inner = [data_type.value_type] if pa.types.is_list(data_type) else []
        inner = [field.type for field in data_type] if pa.types.is_struct(data_type) else inner
        self._inner = [_ColumnDigest(inner_type) for inner_type in inner]

    def update(self, array: pa.Array) -> None:
        if not array.type.equals(self._type):
            array = array.cast(self._type)
        self.n_values += len(array) - array.null_count
        self._is_valid.update(_contiguous(array.is_valid()))
        if pa.types.is_struct(self._type):
            for inner, values in zip(self._inner, array.flatten(), strict=True):
                inner.update(values)
        elif pa.types.is_list(self._type):
            self._lengths.update(_int64(pc.list_value_length(array)))
            self._inner[0].update(array.flatten())
        elif pa.types.is_string(self._type) or pa.types.is_binary(self._type):
            self._lengths.update(_int64(pc.binary_length(array)))
            self._values.update(_text_bytes(array))
        else:
            self._values.update(_fixed_width_bytes(array))

    def summary(self) -> list[object]:
        streams = [stream.hexdigest() for stream in (self._is_valid, self._lengths, self._values)]
        # The names in a struct are part of its type; a list's inner name ("item" or "element") says nothing.
        kind = "list" if pa.types.is_list(self._type) else str(self._type)
        return [kind, *streams, [inner.summary() for inner in self._inner]]


def _contiguous(booleans: pa.Array) -> memoryview:
    return np.ascontiguousarray(booleans.to_numpy(zero_copy_only=False), dtype=np.uint8).data


def _int64(lengths: pa.Array) -> memoryview:
    return np.ascontiguousarray(lengths.fill_null(0).to_numpy(zero_copy_only=False), dtype="<i8").data


def _text_bytes(array: pa.Array) -> memoryview:
    # A null may hide bytes in the buffer: rebuilt without nulls, the buffer holds the values' bytes alone.
    values = array.drop_null() if array.null_count else array
    _, offsets, data = values.buffers()
    if data is None:
        return memoryview(b"")
    ends = np.frombuffer(offsets, dtype=np.int32)[values.offset : values.offset + len(values) + 1]
    return memoryview(data)[ends[0] : ends[-1]]


def _fixed_width_bytes(array: pa.Array) -> memoryview:
    if pa.types.is_boolean(array.type):
        return _contiguous(array.fill_null(False))
    width = array.type.bit_width // 8
    buffer = array.buffers()[1]
    if buffer is None or not len(array):
        return memoryview(b"")
    if pa.types.is_floating(array.type):
        values = np.frombuffer(buffer, dtype=f"<f{width}")[array.offset : array.offset + len(array)]
        # NaN has many bit patterns: one stands for all.
        values = np.where(np.isnan(values), np.array(np.nan, dtype=values.dtype), values).view(np.uint8)
    else:
        values = np.frombuffer(buffer, dtype=np.uint8)[array.offset * width : (array.offset + len(array)) * width]
    if array.null_count:
        is_valid = array.is_valid().to_numpy(zero_copy_only=False)
        values = np.where(is_valid[:, None], values.reshape(len(array), width), np.uint8(0)).reshape(-1)
    return np.ascontiguousarray(values).data
