"""Each row is published, quarantined with all its reasons, or a duplicate; none is lost."""

from __future__ import annotations

import math
from collections import Counter
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.quality.split import split_partition
from include.quality.suite import load_suite
from tests.factories import START, declare_workflow, parcel_rows
from tests.quality.rows import NOT_NULL, ROW_COUNT, changed, reasons_by_position, with_positions


def rule(type_: str, *, meta: dict[str, Any] | None = None, **kwargs: Any) -> dict[str, Any]:
    return {"type": type_, "kwargs": kwargs, "meta": meta or {}}


def test_a_row_carries_all_its_reasons_sorted(split_rows):
    rows = changed(changed(parcel_rows(n_rows=9), "depot", {2: "moon", 4: "moon"}), "is_late", {4: None})
    in_set = rule(
        "expect_column_values_to_be_in_set",
        column="depot",
        value_set=["north", "south", "east"],
        meta={"reason": "our depots"},
    )
    split = split_rows([NOT_NULL, in_set], rows)
    moon, late = "depot: expect_column_values_to_be_in_set (our depots)", "is_late: expect_column_values_to_not_be_null"
    assert reasons_by_position(split.table) == {2: [moon], 4: [moon, late]}
    assert split.failed == (moon, late)
    assert not split.stops


@pytest.mark.parametrize(
    ("expectation", "bad"),
    [
        (
            rule("expect_column_pair_values_a_to_be_greater_than_b", column_A="weight_kg", column_B="distance_km"),
            [0, 2, 3],
        ),
        (rule("expect_column_pair_values_to_be_equal", column_A="weight_kg", column_B="distance_km"), [0, 1, 2]),
        (rule("expect_compound_columns_to_be_unique", column_list=["depot", "distance_km"]), [1, 3]),
        (rule("expect_select_column_values_to_be_unique_within_record", column_list=["weight_kg", "distance_km"]), [3]),
        (rule("expect_multicolumn_sum_to_equal", column_list=["weight_kg", "distance_km"], sum_total=30), [0, 2]),
        (rule("expect_column_values_to_be_unique", column="distance_km"), [1, 3]),
        (rule("expect_column_values_to_be_increasing", column="distance_km"), [1, 3]),
        (rule("expect_column_value_lengths_to_be_between", column="depot", max_value=4), [0, 2]),
        (rule("expect_column_values_to_not_match_regex", column="depot", regex="^n"), [0, 2]),
        (rule("expect_column_values_to_be_null", column="is_late"), [0, 1, 3]),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_each_kind_of_row_rule_splits(split_rows, expectation, bad):
    rows = parcel_rows(n_rows=4)
    for name, values in {
        "weight_kg": [10.0, 16.0, 20.0, 15.0],
        "distance_km": [22.0, 15.0, 40.0, 15.0],
        "depot": ["north", "east", "north", "east"],
        "is_late": [True, False, None, True],
    }.items():
        rows = changed(rows, name, dict(enumerate(values)))
    if expectation["type"] == "expect_multicolumn_sum_to_equal":
        rows = changed(rows, "weight_kg", {1: 15.0})
    reason_columns = reasons_by_position(split_rows([expectation], rows).table)
    assert sorted(reason_columns) == bad
    assert all(len(reasons) == 1 and expectation["type"] in reasons[0] for reasons in reason_columns.values())


def test_a_table_rule_stops(split_rows):
    split = split_rows(
        [
            rule("expect_table_row_count_to_be_between", min_value=10),
            rule("expect_column_mean_to_be_between", column="distance_km", max_value=0),
        ],
        parcel_rows(n_rows=9),
    )
    assert split.stops == (
        "expect_table_row_count_to_be_between: does not hold (observed 9); expectation 1 wants min_value=10",
        "distance_km: expect_column_mean_to_be_between: does not hold; expectation 2 wants max_value=0",
    )


def test_mostly_not_met_stops_and_mostly_met_quarantines(split_rows):
    rows = changed(parcel_rows(n_rows=10), "is_late", {1: None, 2: None})
    tolerant = rule("expect_column_values_to_not_be_null", column="is_late", mostly=0.8)
    strict = rule("expect_column_values_to_not_be_null", column="is_late", mostly=0.9)
    assert split_rows([tolerant], rows).count("quarantined") == 2
    assert split_rows([strict], rows).stops == (
        "is_late: expect_column_values_to_not_be_null: holds for 80.00% of 10 values, and 90.00% must pass",
    )


@pytest.mark.parametrize(
    ("severity", "stops", "quarantined"), [("warn", False, 0), ("quarantine", False, 1), ("stop", True, 1)]
)
def test_severity_overrides(split_rows, severity, stops, quarantined):
    rows = changed(parcel_rows(n_rows=10), "is_late", {1: None})
    split = split_rows([NOT_NULL | {"meta": {"severity": severity}}], rows)
    assert bool(split.stops) is stops
    assert split.count("quarantined") == quarantined
    assert split.failed == ("is_late: expect_column_values_to_not_be_null" + (" [warn]" if severity == "warn" else ""),)


def test_a_table_rule_may_only_warn(split_rows):
    split = split_rows([rule("expect_table_row_count_to_be_between", min_value=99, meta={"severity": "warn"})])
    assert split.stops == ()
    assert split.failed == ("expect_table_row_count_to_be_between [warn]",)


def test_the_row_known_last_is_kept_and_among_equals_the_first(split_rows):
    rows = parcel_rows(n_rows=6)
    rows = changed(rows, "parcel_id", {0: 1, 1: 1, 2: 1, 3: 2, 4: 2, 5: 3})
    rows = changed(rows, "recorded_at", {i: START + timedelta(hours=h) for i, h in enumerate([5, 7, 6, 9, 9, 1])})
    assert split_rows([ROW_COUNT], rows).table.column("outcome").to_pylist() == [
        "duplicate", "published", "duplicate", "published", "duplicate", "published"
    ]  # fmt: skip


def test_without_a_key_only_equal_rows_are_duplicates(split_rows):
    rows = parcel_rows(n_rows=5)
    rows = pa.concat_tables([rows, rows.slice(2, 1), changed(rows.slice(3, 1), "depot", {0: "moon"})])
    split = split_rows([ROW_COUNT], rows, key=())
    assert split.table.column("outcome").to_pylist() == ["published"] * 5 + ["duplicate", "published"]


KINDS = (
    "null_label", "negative_distance", "unknown_depot", "infinite_weight", "null_key", "null_event_time",
    "null_known_time",
    "heavier_than_far", "copy", "older_twin",
)  # fmt: skip
SUITE = {
    "name": "injected",
    "expectations": [
        ROW_COUNT,
        NOT_NULL,
        rule("expect_column_values_to_be_between", column="distance_km", min_value=0),
        rule("expect_column_values_to_be_in_set", column="depot", value_set=["north", "south", "east"]),
        rule(
            "expect_column_pair_values_a_to_be_greater_than_b",
            column_A="distance_km",
            column_B="weight_kg",
            or_equal=True,
        ),
    ],
}
REASONS = {
    "null_label": "is_late: expect_column_values_to_not_be_null",
    "negative_distance": "distance_km: expect_column_values_to_be_between",
    "unknown_depot": "depot: expect_column_values_to_be_in_set",
    "infinite_weight": "weight_kg: value is infinite",
    "null_key": "parcel_id: key is missing",
    "null_event_time": "sent_at: event time is missing",
    "null_known_time": "recorded_at: known time is missing",
    "heavier_than_far": "distance_km, weight_kg: expect_column_pair_values_a_to_be_greater_than_b",
}
CHANGES = {
    "null_label": ("is_late", None),
    "negative_distance": ("distance_km", -1.0),
    "unknown_depot": ("depot", "moon"),
    "infinite_weight": ("weight_kg", math.inf),
    "null_key": ("parcel_id", None),
    "null_event_time": ("sent_at", None),
    "null_known_time": ("recorded_at", None),
    "heavier_than_far": ("weight_kg", 1e6),
}


def inject(rows: list[dict[str, Any]], *, share: float, seed: int) -> list[dict[str, Any]]:
    """Spoil a share of rows, each in one to three ways."""
    rng = np.random.default_rng(seed)
    spoiled: list[dict[str, Any]] = []
    for clean in rows:
        row = dict(clean) | {"distance_km": 50.0, "weight_kg": 5.0}
        kinds = rng.choice(KINDS, size=rng.integers(1, 4), replace=False) if rng.random() < share else []
        for kind in kinds:
            if kind in CHANGES:
                column, value = CHANGES[kind]
                row[column] = value
            elif row["recorded_at"] is not None:
                age = timedelta(minutes=1 if kind == "older_twin" else 0)
                spoiled.append(row | {"recorded_at": row["recorded_at"] - age})
        spoiled.append(row)
    return spoiled


def reasons_of(row: dict[str, Any]) -> set[str]:
    """The suite again, in plain Python."""
    broken = {
        "null_label": row["is_late"] is None,
        "negative_distance": row["distance_km"] < 0,
        "unknown_depot": row["depot"] == "moon",
        "infinite_weight": math.isinf(row["weight_kg"]),
        "null_key": row["parcel_id"] is None,
        "null_event_time": row["sent_at"] is None,
        "null_known_time": row["recorded_at"] is None,
        "heavier_than_far": row["distance_km"] < row["weight_kg"],
    }
    return {REASONS[kind] for kind, is_broken in broken.items() if is_broken}


def expected_outcomes(rows: list[dict[str, Any]]) -> list[str]:
    """Which rows win: of one parcel the one known last, among equals the first. In plain Python."""
    best: dict[Any, int] = {}
    for i, row in enumerate(rows):
        key = row["parcel_id"] if row["parcel_id"] is not None else tuple(row.values())
        if key not in best or moment_of(row) > moment_of(rows[best[key]]):
            best[key] = i
    kept = set(best.values())
    return [
        "duplicate" if i not in kept else "quarantined" if reasons_of(row) else "published"
        for i, row in enumerate(rows)
    ]


def moment_of(row: dict[str, Any]) -> float:
    return row["recorded_at"].timestamp() if row["recorded_at"] else -math.inf


@settings(max_examples=15, deadline=None)
@given(share=st.floats(0, 0.95), seed=st.integers(0, 2**32 - 1), n_rows=st.integers(20, 120))
def test_injected_faults_are_found_exactly_and_no_row_is_lost(share, seed, n_rows):
    clean = parcel_rows(n_rows=n_rows)
    rows = inject(clean.to_pylist(), share=share, seed=seed)
    raw = with_positions(pa.Table.from_pylist(rows, schema=clean.schema))
    outcomes = expected_outcomes(rows)
    with TemporaryDirectory() as folder:
        workflow = declare_workflow(Path(folder) / "w", suite=SUITE)
        split = split_partition(raw, suite=load_suite(workflow.expectations_path), source=workflow.source)
    assert split.table.column("outcome").to_pylist() == outcomes
    expected = {i: sorted(reasons_of(row)) for i, row in enumerate(rows) if outcomes[i] == "quarantined"}
    assert reasons_by_position(split.table) == expected
    assert Counter(outcomes) == {name: split.count(name) for name in set(outcomes)}
    assert sum(split.count(name) for name in ("published", "quarantined", "duplicate")) == len(rows)


def test_a_restatement_is_kept_beside_what_it_corrects(split_rows):
    """Of one key: two versions, known an hour apart, and a copy of the second."""
    rows = parcel_rows(n_rows=5)
    restated = rows.set_column(2, "recorded_at", pc.add(rows["recorded_at"], pa.scalar(timedelta(hours=1))))
    everything = pa.concat_tables([rows, restated, restated])
    split = split_rows([ROW_COUNT], everything, restatements="all")
    assert (split.count("published"), split.count("duplicate")) == (10, 5)
    assert split_rows([ROW_COUNT], everything).count("duplicate") == 10
