"""Digests: equal for equal rows, whatever their chunks, files and column order; different for different rows."""

from __future__ import annotations

import hashlib
import itertools
import math
import string
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import DataError
from include.lake.digests import TableDigest, digest_bytes, digest_table

COLUMNS: dict[str, tuple[pa.DataType, st.SearchStrategy[Any]]] = {
    "integer": (pa.int64(), st.integers(-(2**63), 2**63 - 1)),
    "small": (pa.int8(), st.integers(-128, 127)),
    "number": (pa.float64(), st.floats()),
    "text": (pa.string(), st.text(max_size=5)),
    "bytes": (pa.binary(), st.binary(max_size=3)),
    "flag": (pa.bool_(), st.booleans()),
    "moment": (pa.timestamp("us", tz="UTC"), st.integers(0, 10**15)),
    "day": (pa.date32(), st.integers(0, 10_000)),
    "price": (pa.decimal128(10, 2), st.decimals(-1000, 1000, places=2)),
    "reasons": (pa.list_(pa.string()), st.lists(st.none() | st.text(string.ascii_letters, max_size=3), max_size=3)),
    "place": (
        pa.struct([("lat", pa.float64()), ("name", pa.string())]),
        st.fixed_dictionaries({"lat": st.floats(), "name": st.text(max_size=2)}),
    ),
}


@st.composite
def tables(draw: st.DrawFn) -> pa.Table:
    n_rows = draw(st.integers(0, 12))
    names = draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, unique=True))
    cells = {name: draw(st.lists(st.none() | COLUMNS[name][1], min_size=n_rows, max_size=n_rows)) for name in names}
    return pa.table({name: pa.array(values, COLUMNS[name][0]) for name, values in cells.items()})


@settings(max_examples=150, deadline=None)
@given(table=tables(), cuts=st.lists(st.integers(0, 12), max_size=4), order=st.randoms())
def test_chunks_and_order_of_columns_do_not_count(table: pa.Table, cuts: list[int], order: Any) -> None:
    edges = [0, *sorted(min(cut, table.num_rows) for cut in cuts), table.num_rows]
    names = table.column_names
    order.shuffle(names)
    pieces = [table.slice(start, end - start) for start, end in itertools.pairwise(edges)]
    assert (
        digest_table(pa.concat_tables(pieces).select(names))
        == digest_table(table)
        == digest_table(table.combine_chunks())
    )


@settings(max_examples=150, deadline=None)
@given(table=tables(), data=st.data())
def test_any_change_of_a_cell_counts(table: pa.Table, data: st.DataObject) -> None:
    if not table.num_rows:
        return
    name = data.draw(st.sampled_from(table.column_names))
    row = data.draw(st.integers(0, table.num_rows - 1))
    column_type, values = COLUMNS[name]
    cells = (
        table[name].to_pylist()
        if name not in {"moment", "day"}
        else table[name].cast(pa.int64() if name == "moment" else pa.int32()).to_pylist()
    )
    other = data.draw(st.none() | values)
    changed = pa.array([*cells[:row], other, *cells[row + 1 :]], column_type)
    is_same = repr(changed[row].as_py()) == repr(table[name][row].as_py())
    new = table.set_column(table.column_names.index(name), name, changed)
    assert (digest_table(new) == digest_table(table)) == is_same


@settings(max_examples=30, deadline=None)
@given(table=tables())
def test_a_round_through_parquet_does_not_count(tmp_path_factory: pytest.TempPathFactory, table: pa.Table) -> None:
    path: Path = tmp_path_factory.mktemp("digest") / "rows.parquet"
    pq.write_table(table, path, row_group_size=3)
    assert digest_table(pq.read_table(path)) == digest_table(table)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": [math.nan]}, {"x": pa.array([None], pa.float64())}),
        ({"x": [0]}, {"x": pa.array([None], pa.int64())}),
        ({"x": [""]}, {"x": pa.array([None], pa.string())}),
        ({"x": ["ab", ""]}, {"x": ["a", "b"]}),
        ({"x": [["a"], []]}, {"x": [[], ["a"]]}),
        ({"x": pa.array([[]], pa.list_(pa.string()))}, {"x": pa.array([None], pa.list_(pa.string()))}),
        ({"x": [["a", None]]}, {"x": [["a", ""]]}),
        ({"x": [1]}, {"x": [1.0]}),
        ({"x": [1]}, {"y": [1]}),
        ({"x": [1, 2]}, {"x": [2, 1]}),
        ({"x": [0.0]}, {"x": [-0.0]}),
        ({"x": ["1"]}, {"x": [1]}),
        ({"x": ["a"], "y": ["b"]}, {"x": ["b"], "y": ["a"]}),
        ({"x": pa.nulls(2, pa.int64())}, {"x": pa.nulls(3, pa.int64())}),
    ],
)
def test_what_differs_differs(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert digest_table(pa.table(one)) != digest_table(pa.table(other))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"x": ["a", None]}, {"x": pa.array(["a", None], pa.large_string())}),
        ({"x": ["a", None]}, {"x": pa.array(["a", None], pa.string_view())}),
        ({"x": ["a", "b", "a"]}, {"x": pa.array(["a", "b", "a"]).dictionary_encode()}),
        ({"x": [["a"]]}, {"x": pa.array([["a"]], pa.large_list(pa.large_string()))}),
        ({"x": [1]}, {"x": [1], "empty": pa.nulls(1, pa.string())}),
        ({"x": [math.nan]}, {"x": np.array([0x7FF8000000000001], np.uint64).view(np.float64)}),
    ],
)
def test_the_same_values_in_another_form_are_the_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert digest_table(pa.table(one)) == digest_table(pa.table(other))


def test_bytes_under_a_null_do_not_count() -> None:
    hidden = pa.Array.from_buffers(pa.int64(), 2, [pa.py_buffer(b"\x01"), pa.py_buffer(np.array([7, 99]).tobytes())])
    assert hidden.to_pylist() == [7, None]
    assert digest_table(pa.table({"x": hidden})) == digest_table(pa.table({"x": [7, None]}))


def test_ignored_columns_do_not_count() -> None:
    table = pa.table({"x": [1], "run_id": ["a"]})
    assert digest_table(table, ignore=["run_id"]) == digest_table(pa.table({"x": [1]}))


def test_batches_of_other_columns_are_refused() -> None:
    digest = TableDigest()
    digest.update(pa.record_batch({"x": [1]}))
    with pytest.raises(DataError, match=r"has the columns \['y'\], those before it \['x'\]"):
        digest.update(pa.record_batch({"y": [1]}))


def test_the_digest_of_bytes_is_their_sha256() -> None:
    assert digest_bytes(b"parcels") == hashlib.sha256(b"parcels").hexdigest()


def test_the_format_is_pinned() -> None:
    """A digest stands in ledgers for years: this one must never change."""
    table = pa.table({"x": [1, None], "s": ["a", "ü"], "r": [["q"], None]})
    assert digest_table(table) == "92551f2b26bbfddc2ee5b2a216736d8a190f8fba3cc5761fe2d308da580683e5"
