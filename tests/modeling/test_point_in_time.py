"""
A training as of a past date sees what was known then: random histories of late and corrected rows, beside an
independent filter.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from include.errors import HistoryTooShortError
from include.lake.store import Lake
from include.modeling.fitting import Chosen, fit_chosen
from include.modeling.snapshot import pin_snapshot, read_snapshot
from tests.factories import days, parcel_rows
from tests.modeling.published import AS_OF, N_DAYS, declare_short, publish, publish_days, validated
from tests.modeling.test_snapshot import _monthly, commit_month

ZONE = pa.timestamp("us", tz="UTC")
MONTH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Line:
    """One version of a row: when it happened, when this version became known, what it says."""

    row: int
    event: datetime
    known: datetime
    says: int


def hours(first: int, last: int) -> st.SearchStrategy[timedelta]:
    return st.integers(first, last).map(lambda n: timedelta(hours=n))


@st.composite
def histories(draw: st.DrawFn) -> list[Line]:
    """
    Forty rows or more between the 3rd and the 16th, known up to a day before or six after they happened, corrected up
    to three times.
    """
    lines = []
    for row in range(draw(st.integers(40, 60))):
        event = MONTH + draw(hours(48, 15 * 24))
        known = event + draw(hours(-24, 6 * 24))
        for says in range(draw(st.integers(1, 4))):
            lines.append(Line(row, event, known, says))
            known += draw(hours(1, 3 * 24))
    return draw(st.permutations(lines))


def table_of(lines: list[Line]) -> pa.Table:
    return pa.table(
        {
            "row_id": pa.array([str(line.row) for line in lines], pa.string()),
            "event_time": pa.array([line.event for line in lines], ZONE),
            "known_time": pa.array([line.known for line in lines], ZONE),
            "says": pa.array([line.says for line in lines], pa.int64()),
            "source_position": pa.array(range(len(lines)), pa.int64()),
        }
    )


def known_then(lines: list[Line], as_of: datetime, *, since: datetime) -> dict[str, int]:
    """
    The independent filter: what each row said at a moment, told by going through its versions in the order in which
    they came.
    """
    said: dict[str, int] = {}
    for line in sorted(lines, key=lambda line: line.known):
        if line.known <= as_of and since <= line.event < as_of:
            said[str(line.row)] = line.says
    return said


@pytest.mark.claim("point-in-time")
@settings(max_examples=30, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(histories(), st.integers(9 * 24, 14 * 24).map(lambda n: MONTH + timedelta(hours=n)))
def test_a_training_as_of_a_past_date_is_the_one_of_that_date(lines: list[Line], as_of: datetime) -> None:
    """Pinned today, with all that came since, it has the rows that it had then, when nothing of that was there."""
    with tempfile.TemporaryDirectory() as folder:
        workflow, lakes = _monthly(Path(folder)), [Lake(uri=f"{folder}/{name}") for name in ("today", "then")]
        was_there = [line for line in lines if line.known <= as_of]
        commit_month(workflow, lakes[0], table_of(lines))
        commit_month(workflow, lakes[1], table_of(was_there))
        try:
            today, then = (pin_snapshot(workflow, as_of, lake=lake) for lake in lakes)
        except HistoryTooShortError:
            assume(False)
        parts = [read_snapshot(workflow, today, lake=lakes[0], part=part) for part in ("fit", "test")]
        rows = pa.concat_tables(parts)
        since = as_of - workflow.training.test - workflow.training.window
        assert dict(zip(rows["row_id"].to_pylist(), rows["says"].to_pylist(), strict=True)) == known_then(
            lines, as_of, since=since
        )
        assert len(set(rows["row_id"].to_pylist())) == rows.num_rows
        assert max(rows["known_time"].to_pylist()) <= as_of
        assert [part.drop_columns("source_position") for part in parts] == [
            read_snapshot(workflow, then, lake=lakes[1], part=part).drop_columns("source_position")
            for part in ("fit", "test")
        ]


def test_the_independent_filter_would_notice_a_row_of_the_future() -> None:
    """The control: what a training that ignores the known time would see is not what was known."""
    lines = [
        Line(1, MONTH, MONTH, 0),
        Line(1, MONTH, MONTH + timedelta(days=5), 1),
        Line(2, MONTH, MONTH + timedelta(days=9), 0),
    ]
    as_of = MONTH + timedelta(days=3)
    assert known_then(lines, as_of, since=MONTH) == {"1": 0}
    assert {str(line.row): line.says for line in lines if line.event < as_of} != known_then(lines, as_of, since=MONTH)


@pytest.mark.claim("point-in-time")
def test_the_model_as_of_a_past_date_is_the_one_of_that_date_to_the_byte(tmp_path: Path) -> None:
    """Corrections and late rows that came since change no byte of it; a training as of today does see them."""
    workflow = declare_short(tmp_path / "parcels")
    files = []
    for name, later in (("then", False), ("today", True)):
        lake = Lake(uri=str(tmp_path / name))
        publish_days(workflow, lake, n_rows=80)
        if later:
            for day in days(N_DAYS):
                publish(workflow, lake, day, with_corrections(day))
            publish_days(workflow, lake, [days(N_DAYS + 1)[-1]])
        files.append(model_of(workflow, lake, AS_OF, tmp_path / f"{name}-model"))
        if later:
            assert model_of(workflow, lake, AS_OF + timedelta(days=1), tmp_path / "control") != files[0]
    assert files[0] == files[1]


def with_corrections(day: datetime) -> pa.Table:
    """A day's rows, and of each the same row with its label turned, known after the date of the training."""
    rows = validated(parcel_rows(day=day, n_rows=80))
    late = rows.set_column(
        rows.column_names.index("known_time"), "known_time", pa.array([AS_OF + timedelta(hours=1)] * 80, ZONE)
    )
    turned = pa.array([not value for value in rows["is_late"].to_pylist()])
    return pa.concat_tables([rows, late.set_column(rows.column_names.index("is_late"), "is_late", turned)])


def model_of(workflow, lake: Lake, as_of: datetime, folder: Path) -> dict[str, str]:  # type: ignore[no-untyped-def]
    """Digests of the package's files."""
    snapshot = pin_snapshot(workflow, as_of, lake=lake)
    chosen = Chosen(family="linear", params={"C": 1.0, "min_frequency": 20}, random_state=0)
    return dict(fit_chosen(workflow, snapshot, chosen=chosen, lake=lake, folder=folder, training_id="t").files)
