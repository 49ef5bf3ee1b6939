"""The rows of a training: point in time, pinned, and only what was published."""

from __future__ import annotations

import tempfile
from dataclasses import asdict, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from include.errors import ConcurrentWriteError, CorruptDataError, HistoryTooShortError, TrainingError
from include.lake.fencing import new_token
from include.lake.ledger import append_run
from include.lake.partitions import replace_partition
from include.lake.store import Lake
from include.modeling.snapshot import Snapshot, pin_snapshot, read_snapshot
from include.workflow import Partition, Training, Workflow
from tests.factories import START, days, declare_workflow, parcel_rows
from tests.modeling.conftest import Trained
from tests.modeling.published import (
    AS_OF,
    N_DAYS,
    declare_short,
    publish,
    publish_days,
    run_record,
    validated,
    write_rows,
)


def test_the_parts_are_in_the_order_of_time(workflow: Workflow, lake: Lake) -> None:
    """
    Three days to train on, one to choose on, two to judge on; what happened after 23:00 of the last day is not yet
    known.
    """
    publish_days(workflow, lake)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    assert (snapshot.n_train, snapshot.n_validation) == (3 * 60, 60)
    assert snapshot.n_test + snapshot.n_not_yet_known == 2 * 60
    parts = [
        read_snapshot(workflow, snapshot, lake=lake, part=part)["event_time"]
        for part in ("train", "validation", "test")
    ]
    assert [len(part) for part in parts] == [snapshot.n_train, snapshot.n_validation, snapshot.n_test]
    bounds = [snapshot.train_start, snapshot.validation_start, snapshot.test_start, snapshot.test_end]
    for part, start, end in zip(parts, bounds, bounds[1:], strict=False):
        assert (
            datetime.fromisoformat(start)
            <= min(part.to_pylist())
            <= max(part.to_pylist())
            < datetime.fromisoformat(end)
        )
    assert read_snapshot(workflow, snapshot, lake=lake, part="fit").num_rows == 4 * 60
    assert Snapshot(**{**asdict(snapshot), "missing_partitions": []}) == snapshot


def _moments(first_day: int, last_day: int) -> st.SearchStrategy[datetime]:
    bounds = datetime(2026, 1, first_day), datetime(2026, 1, last_day)
    return st.datetimes(*bounds).map(lambda moment: moment.replace(tzinfo=UTC))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    st.lists(st.tuples(_moments(3, 15), st.timedeltas(timedelta(-1), timedelta(days=6))), min_size=60, max_size=90),
    _moments(9, 14),
)
def test_no_row_from_the_future_gets_in(rows: list[tuple[datetime, timedelta]], as_of: datetime) -> None:
    """And none that happened and was known in time is left out."""
    with tempfile.TemporaryDirectory() as folder:
        workflow, lake = _monthly(Path(folder)), Lake(uri=f"{folder}/lake")
        commit_month(workflow, lake, _rows([(event, event + delay) for event, delay in rows]))
        start = as_of - workflow.training.test - workflow.training.window
        expected = sorted(event for event, delay in rows if start <= event < as_of and event + delay <= as_of)
        try:
            snapshot = pin_snapshot(workflow, as_of, lake=lake)
        except HistoryTooShortError:
            assume(False)
        table = pa.concat_tables([read_snapshot(workflow, snapshot, lake=lake, part=part) for part in ("fit", "test")])
        assert sorted(table["event_time"].to_pylist()) == expected
        assert all(known <= as_of for known in table["known_time"].to_pylist())
        assert all(event < as_of for event in table["event_time"].to_pylist())


def _monthly(folder: Path) -> Workflow:
    training = Training(every="month", window="4 days", validation="1 day", test="2 days", minimum_rows=10)
    return declare_workflow(
        folder / "parcels", training=training, partition=Partition(every="month", start=START.date())
    )


def commit_month(workflow: Workflow, lake: Lake, rows: pa.Table) -> None:
    """One commit holds all: twenty-five examples stay quick."""
    append_run(
        lake, run_record(workflow, replace_partition(lake, "parcels/validated", "2026-01", rows, token=new_token()))
    )


def _rows(times: list[tuple[datetime, datetime]]) -> pa.Table:
    zone = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "row_id": pa.array([str(i) for i in range(len(times))], pa.string()),
            "event_time": pa.array([event for event, _ in times], zone),
            "known_time": pa.array([known for _, known in times], zone),
            "source_position": pa.array(range(len(times)), pa.int64()),
        }
    )


def test_a_snapshot_does_not_move_when_the_table_does(workflow: Workflow, lake: Lake) -> None:
    publish_days(workflow, lake)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    before = read_snapshot(workflow, snapshot, lake=lake, part="fit")
    publish(workflow, lake, START, validated(parcel_rows(day=START, n_rows=60, seed=1)))
    assert read_snapshot(workflow, snapshot, lake=lake, part="fit").equals(before)
    assert pin_snapshot(workflow, AS_OF, lake=lake).snapshot_id != snapshot.snapshot_id


def test_pinning_twice_gives_the_same_snapshot(trained: Trained) -> None:
    assert pin_snapshot(trained.workflow, AS_OF, lake=trained.lake) == trained.snapshot


def test_rows_that_differ_from_the_digest_are_refused(trained: Trained) -> None:
    snapshot = replace(trained.snapshot, digest="0" * 64)
    with pytest.raises(CorruptDataError, match="differ from the pinned digest"):
        read_snapshot(trained.workflow, snapshot, lake=trained.lake, part="test")


