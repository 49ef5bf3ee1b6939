"""Masked rows: a value's shape is seen, the value is not."""

from __future__ import annotations

from datetime import UTC, date, datetime, time
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.quality.masking import HIDDEN, MAX_REASON, MAX_SHAPE, mask_rows

MOMENT = datetime(2026, 1, 5, 7, tzinfo=UTC)


def shapes(values, kind=None):
    return [row["x"] for row in mask_rows(pa.table({"x": pa.array(values, kind)}), n=len(values))]


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("Ada Lovelace", "Aaa Aaaaaaaa"),
        ("ada@example.org", "aaa@aaaaaaa.aaa"),
        ("DE89 3704", "AA99 9999"),
        ("Ünal 東京", "Aaaa aa"),
        ("a\n<b>\0\u202e", "a··a···"),
        ("", "empty text"),
        (-1204, "-9999"),
        (12.5, "99.9"),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (Decimal("3.10"), "9.99"),
        (True, "true or false"),
        (MOMENT, "9999-99-99 99:99:99"),
        (date(1815, 12, 10), "9999-99-99"),
        (time(7, 30), "99:99:99"),
        (b"secret", "6 bytes"),
        (["a", "b"], "list of 2"),
        ({"name": "Ada"}, "nested values"),
    ],
)
def test_a_value_is_shown_by_its_shape(value, shape):
    assert shapes([value, None]) == [shape, "null"]


def test_a_moment_outside_of_pythons_years_is_shown_too():
    assert shapes([2**62], pa.timestamp("us", tz="UTC")) == ["9999-99-99 99:99:99"]


@pytest.mark.parametrize("length", [MAX_SHAPE, MAX_SHAPE + 1, 1_000_000])
def test_a_shape_is_never_longer_than_its_bound(length):
    [shape] = shapes(["x" * length])
    assert len(shape) == MAX_SHAPE
    assert shape.endswith("…") is (length > MAX_SHAPE)


def test_of_a_hidden_column_not_even_the_shape_is_shown():
    rows = pa.table({"name": ["Ada", None], "reasons": [["r"], ["r"]]})
    assert mask_rows(rows, n=2, hidden=("name",)) == [{"name": HIDDEN, "reasons": "r"}] * 2


def test_reasons_and_positions_stay_readable():
    rows = pa.table({"reasons": [["a: rule (7 digits)", "b: rule"], ["x" * 10_000]], "source_position": [71, 8_005]})
    first, second = mask_rows(rows, n=2)
    assert first == {"reasons": "a: rule (7 digits); b: rule", "source_position": "71"}
    assert (len(second["reasons"]), second["source_position"]) == (MAX_REASON, "8005")


@pytest.mark.parametrize(("n", "expected"), [(-1, 0), (0, 0), (3, 3), (99, 5)])
def test_no_more_rows_are_shown_than_asked_for(n, expected):
    rows = pa.table({"x": range(5)})
    assert len(mask_rows(rows, n=n)) == expected


@settings(deadline=None, max_examples=200)
@given(st.text())
@pytest.mark.claim("accounts")
def test_no_letter_or_digit_of_a_text_gets_through(text):
    shape = shapes([text])[0]
    assert shape == "empty text" or set(shape) <= set("aA9 -_:/.,;@+#%()·…")
    assert shapes([text]) == [shape]
