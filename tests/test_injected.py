"""
The counter that the sources' tests trust: it sees a row that is lost, doubled, or quarantined for the
wrong reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include.lake.fencing import new_token
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import Lake
from tests.factories import parcel_rows
from tests.injected import Expected, assert_accounted
from tests.quality.partitions import KEY, day_rows, key_of, publish
from tests.quality.rows import changed

NULL = "is_late: expect_column_values_to_not_be_null"
MOON = "depot: expect_column_values_to_be_in_set"


def first_id(day: int) -> int:
    return int(day_rows(day)["parcel_id"][0].as_py())


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """Two days: of the first, two of 40 rows are bad and one is there twice; of the second, one of 40 is bad."""
    folder = tmp_path_factory.mktemp("published")
    lake = Lake(uri=str(folder / "lake"))
    first = changed(changed(parcel_rows(n_rows=40), "is_late", {3: None, 5: None}), "depot", {5: "moon"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        publish(lake, folder, first.take([*range(40), 7]), key=KEY)
        publish(lake, folder, changed(day_rows(1), "depot", {0: "moon"}), key=key_of(1))
        yield lake


@pytest.fixture
def lake(published: Lake, tmp_path: Path) -> Lake:
    """A copy, which a test may harm."""
    shutil.copytree(published.uri, tmp_path / "lake")
    return Lake(uri=str(tmp_path / "lake"))


@pytest.fixture
def expected() -> Expected:
    bad = {first_id(0) + 3: (NULL,), first_id(0) + 5: (NULL, MOON), first_id(1): (MOON,)}
    everything = [first_id(day) + number for day in (0, 1) for number in range(40)]
    return Expected(n_in=81, n_published=77, n_duplicate=1, reasons_by_row=bad, published=set(everything) - set(bad))


def test_what_is_true_passes(lake, expected):
    assert (expected.n_quarantined, expected.n_kinds) == (3, 3)
    assert_accounted(lake, "parcels", expected, marker_column="parcel_id")


def test_several_columns_may_mark_a_row(lake, expected):
    late, moon = parcel_rows(n_rows=40)["depot"][3].as_py(), "moon"
    by_two = {
        (marker, moon if MOON in reasons else late): reasons for marker, reasons in expected.reasons_by_row.items()
    }
    assert_accounted(
        lake, "parcels", replace(expected, reasons_by_row=by_two, published=None), marker_column=("parcel_id", "depot")
    )


def test_a_wrong_reason_fails(lake, expected):
    bad = {**expected.reasons_by_row, first_id(1): (NULL,)}
    with pytest.raises(AssertionError, match="quarantined: 1 that should not be"):
        assert_accounted(lake, "parcels", replace(expected, reasons_by_row=bad), marker_column="parcel_id")


def test_another_row_than_the_bad_one_fails(lake, expected):
    bad = {**expected.reasons_by_row, first_id(1) + 1: (MOON,)}
    del bad[first_id(1)]
    with pytest.raises(AssertionError, match="quarantined: 1 that should not be"):
        assert_accounted(
            lake, "parcels", replace(expected, reasons_by_row=bad, published=None), marker_column="parcel_id"
        )


@pytest.mark.parametrize("table", ["validated", "quarantine"])
@pytest.mark.parametrize("fault", ["lost", "doubled"])
def test_a_table_that_lost_or_doubled_a_row_fails(lake, expected, table, fault):
    whole = read_partition(lake, f"parcels/{table}", KEY)
    changed_rows = whole.take([*range(whole.num_rows), 0] if fault == "doubled" else [*range(1, whole.num_rows)])
    replace_partition(lake, f"parcels/{table}", KEY, changed_rows, token=new_token())
    with pytest.raises(AssertionError, match=r"quarantined: |published, and 77 should be"):
        assert_accounted(lake, "parcels", replace(expected, published=None), marker_column="parcel_id")


def test_a_published_row_that_is_another_fails(lake, expected):
    markers = {*expected.published, -1} - {first_id(0)}
    with pytest.raises(AssertionError, match="published: 1 that should not be"):
        assert_accounted(lake, "parcels", replace(expected, published=markers), marker_column="parcel_id")


def test_a_duplicate_that_is_counted_as_published_fails(lake, expected):
    moved = replace(expected, n_published=78, n_duplicate=0, published=None)
    with pytest.raises(AssertionError, match=r"the ledger states .*'rows_duplicate': 1"):
        assert_accounted(lake, "parcels", moved, marker_column="parcel_id")


def test_an_expectation_that_does_not_add_up_is_refused(expected):
    with pytest.raises(ValueError, match="the test contradicts itself"):
        replace(expected, n_in=82)
