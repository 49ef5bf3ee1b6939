"""
What was published before a partition: the past that it is held against.

Only partitions of earlier event time count, whenever they were published, so that a backfill judges a partition as its
own day did.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from include.lake.ledger import RUNS, read_ledger
from include.lake.store import Lake
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, window_of_key


@dataclass(frozen=True, kw_only=True)
class PublishedPartition:
    """The latest publication of one partition. `start` is the first moment of its event time."""

    key: str
    start: datetime
    rows_in: int
    rows_published: int


@dataclass(frozen=True, kw_only=True)
class Past:
    """One partition of a workflow, and what is published before it, oldest first."""

    lake: Lake
    workflow: Workflow
    window: PartitionWindow
    published: tuple[PublishedPartition, ...]

    @property
    def last(self) -> PublishedPartition | None:
        """The published partition next before this one, however far back."""
        return self.published[-1] if self.published else None

    @property
    def recent(self) -> tuple[PublishedPartition, ...]:
        """Those of the declared history (`quality.history`)."""
        return self.within(self.workflow.quality.history)

    def within(self, duration: timedelta) -> tuple[PublishedPartition, ...]:
        """Those that start at most so long before this one."""
        return tuple(partition for partition in self.published if partition.start >= self.window.start - duration)


def read_past(workflow: Workflow, partition_key: str, *, lake: Lake) -> Past:
    """
    Read from the ledger what is published before a partition.

    Raises
    ------
    PartitionError
        If the key is malformed.

    """
    every = workflow.partition.every
    window = window_of_key(every, partition_key)
    columns = ["partition_key", "rows_in", "rows_published"]
    # Later lines of a partition come later, and replace earlier ones.
    latest = {
        line["partition_key"]: line
        for line in read_ledger(lake, RUNS, workflow=workflow.name).select(columns).to_pylist()
    }
    partitions = [
        PublishedPartition(
            key=key,
            start=window_of_key(every, key).start,
            rows_in=line["rows_in"],
            rows_published=line["rows_published"],
        )
        for key, line in sorted(latest.items())
        if key < partition_key
    ]
    return Past(lake=lake, workflow=workflow, window=window, published=tuple(partitions))


def describe_past(partitions: Sequence[PublishedPartition]) -> str:
    """Say in a few words which partitions were compared with."""
    if not partitions:
        return "no published partition before it"
    n = len(partitions)
    return f"{n} published partition{'s' if n > 1 else ''} before it, {partitions[0].key} to {partitions[-1].key}"
