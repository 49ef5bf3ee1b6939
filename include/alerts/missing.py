"""Partitions that should have been published by now, and are not."""

from __future__ import annotations

from datetime import datetime, timedelta

from include.alerts.failures import close_all
from include.lake.incidents import Origin, open_incident, open_incidents
from include.lake.ledger import RUNS, read_ledger
from include.lake.store import Lake
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, windows_between

# How far back a round looks, and how many partitions at least and at most. Older gaps were told when they were new; but
# for so long everything may have been down, and the watchdog with it.
LOOK_BACK, N_PARTITIONS, MAX_PARTITIONS = timedelta(days=31), 3, 100
# How long after its delay is over a partition may take, retries included.
MINIMUM_GRACE, MAXIMUM_GRACE = timedelta(minutes=15), timedelta(hours=1)


def record_missing(lake: Lake, workflow: Workflow, *, now: datetime) -> list[str]:
    """
    Open an incident for each partition of the last month that is late and has no other incident; close those that have
    arrived.

    Parameters
    ----------
    lake, workflow
        Whose partitions.
    now : datetime
        The moment to judge by, aware.

    Returns
    -------
    list of str
        Ids of the incidents that were opened.

    """
    runs = read_ledger(lake, RUNS, workflow=workflow.name)
    published = set(runs["partition_key"].to_pylist())
    troubled = open_incidents(lake, workflow=workflow.name)
    missing = [i for i in troubled if i.kind == "missing_data"]
    close_all(lake, [i for i in missing if i.partition_key in published])
    if not published:
        return []  # a workflow that never ran is being set up
    first = min(runs["recorded_at"].to_pylist())
    told = {i.partition_key for i in troubled if i.subject.split(".")[0] == "ingest"}
    late = late_partitions(workflow, since=first, now=now)
    return [_open(lake, workflow, window) for window in late if window.key not in published | told]


def late_partitions(workflow: Workflow, *, since: datetime, now: datetime) -> list[PartitionWindow]:
    """
    Return the partitions of the last month (3 at least, 100 at most) whose time to be published is over at `now`, and
    began after `since`.

    Before `since` nobody waited for any: a workflow that starts today owes nothing of last year.
    """
    partition = workflow.partition
    grace = _grace(workflow)
    length = timedelta(days=31) if partition.every == "month" else timedelta(weeks=1)
    span = max(LOOK_BACK, (N_PARTITIONS + 1) * length)
    newest = windows_between(partition.every, max(workflow.start, now - partition.delay - grace - span), now)
    due = [w for w in newest if w.end + partition.delay + grace <= now and w.end + partition.delay > since]
    n_recent = sum(w.end + partition.delay + grace > now - LOOK_BACK for w in due)
    return due[-min(MAX_PARTITIONS, max(N_PARTITIONS, n_recent)) :]


def _grace(workflow: Workflow) -> timedelta:
    lengths = {
        "hour": timedelta(hours=1),
        "day": timedelta(days=1),
        "week": timedelta(weeks=1),
        "month": timedelta(days=28),
    }
    return max(MINIMUM_GRACE, min(MAXIMUM_GRACE, lengths[workflow.partition.every] / 4))


def _open(lake: Lake, workflow: Workflow, window: PartitionWindow) -> str:
    due_at = window.end + workflow.partition.delay
    return open_incident(
        lake,
        workflow=workflow.name,
        partition_key=window.key,
        kind="missing_data",
        subject="ingest",
        summary=(
            f"Partition {window.key} should have been published since {due_at:%Y-%m-%d %H:%M} UTC, and is not: no run "
            f"of {workflow.name}.ingest has finished it. See whether the Dag is running, and what its scheduler says."
        ),
        counts={},
        origin=Origin(dag_id=f"{workflow.name}.ingest"),
    )
