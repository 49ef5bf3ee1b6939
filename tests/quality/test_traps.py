"""What Great Expectations calls a success and we refuse: each trap beside the library's own verdict."""

from __future__ import annotations

import math

import pytest

from include.errors import ContractViolationError
from tests.factories import parcel_rows
from tests.quality.rows import NOT_NULL, ROW_COUNT, changed, plain_success, reasons_by_position, replace_column

BETWEEN = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "distance_km", "min_value": 0}}
UNIQUE = {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "weight_kg"}}


def frame(rows):
    return rows.to_pandas()


def test_an_empty_partition_is_refused(split_rows):
    empty = parcel_rows().slice(0, 0)
    assert plain_success(NOT_NULL, frame(empty))
    with pytest.raises(ContractViolationError, match="it is empty"):
        split_rows([NOT_NULL], empty)


def test_a_column_without_any_value_is_refused(split_rows):
    rows = replace_column(parcel_rows(n_rows=9), "distance_km", [None] * 9)
    assert plain_success(BETWEEN, frame(rows))
    with pytest.raises(ContractViolationError, match="column 'distance_km' holds no value, so nothing was judged"):
        split_rows([BETWEEN], rows)
    assert split_rows([BETWEEN | {"meta": {"allow_null": True}}], rows).count("published") == 9


def test_not_a_number_counts_as_no_value(split_rows):
    rows = replace_column(parcel_rows(n_rows=9), "distance_km", [math.nan] * 9)
    with pytest.raises(ContractViolationError, match="'distance_km' holds no value"):
        split_rows([BETWEEN], rows)


@pytest.mark.parametrize("column", ["sent_at", "recorded_at", "parcel_id"])
def test_a_key_or_time_without_any_value_is_refused(split_rows, column):
    rows = replace_column(parcel_rows(n_rows=9), column, [None] * 9)
    assert plain_success(BETWEEN, frame(rows))
    with pytest.raises(ContractViolationError, match=f"column '{column}' is null in all 9 rows"):
        split_rows([BETWEEN], rows)


@pytest.mark.parametrize("value", [math.inf, -math.inf])
def test_an_infinite_value_is_quarantined(split_rows, value):
    rows = changed(parcel_rows(n_rows=9), "weight_kg", {3: value})
    one_sided = {
        "type": BETWEEN["type"],
        "kwargs": {"column": "weight_kg", "min_value" if value > 0 else "max_value": 0},
    }
    if value > 0:
        assert plain_success(one_sided, frame(rows))
    split = split_rows([NOT_NULL], rows)
    assert reasons_by_position(split.table) == {3: ["weight_kg: value is infinite"]}


def test_nulls_are_not_unique(split_rows):
    rows = replace_column(parcel_rows(n_rows=4), "weight_kg", [1.0, 2.0, None, None])
    assert plain_success(UNIQUE, frame(rows))
    split = split_rows([UNIQUE], rows)
    reason = "weight_kg: expect_column_values_to_be_unique: value is missing"
    assert reasons_by_position(split.table) == {2: [reason], 3: [reason]}
    assert split_rows([UNIQUE | {"meta": {"allow_null": True}}], rows).count("published") == 4


def test_a_row_without_its_key_is_quarantined_and_is_no_duplicate(split_rows):
    rows = changed(parcel_rows(n_rows=9), "parcel_id", {3: None, 5: None})
    split = split_rows([ROW_COUNT], rows)
    assert reasons_by_position(split.table) == {3: ["parcel_id: key is missing"], 5: ["parcel_id: key is missing"]}


@pytest.mark.parametrize(("column", "role"), [("sent_at", "event time"), ("recorded_at", "known time")])
def test_a_row_without_its_time_is_quarantined(split_rows, column, role):
    split = split_rows([ROW_COUNT], changed(parcel_rows(n_rows=9), column, {3: None}))
    assert reasons_by_position(split.table) == {3: [f"{column}: {role} is missing"]}


