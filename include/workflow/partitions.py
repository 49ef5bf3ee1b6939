"""
Partition keys: which stretch of event time one run works on.

All bounds are UTC, half-open `[start, end)`. A key is text that sorts as time does and is safe in a path.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal

from include.errors import PartitionError

Every = Literal["hour", "day", "week", "month"]

KEY_FORMATS: dict[Every, str] = {"hour": "%Y-%m-%dT%H", "day": "%Y-%m-%d", "week": "%Y-%m-%d", "month": "%Y-%m"}
EXAMPLES: dict[Every, str] = {
    "hour": "2026-11-23T07",
    "day": "2026-11-23",
    "week": "2026-11-23 (a Monday)",
    "month": "2026-11",
}


@dataclass(frozen=True, kw_only=True)
class PartitionWindow:
    """One partition: its key and the UTC bounds `[start, end)` of its event time."""

    key: str
    start: datetime
    end: datetime


def window_of_key(every: Every, key: str) -> PartitionWindow:
    """
    Bounds of the partition that a key names.

    Raises
    ------
    PartitionError
        If the key does not have the partitioning's exact form. Keys reach paths and SQL bounds, so nothing else passes.

    """
    try:
        start = datetime.strptime(key, KEY_FORMATS[every]).replace(tzinfo=UTC)
        window = PartitionWindow(key=key, start=start, end=_next_start(every, start))
    except (ValueError, TypeError, OverflowError):  # the year 9999 has an end that no datetime can hold
        window = None
    if window is None or key_of_moment(every, window.start) != key:
        raise PartitionError(f"partition key {key!r} is not a {every}: write it like {EXAMPLES[every]}")
    return window


def window_of_moment(every: Every, moment: datetime) -> PartitionWindow:
    """Partition that holds a moment (aware; any zone)."""
    return window_of_key(every, key_of_moment(every, moment))


def key_of_moment(every: Every, moment: datetime) -> str:
    """Key of the partition that holds a moment (aware; any zone)."""
    return _floor(every, moment.astimezone(UTC)).strftime(KEY_FORMATS[every])


def windows_between(every: Every, start: datetime, end: datetime) -> list[PartitionWindow]:
    """All partitions that overlap `[start, end)`, oldest first."""
    windows = []
    moment = _floor(every, start.astimezone(UTC))
    while moment < end:
        window = window_of_key(every, key_of_moment(every, moment))
        windows.append(window)
        moment = window.end
    return windows


def _floor(every: Every, moment: datetime) -> datetime:
    hour = moment.replace(minute=0, second=0, microsecond=0)
    if every == "hour":
        return hour
    day = hour.replace(hour=0)
    if every == "day":
        return day
    return day - timedelta(days=day.weekday()) if every == "week" else day.replace(day=1)


def _next_start(every: Every, start: datetime) -> datetime:
    if every == "month":
        return (start + timedelta(days=32)).replace(day=1)
    return start + {"hour": timedelta(hours=1), "day": timedelta(days=1), "week": timedelta(weeks=1)}[every]
