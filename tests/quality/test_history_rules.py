"""
Rules that look beyond one partition: volume, distribution, freshness. Too little history is said, and never passed
over.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta

import numpy as np
import pyarrow as pa
import pytest

from include.errors import ContractViolationError, SuiteError
from include.lake.store import Lake
from include.quality.distribution import population_stability_index
from include.quality.suite import load_suite
from include.workflow import Quality
from tests.factories import START, parcel_rows
from tests.quality.partitions import day_rows, key_of, land, publish, publish_days, validate
from tests.quality.rows import NOT_NULL, ROW_COUNT, plain_success, replace_column


def rule(type_, *, severity=None, **kwargs):
    return {"type": type_, "kwargs": kwargs, "meta": {"severity": severity} if severity else {}}


def volume(**kwargs):
    return rule("expect_partition_row_count_to_be_within_history", **({"min_ratio": 0.5, "max_ratio": 2} | kwargs))


def distribution(column, **kwargs):
    return rule("expect_column_distribution_to_match_history", column=column, **kwargs)


def fresh(**kwargs):
    return rule("expect_partition_to_be_fresh", **kwargs)


def judge(lake, folder, rows, expectation, *, day, **changes):
    return validate(lake, folder, land(lake, rows, key=key_of(day)), expectations=[NOT_NULL, expectation], **changes)


def test_a_tenth_of_the_median_is_refused(lake, tmp_path):
    publish_days(lake, tmp_path, 3)
    few = day_rows(3, n_rows=4)
    assert plain_success(NOT_NULL, few.to_pandas())
    with pytest.raises(
        ContractViolationError, match=r"4 rows are 0\.10 of the median 40 of 3 published partitions before it"
    ):
        judge(lake, tmp_path, few, volume(), day=3)
    with pytest.raises(ContractViolationError, match=r"100 rows are 2\.50 of the median"):
        judge(lake, tmp_path, day_rows(3, n_rows=100), volume(), day=3)
    assert judge(lake, tmp_path, day_rows(3, n_rows=20), volume(), day=3).failed == ()


def test_too_little_history_is_said(lake, tmp_path, caplog):
    """The day of four rows is published: nothing can be said against it yet. It is not silently a success."""
    publish_days(lake, tmp_path, 2)
    with caplog.at_level(logging.WARNING):
        report = judge(lake, tmp_path, day_rows(2, n_rows=4), volume(), day=2)
    said = "not judged: 2 published partitions before it, 2026-01-05 to 2026-01-06; 3 are needed"
    assert report.notes == (f"expect_partition_row_count_to_be_within_history: {said}",)
    assert said in caplog.text
    assert report.failed == ()


@pytest.mark.claim("validation")
def test_a_weekday_is_held_against_its_own(lake, tmp_path):
    """Mondays have 40 parcels, all other days 200: a Monday of 40 is half-empty only beside the others."""
    for day in range(21):
        publish(lake, tmp_path, day_rows(day, n_rows=40 if day % 7 == 0 else 200), key=key_of(day))
    monday = day_rows(21, n_rows=40)
    assert not judge(lake, tmp_path, monday, volume(by_weekday=True), day=21).notes
    with pytest.raises(ContractViolationError, match=r"40 rows are 0\.20 of the median 200 of 21 published"):
        judge(lake, tmp_path, monday, volume(), day=21)
    with pytest.raises(ContractViolationError, match=r"200 rows are 5\.00 of the median 40 of 3 published"):
        judge(lake, tmp_path, day_rows(21, n_rows=200), volume(by_weekday=True), day=21)


@pytest.mark.claim("validation")
def test_only_what_lies_before_counts(lake, tmp_path):
    """A backfill of a day judges it as its own day did, though later days are there by now, and other ones."""
    publish_days(lake, tmp_path, 3)
    odd = day_rows(3, n_rows=10)
    said = r"10 rows are 0\.25 of the median 40 of 3 published partitions before it, 2026-01-05 to 2026-01-07"
    with pytest.raises(ContractViolationError, match=said):
        judge(lake, tmp_path, odd, volume(), day=3)
    for day in (4, 5, 6, 7):
        publish(lake, tmp_path, day_rows(day, n_rows=10), key=key_of(day))
    with pytest.raises(ContractViolationError, match=said):
        judge(lake, tmp_path, odd, volume(), day=3)


@pytest.mark.claim("validation")
def test_the_declared_history_bounds_how_far_back(lake, tmp_path):
    publish_days(lake, tmp_path, 5)
    report = judge(lake, tmp_path, day_rows(5, n_rows=4), volume(), day=5, quality=Quality(history="2 days"))
    assert "2 published partitions before it, 2026-01-08 to 2026-01-09; 3 are needed" in report.notes[0]


@pytest.fixture(scope="module")
def months(tmp_path_factory):
    """A lake in which five days of 300 parcels are published."""
    folder = tmp_path_factory.mktemp("months")
    lake = Lake(uri=str(folder / "lake"), storage_options={})
    for day in range(5):
        publish(lake, folder, day_rows(day, n_rows=300), key=key_of(day))
    return lake


SHIFTED = {
    "distance_km": lambda rows: replace_column(rows, "distance_km", (rows["distance_km"].to_numpy() * 3).tolist()),
    "weight_kg": lambda rows: replace_column(
        rows, "weight_kg", [None, *rows["weight_kg"].to_pylist()[1:150], *[None] * 150]
    ),
    "depot": lambda rows: replace_column(rows, "depot", ["east"] * 200 + ["north"] * 100),
    "is_late": lambda rows: replace_column(rows, "is_late", [True] * 250 + [False] * 50),
}


@pytest.mark.parametrize("column", SHIFTED)
def test_a_shifted_column_is_refused_and_its_like_is_not(months, tmp_path, column):
    usual = day_rows(5, n_rows=300)
    assert judge(months, tmp_path, usual, distribution(column), day=5).failed == ()
    with pytest.raises(
        ContractViolationError, match=rf"{column}: expect_column_distribution_to_match_history: does not hold \(PSI"
    ):
        judge(months, tmp_path, SHIFTED[column](usual), distribution(column), day=5)


def test_a_shift_may_only_warn_and_is_seen(months, tmp_path):
    shifted = SHIFTED["distance_km"](day_rows(5, n_rows=300))
    report = judge(months, tmp_path, shifted, distribution("distance_km") | {"meta": {"severity": "warn"}}, day=5)
    assert report.failed == ("distance_km: expect_column_distribution_to_match_history [warn]",)
    assert report.rows_published == 300


def test_a_refused_row_does_not_count_as_a_shift(months, tmp_path):
    """
    60 rows of an unknown depot are quarantined: what is left is as ever. As the control, they are a shift where they
    only warn.
    """
    rows = day_rows(5, n_rows=300)
    rows = replace_column(rows, "depot", ["moon"] * 60 + rows["depot"].to_pylist()[60:])
    known = rule("expect_column_values_to_be_in_set", column="depot", value_set=["north", "south", "east"])
    landed = land(months, rows, key=key_of(5))
    report = validate(months, tmp_path, landed, expectations=[known, distribution("depot")])
    assert (report.rows_quarantined, len(report.failed)) == (60, 1)
    with pytest.raises(ContractViolationError, match="depot: expect_column_distribution_to_match_history"):
        validate(months, tmp_path, landed, expectations=[known | {"meta": {"severity": "warn"}}, distribution("depot")])


def test_a_small_partition_and_a_new_column_are_not_judged(months, tmp_path):
    few = judge(months, tmp_path, day_rows(5, n_rows=60), distribution("depot"), day=5)
    assert few.notes == (
        "depot: expect_column_distribution_to_match_history: not judged: 60 rows beside 1500 of 5 partitions are too "
        "few",
    )
    rows = day_rows(6, n_rows=300).append_column("fragile", pa.array([True] * 300))
    new = judge(months, tmp_path, rows, distribution("fragile"), day=6)
    assert "not judged: 300 rows beside 0 of 0 partitions are too few" in new.notes[-1]


def test_times_have_no_distribution_to_compare(months, tmp_path):
    with pytest.raises(
        ContractViolationError, match=r"could not be judged: column 'sent_at' holds timestamp\[us, tz=UTC\]"
    ):
        judge(
            months, tmp_path, day_rows(5, n_rows=300), distribution("sent_at") | {"meta": {"severity": "warn"}}, day=5
        )


def test_chance_alone_stops_no_day(months, tmp_path):
    """Of 100 rows of the same source, the PSI passes a bound of 0.02 by chance; the rule knows how far chance goes."""
    tight = [distribution(name, max_psi=0.001) for name in ("depot", "distance_km", "weight_kg", "is_late")]
    landed = land(months, parcel_rows(day=START + timedelta(days=5), n_rows=120, seed=9), key=key_of(5))
    assert validate(months, tmp_path, landed, expectations=[NOT_NULL, *tight]).failed == ()


@pytest.mark.parametrize(("shift", "expected"), [(0.0, 0.0), (0.5, 0.25), (1.0, 1.0)])
def test_psi_of_two_normals_matches_the_closed_form(shift, expected):
    """PSI of two unit normals a distance d apart tends to d**2 as bins shrink."""
    rng = np.random.default_rng(0)
    edges = np.linspace(-6, 6, 200)
    reference, current = (np.histogram(rng.normal(mean, size=400_000), bins=edges)[0] for mean in (0, shift))
    assert population_stability_index(reference, current) == pytest.approx(expected, rel=0.1, abs=0.01)


def test_a_partition_that_breaks_off_is_stale(lake, tmp_path):
    rows = parcel_rows(n_rows=400)
    morning = rows.filter(pa.array([moment.hour < 12 for moment in rows["sent_at"].to_pylist()]))
    assert judge(lake, tmp_path, rows, fresh(max_gap="2 hours"), day=0).failed == ()
    with pytest.raises(ContractViolationError, match=r"the newest row lies 72\d minutes before the partition's end"):
        judge(lake, tmp_path, morning, fresh(max_gap="2 hours"), day=0)


def test_rows_that_were_known_late_are_stale(lake, tmp_path):
    rows = parcel_rows(n_rows=40)
    late = [moment + timedelta(hours=1 if i < 36 else 30) for i, moment in enumerate(rows["sent_at"].to_pylist())]
    rows = replace_column(rows, "recorded_at", late)
    assert judge(lake, tmp_path, rows, fresh(max_known_lag="1 hour", share=0.9), day=0).failed == ()
    with pytest.raises(ContractViolationError, match="95% of the rows were known within 30 hours"):
        judge(lake, tmp_path, rows, fresh(max_known_lag="1 hour"), day=0)


@pytest.mark.parametrize(
    ("expectation", "message"),
    [
        (
            volume(min_ratio=None, max_ratio=None),
            "states no bound, so everything passes: give 'min_ratio', 'max_ratio' or both",
        ),
        (volume(min_ration=0.5), "the argument 'min_ration' is unknown: did you mean 'min_ratio'?"),
        (volume(min_ratio=3), "the argument 'min_ratio' is wrong"),
        (
            volume() | {"meta": {"severity": "quarantine"}},
            "judges the table as a whole, so it has no rows to quarantine",
        ),
        (fresh(), "states no bound"),
        (fresh(max_gap="soon"), "the argument 'max_gap' is wrong (not a duration"),
        (distribution("depot", max_psi=0), "the argument 'max_psi' is wrong"),
        (rule("expect_partition_to_be_frehs", max_gap="1 hour"), "did you mean 'expect_partition_to_be_fresh'?"),
    ],
)
def test_a_mistake_in_such_a_rule_is_named(tmp_path, expectation, message):
    path = tmp_path / "expectations.json"
    path.write_text(json.dumps({"expectations": [ROW_COUNT, expectation]}))
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert message in str(caught.value)
