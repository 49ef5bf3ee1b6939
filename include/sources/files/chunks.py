"""What every format's reader hands on: typed rows, what is wrong with some of them, and where each stood."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.sources.files.casting import arrow_type, cast_texts, says_no
from include.workflow import FileSource


@dataclass(frozen=True, kw_only=True)
class Location:
    """
    Where a record stands: its place among the file's bytes, or, in a format that has no lines, its row, from 1 on; and
    what it holds.
    """

    data: bytes | None
    byte_offset: int | None = None
    byte_length: int | None = None
    row_number: int | None = None


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """
    Some records of a file, in its order.

    `rows` holds the declared columns, all null where `errors` (an array of text) says what is wrong. `locate` tells
    where a record stood.
    """

    rows: pa.RecordBatch
    errors: pa.Array
    locate: Callable[[int], Location]


def declared_schema(source: FileSource) -> pa.Schema:
    """Return the columns that a declaration gives."""
    return pa.schema([pa.field(name, arrow_type(kind)) for name, kind in source.columns.items()])


def cast_rows(texts: Sequence[pa.Array], source: FileSource, *, errors: pa.Array) -> tuple[pa.RecordBatch, pa.Array]:
    """
    Cast the declared columns, and say of each row the first that can't be.

    Parameters
    ----------
    texts : sequence of Array of string, each of shape (n_rows,)
        One for each declared column, in order.
    source : FileSource
        Declares the types.
    errors : Array of string, of shape (n_rows,)
        What is wrong already.

    Returns
    -------
    rows : RecordBatch
        Null where there is an error.
    errors : Array of string, of shape (n_rows,)

    """
    columns = []
    for (name, kind), column in zip(source.columns.items(), texts, strict=True):
        values, is_wrong = cast_texts(column, kind, decimal_comma=source.decimal_comma)
        columns.append(values)
        if is_wrong.true_count:
            errors = pc.coalesce(errors, pc.if_else(is_wrong, says_no(name, kind), pa.scalar(None, pa.string())))
    if errors.null_count < len(errors):
        is_good = errors.is_null()
        columns = [pc.if_else(is_good, column, pa.scalar(None, column.type)) for column in columns]
    return pa.RecordBatch.from_arrays(columns, schema=declared_schema(source)), errors


def errors_array(n_rows: int, errors: dict[int, str]) -> pa.Array:
    """Return an array of text of shape (n_rows,), null where nothing is wrong."""
    if not errors:
        return pa.nulls(n_rows, pa.string())
    texts = np.full(n_rows, None, dtype=object)
    texts[list(errors)] = list(errors.values())
    return pa.array(texts, pa.string())
