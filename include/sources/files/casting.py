"""
From texts to typed values, exactly or not at all.

A text is a value only if it is written as that type writes it: no blank, no sign that could be left out, no leading
zero, no digit that would be lost. `00123` is no integer, `1e400` is no number, 2^53 + 1 is an integer but no number,
and 30 February is no date.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import date
from decimal import Decimal

import pyarrow as pa
import pyarrow.compute as pc

from include.sources.times import UTC_TIMESTAMP

_INTEGER = r"^(0|-?[1-9][0-9]{0,18})$"
_NUMBER = r"^-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,4})?$"
_DAY = (
    r"[0-9]{4}-(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-9]))"
)
_CLOCK = r"(?:[01][0-9]|2[0-3]):[0-5][0-9](?::[0-5][0-9](?:\.[0-9]{1,6})?)?"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-4]):?[0-5][0-9])"
_TIMESTAMP = rf"^{_DAY}(?:[T ]{_CLOCK}{_ZONE}?)?$"
_SAFE_DIGITS = 15  # a float keeps any 15 digits
_DECIMAL = (38, 10)


def arrow_type(kind: str) -> pa.DataType:
    """Return the type in which a declared column is stored."""
    if kind.startswith("decimal"):
        return pa.decimal128(*_decimal_digits(kind))
    return {
        "text": pa.string(),
        "integer": pa.int64(),
        "number": pa.float64(),
        "boolean": pa.bool_(),
        "timestamp": UTC_TIMESTAMP,
        "date": pa.date32(),
    }[kind]


def says_no(column: str, kind: str) -> str:
    """Say that a column's text is no value of its type, without the text."""
    return f"column '{column}' holds no {kind}"


def cast_texts(texts: pa.Array, kind: str, *, decimal_comma: bool = False) -> tuple[pa.Array, pa.Array]:
    """
    Cast one column.

    Parameters
    ----------
    texts : Array of string, of shape (n_rows,)
        As they stand in the file; null where there is no value.
    kind : str
        The declared type.
    decimal_comma : bool
        Whether numbers are written `1,5`.

    Returns
    -------
    values : Array of shape (n_rows,)
        Null where the text is no value of the type.
    is_wrong : Array of bool, of shape (n_rows,)
        Where that is so; never null.

    """
    if decimal_comma and (kind == "number" or kind.startswith("decimal")):
        texts = _with_point(texts)
    values = _caster(kind)(texts, kind)
    return values, pc.and_(texts.is_valid(), values.is_null())


def _with_point(texts: pa.Array) -> pa.Array:
    """`1,5` becomes `1.5`; a point, which then could only part thousands, makes the text no number."""
    has_point = pc.match_substring(texts, ".")
    return pc.if_else(has_point, "1,5", pc.replace_substring(texts, ",", "."))


def _caster(kind: str) -> Callable[[pa.Array, str], pa.Array]:
    casters = {
        "text": _text,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "timestamp": _timestamp,
        "date": _date,
    }
    return casters.get(kind, _decimal)


def _only(texts: pa.Array, pattern: str) -> pa.Array:
    return pc.if_else(pc.match_substring_regex(texts, pattern), texts, pa.scalar(None, pa.string()))


def _text(texts: pa.Array, _kind: str) -> pa.Array:
    return texts


def _integer(texts: pa.Array, _kind: str) -> pa.Array:
    texts = _only(texts, _INTEGER)
    is_long = pc.fill_null(pc.greater_equal(pc.binary_length(texts), 19), False)
    if is_long.true_count:
        texts = _keep_if(texts, is_long, lambda text: -(2**63) <= int(text) < 2**63)
    return texts.cast(pa.int64())


def _number(texts: pa.Array, _kind: str) -> pa.Array:
    texts = _only(texts, _NUMBER)
    # Short plain numbers are exact to all their digits; the others are looked at one by one.
    is_doubtful = pc.or_(pc.greater(pc.binary_length(texts), _SAFE_DIGITS), pc.match_substring_regex(texts, "[eE]"))
    is_doubtful = pc.fill_null(is_doubtful, False)
    if is_doubtful.true_count:
        texts = _keep_if(texts, is_doubtful, _is_kept_by_a_float)
    return texts.cast(pa.float64())


def _is_kept_by_a_float(text: str) -> bool:
    """Whether a float is the very number, or is printed as it."""
    number, written = float(text), Decimal(text)
    return written in (Decimal(number), Decimal(repr(number)))


def _boolean(texts: pa.Array, _kind: str) -> pa.Array:
    return _only(texts, r"^(true|True|TRUE|false|False|FALSE|0|1)$").cast(pa.bool_())


def _timestamp(texts: pa.Array, _kind: str) -> pa.Array:
    texts = _real_days(_only(texts, _TIMESTAMP))
    texts = pc.if_else(
        pc.equal(pc.binary_length(texts), 10), pc.binary_join_element_wise(texts, "00:00:00", " "), texts
    )
    zoned = pc.match_substring_regex(texts, f"{_ZONE}$")
    return pc.if_else(zoned, texts, pc.binary_join_element_wise(texts, "Z", "")).cast(UTC_TIMESTAMP)


def _date(texts: pa.Array, _kind: str) -> pa.Array:
    return _real_days(_only(texts, f"^{_DAY}$")).cast(pa.date32())


def _real_days(texts: pa.Array) -> pa.Array:
    """
    Leave out what the pattern can't: 29 February of other years, the year 0, and moments that a zone takes out of the
    calendar.
    """
    is_odd = pc.fill_null(pc.match_substring_regex(texts, "^(....-02-29|0000|0001-01-01|9999-12-31)"), False)
    return _keep_if(texts, is_odd, _is_day) if is_odd.true_count else texts


def _is_day(text: str) -> bool:
    if not text.startswith("0000") and len(text) > 10 and text[:10] in ("0001-01-01", "9999-12-31"):
        return not re.search(r"[+-]\d\d:?\d\d$", text[10:])
    try:
        date.fromisoformat(text[:10])
    except ValueError:
        return False
    return True


def _decimal_digits(kind: str) -> tuple[int, int]:
    digits = re.findall(r"\d+", kind)
    return (int(digits[0]), int(digits[1])) if digits else _DECIMAL


def _decimal(texts: pa.Array, kind: str) -> pa.Array:
    precision, scale = _decimal_digits(kind)
    whole = precision - scale
    before = rf"(0|[1-9][0-9]{{0,{whole - 1}}})" if whole else "0"
    after = rf"(\.[0-9]{{1,{scale}}})?" if scale else ""
    return _only(texts, rf"^-?{before}{after}$").cast(pa.decimal128(precision, scale))


def _keep_if(texts: pa.Array, is_candidate: pa.Array, is_right: Callable[[str], bool]) -> pa.Array:
    """Null the candidates that are not right; each is looked at by itself."""
    positions = pc.indices_nonzero(is_candidate)
    verdicts = pa.array([is_right(text) for text in texts.take(positions).to_pylist()], pa.bool_())
    kept = pc.replace_with_mask(pc.invert(is_candidate), is_candidate, verdicts)
    return pc.if_else(kept, texts, pa.scalar(None, pa.string()))