def test_a_partition_of_which_no_row_is_left_is_refused(split_rows):
    rows = replace_column(parcel_rows(n_rows=9), "is_late", [None] * 9)
    split = split_rows([NOT_NULL], rows)
    assert split.stops == (
        "each of the 9 rows breaks a rule, so nothing is left to publish; most often: is_late: "
        "expect_column_values_to_not_be_null",
    )


def test_a_rule_on_a_column_that_is_gone_is_refused(split_rows):
    with pytest.raises(ContractViolationError, match="there is no column 'distance_km'; there are parcel_id, sent_at"):
        split_rows([BETWEEN], parcel_rows(n_rows=9).drop_columns(["distance_km"]))


def test_a_declared_column_that_is_gone_is_refused(split_rows):
    rows = parcel_rows(n_rows=9)
    with pytest.raises(
        ContractViolationError, match="declares column 'sent_at', which is not there: did you mean 'sent'"
    ):
        split_rows([ROW_COUNT], rows.rename_columns({"sent_at": "sent"}))


def test_a_column_with_a_reserved_name_is_refused(split_rows):
    with pytest.raises(ContractViolationError, match="column 'row_id' has a name that Updraft gives itself"):
        split_rows([ROW_COUNT], parcel_rows(n_rows=9).rename_columns({"weight_kg": "row_id"}))


@pytest.mark.parametrize("severity", ["warn", "quarantine", "stop"])
def test_a_rule_that_raises_stops_whatever_its_severity(split_rows, severity):
    wrong_type = {
        "type": "expect_column_values_to_be_between",
        "kwargs": {"column": "depot", "min_value": 0},
        "meta": {"severity": severity},
    }
    split = split_rows([wrong_type], parcel_rows(n_rows=9))
    assert split.stops == (
        "depot: expect_column_values_to_be_between: could not be run (TypeError): compare the column's type with what "
        "expectation 1 asks",
    )


def test_a_column_of_another_type_stops(split_rows):
    rows = parcel_rows(n_rows=9)
    of_type = {"type": "expect_column_values_to_be_of_type", "kwargs": {"column": "distance_km", "type_": "float64"}}
    assert not split_rows([of_type], rows).stops
    retyped = rows.set_column(
        rows.column_names.index("distance_km"), "distance_km", rows.column("distance_km").cast("int64", safe=False)
    )
    assert split_rows([of_type], retyped).stops == (
        "distance_km: expect_column_values_to_be_of_type: does not hold for the column as a whole; expectation 1 "
        "wants type_='float64'",
    )


def test_an_integer_beside_a_null_stays_an_integer(split_rows):
    """Pandas alone would make 2**53 + 1 and 2**53 the same float."""
    rows = changed(parcel_rows(n_rows=4), "parcel_id", {0: 2**53, 1: 2**53 + 1, 3: None})
    unique = {
        "type": "expect_column_values_to_be_unique",
        "kwargs": {"column": "parcel_id"},
        "meta": {"allow_null": True},
    }
    assert not plain_success(unique | {"meta": {}}, frame(rows))
    assert reasons_by_position(split_rows([unique], rows).table) == {3: ["parcel_id: key is missing"]}


def test_event_time_as_text_is_read_and_what_is_no_time_is_quarantined(split_rows):
    rows = parcel_rows(n_rows=4)
    text = ["2026-01-05T01:00:00", "2026-01-05 02:00:00+01:00", "yesterday", None]
    rows = rows.set_column(rows.column_names.index("sent_at"), "sent_at", [text])
    missing = ["sent_at: event time is missing"]
    assert reasons_by_position(split_rows([ROW_COUNT], rows).table) == {2: missing, 3: missing}


def test_event_time_that_is_a_number_is_refused(split_rows):
    rows = parcel_rows(n_rows=4)
    with pytest.raises(ContractViolationError, match="column 'sent_at' holds int64, not times"):
        split_rows([ROW_COUNT], rows.set_column(rows.column_names.index("sent_at"), "sent_at", [[1, 2, 3, 4]]))
