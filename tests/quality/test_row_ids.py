"""Row ids: equal for equal values, different otherwise, the same in every process."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.quality.row_ids import compute_row_ids
from tests.factories import parcel_rows

MOMENT = datetime(2026, 1, 5, 7, tzinfo=UTC)


def ids(columns, of=None):
    table = pa.table(columns)
    return compute_row_ids(table, of or table.column_names).to_pylist()


def test_ids_are_32_hex_digits_and_one_a_row():
    found = compute_row_ids(parcel_rows(n_rows=500), ["parcel_id"])
    assert found.type == pa.string()
    assert len(set(found.to_pylist())) == 500
    assert {len(bytes.fromhex(row_id)) for row_id in found.to_pylist()} == {16}


def test_no_rows_have_no_ids():
    assert compute_row_ids(parcel_rows().slice(0, 0), ["parcel_id"]).to_pylist() == []


def test_ids_ignore_chunks_offsets_and_the_order_of_columns():
    rows = parcel_rows(n_rows=300)
    whole = compute_row_ids(rows, rows.column_names).to_pylist()
    parts = pa.concat_tables([rows.slice(0, 100), rows.slice(100, 7), rows.slice(107)])
    assert compute_row_ids(parts, rows.column_names[::-1]).to_pylist() == whole
    assert compute_row_ids(rows.slice(50), rows.column_names).to_pylist() == whole[50:]


def test_ids_are_the_same_in_another_process():
    """Python's own hash would differ: it is salted in each process."""
    code = (
        "from tests.factories import parcel_rows; from include.quality.row_ids import compute_row_ids; rows = "
        "parcel_rows(n_rows=20); import sys; sys.stdout.write(' '.join(compute_row_ids(rows, "
        "rows.column_names).to_pylist()))"
    )
    rows = parcel_rows(n_rows=20)
    there = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert there.split() == compute_row_ids(rows, rows.column_names).to_pylist()


def test_a_known_row_keeps_its_id():
    """
    A change here, or in pandas, would make every stored row a new one.

    The texts are `"key"1"text"1:a`, `"text"2:ü` and `"key"2`; their ids come from the SipHash paper's algorithm,
    written anew in Python (and tried on its test vector), with pandas's final mixing of the 64 bits.
    """
    found = ids({"text": ["a", "ü", None], "key": pa.array([1, None, 2])})
    assert found == [
        "dc647c9132ca1a4b8c55851ca35e57db",
        "effae4f05a160325b7ab2bdafad2d4b7",
        "96fde6843233017d758c420de529d2ab",
    ]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"a": ["x,1"], "b": ["y"]}, {"a": ["x"], "b": ["1,y"]}),
        ({"a": ["xy"], "b": [""]}, {"a": ["x"], "b": ["y"]}),
        ({"a": [None], "b": ["x"]}, {"a": ["x"], "b": [None]}),
        ({"a": [""]}, {"a": pa.array([None], pa.string())}),
        ({"a": ["~"]}, {"a": pa.array([None], pa.string())}),
        ({"a": ["1"]}, {"a": [1]}),
        ({"a": [0.1 + 0.2]}, {"a": [0.3]}),
        ({"a": [2**53]}, {"a": [2**53 + 1]}),
        ({"a": [float("nan")]}, {"a": [float("inf")]}),
    ],
)
def test_different_rows_have_different_ids(one, other):
    assert ids(one) != ids(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array([-0.0]), pa.array([0.0])),
        (pa.array([MOMENT], pa.timestamp("us", "UTC")), pa.array([MOMENT], pa.timestamp("ns", "Europe/Rome"))),
        (pa.array(["x"]), pa.array(["x"], pa.large_string())),
        (pa.array(["x"]), pa.array(["x"]).dictionary_encode()),
    ],
)
def test_equal_values_have_equal_ids_whatever_their_storage(one, other):
    assert ids({"a": one}) == ids({"a": other})


def test_a_column_gained_later_leaves_older_ids_as_they_were():
    assert ids({"a": [1, 2]}) == ids({"a": [1, 2], "b": pa.array([None, None], pa.string())})


@pytest.mark.parametrize(
    "values",
    [
        [True, False],
        [date(2026, 1, 5), date(2026, 1, 6)],
        [Decimal("1.50"), Decimal("1.51")],
        [b"\xff", b"\x00"],
        [[1, 2], [1, 3]],
        [{"x": 1}, {"x": 2}],
    ],
)
def test_every_type_that_the_lake_stores_has_ids(values):
    first, second, third = ids({"a": [*values, None]})
    assert len({first, second, third}) == 3


@settings(max_examples=30, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(max_size=4), st.none() | st.text(max_size=4), st.none() | st.integers(-9, 9)),
        min_size=1,
        max_size=30,
    )
)
def test_ids_are_equal_exactly_when_rows_are(rows):
    found = ids(
        {
            "a": [r[0] for r in rows],
            "b": pa.array([r[1] for r in rows], pa.string()),
            "c": pa.array([r[2] for r in rows], pa.int64()),
        }
    )
    assert len(set(found)) == len(set(rows))
    assert len(set(zip(found, rows, strict=True))) == len(set(rows))