def test_missing_partitions_are_listed_and_empty_ones_are_not(workflow: Workflow, lake: Lake) -> None:
    """A day that was published without a row is known to be empty; one that was never published is not."""
    publish_days(workflow, lake, [day for day in days(6) if day.day not in (6, 7)])
    publish(workflow, lake, datetime(2026, 1, 7, tzinfo=UTC), validated(parcel_rows(n_rows=60).slice(0, 0)))
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    assert snapshot.missing_partitions == ("2026-01-06",)
    assert read_snapshot(workflow, snapshot, lake=lake, part="fit").num_rows == 2 * 60


def test_a_partition_that_is_being_published_is_waited_for(workflow: Workflow, lake: Lake) -> None:
    """
    Rows without their line, and rows that replaced those of the line. Retrying after the line has come
    is the control.
    """
    publish_days(workflow, lake, days(5))
    first = write_rows(workflow, lake, days(6)[-1], validated(parcel_rows(day=days(6)[-1], n_rows=60)))
    with pytest.raises(
        ConcurrentWriteError,
        match=r"being published \(partition 2026-01-10 is not what the ledger's last line says\): retry",
    ):
        pin_snapshot(workflow, AS_OF, lake=lake)
    append_run(lake, run_record(workflow, first))
    pin_snapshot(workflow, AS_OF, lake=lake)
    second = write_rows(workflow, lake, START, validated(parcel_rows(day=START, n_rows=60, seed=9)))
    with pytest.raises(ConcurrentWriteError, match="partition 2026-01-05 is not what"):
        pin_snapshot(workflow, AS_OF, lake=lake)
    append_run(lake, run_record(workflow, second))
    assert pin_snapshot(workflow, AS_OF, lake=lake).n_train == 3 * 60


def test_a_line_whose_rows_are_not_there_is_waited_for(workflow: Workflow, lake: Lake) -> None:
    publish_days(workflow, lake, days(5))
    commit = write_rows(workflow, lake, START, validated(parcel_rows(day=START, n_rows=60)))
    append_run(lake, run_record(workflow, replace(commit, partition_key="2026-01-10")))
    with pytest.raises(ConcurrentWriteError, match="holds no partition '2026-01-10'"):
        pin_snapshot(workflow, AS_OF, lake=lake)


def test_too_little_history_is_told_with_what_is_there(workflow: Workflow, lake: Lake) -> None:
    with pytest.raises(
        HistoryTooShortError, match=r"nothing of 'parcels' has been published yet: run or backfill parcels.ingest first"
    ):
        pin_snapshot(workflow, AS_OF, lake=lake)
    publish_days(workflow, lake, days(6)[3:])
    with pytest.raises(
        HistoryTooShortError,
        match=r"of the 4 partitions to fit on .window 4 days.* 1 are published, at least half are needed",
    ):
        pin_snapshot(workflow, AS_OF, lake=lake)
    publish_days(workflow, lake, days(6)[2:3])
    assert len(pin_snapshot(workflow, AS_OF, lake=lake).missing_partitions) == 2


def test_too_few_rows_are_told(workflow: Workflow, lake: Lake) -> None:
    publish_days(workflow, lake, n_rows=5)
    with pytest.raises(
        HistoryTooShortError,
        match=r"20 rows to fit on, training.minimum_rows=100 are needed \(\d+ more were not yet known\)",
    ):
        pin_snapshot(workflow, AS_OF, lake=lake)


def test_a_part_without_rows_is_told(workflow: Workflow, lake: Lake) -> None:
    publish_days(workflow, lake, days(4))
    with pytest.raises(HistoryTooShortError, match="the test part has no rows"):
        pin_snapshot(workflow, AS_OF, lake=lake)


def test_a_moment_needs_a_time_zone(workflow: Workflow, lake: Lake) -> None:
    with pytest.raises(TrainingError, match="as_of=2026-01-11T00:00:00 has no time zone: give it in UTC"):
        pin_snapshot(workflow, AS_OF.replace(tzinfo=None), lake=lake)


def test_of_several_versions_of_a_row_the_one_known_last_is_trained_on(tmp_path: Path, lake: Lake) -> None:
    """
    Labels are restated two days after the event: those of the last day are not yet known to be, as of
    the end of it.
    """
    workflow = declare_short(tmp_path / "restated")
    first: dict[int, bool] = {}
    for day in days(N_DAYS):
        rows = validated(parcel_rows(day=day, n_rows=60))
        first |= dict(zip(rows["parcel_id"].to_pylist(), rows["is_late"].to_pylist(), strict=True))
        later = pa.array([day + timedelta(days=2)] * rows.num_rows, pa.timestamp("us", tz="UTC"))
        restated = rows.set_column(rows.column_names.index("known_time"), "known_time", later)
        restated = restated.set_column(rows.column_names.index("is_late"), "is_late", pc.invert(rows["is_late"]))
        publish(workflow, lake, day, pa.concat_tables([rows, restated]))
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    for part in ("fit", "test"):
        table = read_snapshot(workflow, snapshot, lake=lake, part=part)
        assert len(set(table["parcel_id"].to_pylist())) == table.num_rows > 0
        for row in table.to_pylist():
            is_restated = row["event_time"] < AS_OF - timedelta(days=1)
            assert row["is_late"] == (first[row["parcel_id"]] != is_restated)
