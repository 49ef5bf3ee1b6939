"""Which partitions a workflow's next training reads, counted back from now."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, window_of_moment, windows_between


@dataclass(frozen=True, kw_only=True)
class TrainingCalendar:
    """The last training period that is over, and the partitions around it."""

    period: PartitionWindow
    history: tuple[PartitionWindow, ...]
    """What training reads, older than the period."""
    recent: tuple[PartitionWindow, ...]
    """The period's own partitions and the complete ones since."""


def training_calendar(workflow: Workflow, now: datetime) -> TrainingCalendar:
    """Lay out the partitions for a training as of the end of the last complete period."""
    every = workflow.partition.every
    current = window_of_moment(workflow.training.every, now)
    period = window_of_moment(workflow.training.every, current.start - timedelta(microseconds=1))
    first = max(
        period.end - workflow.training.test - workflow.training.window,
        datetime.combine(workflow.partition.start, time(), UTC),
    )
    before = windows_between(every, first, period.start) if first < period.start else []
    since = windows_between(every, period.start, window_of_moment(every, now).start)
    return TrainingCalendar(period=period, history=tuple(before), recent=tuple(since))
