"""A partition that is not there past its time is one incident; it ends when the partition arrives."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.alerts.missing import late_partitions, record_missing
from include.lake.incidents import open_incident, open_incidents, read_incidents
from include.lake.ledger import append_run
from include.lake.records import RunRecord
from include.lake.store import Lake
from include.workflow import Partition, Workflow
from include.workflow.partitions import Every

FIRST = RunRecord(
    workflow="parcels",
    partition_key="2026-01-06",
    run_id="r",
    try_id="t",
    rows_in=1,
    rows_published=1,
    rows_quarantined=0,
    rows_duplicate=0,
    table_version=1,
    quarantine_version=1,
    raw_version=1,
    digest="d",
    recorded_at=datetime(2026, 1, 7, 0, 5, tzinfo=UTC),
)


def at(day: int, hour: int = 0, minute: int = 0) -> datetime:
    return datetime(2026, 1, day, hour, minute, tzinfo=UTC)


def late(workflow: Workflow, now: datetime, since: datetime | None = None) -> list[str]:
    return [window.key for window in late_partitions(workflow, since=since or at(1), now=now)]


def test_a_day_is_late_an_hour_after_it_is_due(workflow: Workflow) -> None:
    assert late(workflow, at(8, 2, 59)) == ["2026-01-05", "2026-01-06"]
    assert late(workflow, at(8, 3, 0)) == ["2026-01-05", "2026-01-06", "2026-01-07"]


def test_the_declared_delay_is_waited_for(workflow: Workflow) -> None:
    slow = workflow.model_copy(
        update={"partition": Partition(every="day", start=workflow.partition.start, delay="6 hours")}
    )
    assert late(slow, at(8, 6, 59), since=at(8)) == []
    assert late(slow, at(8, 7, 0), since=at(8)) == ["2026-01-07"]


def test_an_hour_is_late_a_quarter_after_it_is_due(workflow: Workflow) -> None:
    hourly = workflow.model_copy(update={"partition": Partition(every="hour", start=workflow.partition.start)})
    assert late(hourly, at(8, 9, 14))[-1] == "2026-01-08T05"
    assert late(hourly, at(8, 9, 15))[-1] == "2026-01-08T06"


def test_nobody_waited_for_what_was_due_before(workflow: Workflow) -> None:
    assert late(workflow, at(20), since=at(18, 12)) == ["2026-01-18"]


def test_a_workflow_that_never_ran_lacks_nothing(lake: Lake, workflow: Workflow) -> None:
    assert record_missing(lake, workflow, now=at(20)) == []


def test_a_missing_partition_is_one_incident_until_it_arrives(lake: Lake, workflow: Workflow) -> None:
    append_run(lake, FIRST)
    assert record_missing(lake, workflow, now=at(8, 2, 30)) == []
    assert len(record_missing(lake, workflow, now=at(8, 3, 30))) == 1
    assert record_missing(lake, workflow, now=at(8, 3, 31)) == []
    (incident,) = open_incidents(lake)
    assert (incident.kind, incident.partition_key, incident.subject) == ("missing_data", "2026-01-07", "ingest")
    assert incident.summary.startswith(
        "Partition 2026-01-07 should have been published since 2026-01-08 02:00 UTC, and is not"
    )
    append_run(lake, replace(FIRST, partition_key="2026-01-07", recorded_at=at(8, 4)))
    assert record_missing(lake, workflow, now=at(8, 4, 1)) == []
    assert [i.is_open for i in read_incidents(lake)] == [False]


def test_a_partition_whose_run_failed_is_not_told_as_missing_too(lake: Lake, workflow: Workflow) -> None:
    append_run(lake, FIRST)
    open_incident(
        lake,
        workflow="parcels",
        partition_key="2026-01-07",
        kind="failed_validation",
        subject="ingest.validate",
        summary="s",
        counts={},
    )
    assert record_missing(lake, workflow, now=at(8, 3, 30)) == []


def test_after_a_long_silence_a_month_is_named_and_no_more(lake: Lake, workflow: Workflow) -> None:
    """As when Airflow was down, and the watchdog with it."""
    append_run(lake, FIRST)
    assert len(record_missing(lake, workflow, now=at(6) + timedelta(days=100))) == 31


@pytest.mark.parametrize(("every", "n_partitions"), [("hour", 100), ("day", 31), ("week", 4), ("month", 3)])
def test_how_many_are_named_depends_on_their_length(workflow: Workflow, every: Every, n_partitions: int) -> None:
    silent = workflow.model_copy(update={"partition": Partition(every=every, start=workflow.partition.start)})
    assert len(late(silent, at(6) + timedelta(days=200))) == n_partitions
