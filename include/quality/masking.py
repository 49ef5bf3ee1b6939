"""
Rows for a person's eyes: the shape of each value, never the value.

A quarantined row is looked at to find out what is wrong with its form: a letter among digits, a missing part, a value
too long. The shape tells that; the value may be somebody's name, and a page is seen by more people than a table is.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from typing import Any

import pyarrow as pa

HIDDEN = "•••"
MAX_SHAPE = 32
MAX_REASON = 500
# Updraft's own columns: where a row is from and what it broke. Both are written so that they quote no value.
_READABLE = frozenset({"reasons", "source_position"})
# What gives a value its form. Any other sign could tell more than that.
_KEPT = frozenset(" -_:/.,;@+#%()")
_OTHER = "·"


def mask_rows(table: pa.Table, *, n: int, hidden: Collection[str] = ()) -> list[dict[str, str]]:
    """
    Show the first rows of a table by the shape of their values.

    Parameters
    ----------
    table : Table of shape (n_rows, n_columns)
        For instance a quarantined partition.
    n : int
        How many rows to show at most, >= 0.
    hidden : collection of str
        Columns of which not even the shape is shown.

    Returns
    -------
    list of dict
        A row each, text by column, in the table's order. The same rows give the same text. `reasons` and
        `source_position` stay readable.

    Examples
    --------
    >>> mask_rows(pa.table({"carrier": ["Aa-17", None], "dep_delay": [-12.5, 3.0]}), n=2)
    [{'carrier': 'Aa-99', 'dep_delay': '-99.9'}, {'carrier': 'null', 'dep_delay': '9.9'}]

    """
    shown = table.slice(0, max(n, 0))
    masked = {name: _mask_column(name, shown[name], hidden=hidden) for name in shown.column_names}
    return [{name: texts[row] for name, texts in masked.items()} for row in range(shown.num_rows)]


def _mask_column(name: str, column: pa.ChunkedArray, *, hidden: Collection[str]) -> list[str]:
    if name in hidden:
        return [HIDDEN] * len(column)
    if name in _READABLE:
        return [_readable(value) for value in column.to_pylist()]
    write = _writer_of(column.type)
    if write is None:
        return [_fixed_shape(column.type) if is_valid else "null" for is_valid in column.is_valid().to_pylist()]
    return ["null" if value is None else write(value) for value in column.to_pylist()]


def _readable(value: Any) -> str:
    if value is None:
        return "null"
    text = "; ".join(map(str, value)) if isinstance(value, list) else str(value)
    return text if len(text) <= MAX_REASON else text[: MAX_REASON - 1] + "…"


def _writer_of(kind: pa.DataType) -> Callable[[Any], str] | None:
    """How values of a type become shapes; None where the type alone says the shape."""
    if pa.types.is_floating(kind):
        return _shape_of_float
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return lambda value: f"{len(value)} bytes"
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return lambda value: f"list of {len(value)}"
    if pa.types.is_boolean(kind) or pa.types.is_temporal(kind) or pa.types.is_nested(kind):
        return None
    return lambda value: _shape_of_text(str(value))


def _fixed_shape(kind: pa.DataType) -> str:
    """
    Times are not read one by one: a moment that Python cannot hold would raise, and every moment has the
    same shape.
    """
    if pa.types.is_timestamp(kind):
        return "9999-99-99 99:99:99"
    if pa.types.is_date(kind):
        return "9999-99-99"
    if pa.types.is_time(kind):
        return "99:99:99"
    if pa.types.is_boolean(kind):
        return "true or false"
    return "nested values" if pa.types.is_nested(kind) else str(kind)


def _shape_of_float(value: float) -> str:
    """Infinity and NaN are kinds of fault, and no row's secret."""
    return _shape_of_text(str(value)) if math.isfinite(value) else str(value)


def _shape_of_text(text: str) -> str:
    if text == "":
        return "empty text"
    shape = "".join(map(_shape_of_sign, text[:MAX_SHAPE]))
    return shape if len(text) <= MAX_SHAPE else shape[:-1] + "…"


def _shape_of_sign(sign: str) -> str:
    if sign.isdigit():
        return "9"
    if sign.isalpha():
        return "A" if sign.isupper() else "a"
    return sign if sign in _KEPT else _OTHER
