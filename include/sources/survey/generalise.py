"""Generalise quasi-identifiers: exact values become bands, roundings, beginnings and years."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from include.workflow.sources.survey import AsIs, Band, Round, Truncate, Year

_NUMBER = r"^\s*[+-]?(\d{1,18}(\.\d{0,18})?|\.\d{1,18})\s*$"
_DATE = r"^\s*\d{4}(-\d{2}(-\d{2}([ T].*)?)?)?\s*$"


def generalise(column: pa.Array, how: Band | Round | Truncate | Year | AsIs) -> pa.Array:
    """
    Generalise a column of any type.

    Returns
    -------
    Array of shape (n_rows,)
        Null where the value is missing, or is none that can be generalised so (a text in the place of a number). The
        type follows from `how`, never from the values.

    """
    if isinstance(how, AsIs):
        return column
    if isinstance(how, Truncate):
        return pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(column.cast(pa.string())), 0, how.length)
    if isinstance(how, Year):
        return _years(column)
    numbers = _numbers(column)
    if isinstance(how, Round):
        return pc.round(numbers, ndigits=how.digits)
    bands = pc.floor(pc.divide(pc.subtract(numbers, how.start), how.width))
    lower = pc.add(pc.multiply(bands, how.width), how.start)
    return lower.cast(pa.int64(), safe=False) if how.width.is_integer() and how.start.is_integer() else lower


def _numbers(column: pa.Array) -> pa.Array:
    """Return float64; null for what is no finite number of a plain size."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        is_number = pc.match_substring_regex(column, _NUMBER)
        column = pc.utf8_trim_whitespace(pc.if_else(is_number, column, pa.scalar(None, column.type)))
    elif not (
        pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type)
    ):
        return pa.nulls(len(column), pa.float64())
    numbers = column.cast(pa.float64(), safe=False)
    is_plain = pc.fill_null(pc.less(pc.abs(numbers), 1e15), False)
    return pc.if_else(is_plain, numbers, pa.scalar(None, pa.float64()))


def _years(column: pa.Array) -> pa.Array:
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return pc.year(column).cast(pa.int64())
    if pa.types.is_integer(column.type):
        is_year = pc.and_(pc.greater_equal(column, 1800), pc.less(column, 2200))
        return pc.if_else(is_year, column.cast(pa.int64()), pa.scalar(None, pa.int64()))
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return pa.nulls(len(column), pa.int64())
    texts = pc.if_else(pc.match_substring_regex(column, _DATE), column, pa.scalar(None, column.type))
    return pc.utf8_slice_codeunits(pc.utf8_trim_whitespace(texts), 0, 4).cast(pa.int64())
