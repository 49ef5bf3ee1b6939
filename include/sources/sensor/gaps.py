"""
Readings that are missing: found by a device's own count of them, or by how often it is meant to send.

Between two readings whose sequence numbers are not neighbours, the missing ones are laid evenly over the time between,
so that each counts in the partition in which it would have been. Where a device starts its count anew, nothing is
claimed to be missing between.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.workflow.partitions import Every, key_of_moment

# A count falls by this much, and below its half: the device has started anew. A smaller fall is two clocks' or two
# messages' order.
RESTART_FALL = 16
# More in one stretch are not laid out one by one: a count that jumps so far is a fault of the device.
LONGEST_STRETCH = 100_000

Times = npt.NDArray[np.datetime64]


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """
    `n_missing` readings after that of `since`, and the moments at which they would have been sent (one for all, if they
    are too many to lay out).

    `numbers` are those that the device counted them by, where it counts; of a stretch that is not laid out, the first
    and the last.
    """

    since: np.datetime64
    times: Times
    n_missing: int
    numbers: npt.NDArray[np.int64] | None = None


@dataclass(kw_only=True)
class Missing:
    """
    What is missing of one device in one partition: how many, and the ranges of their numbers, both ends included.

    `since` is the event time of the last reading before them: without it nobody could tell that they are missing.
    """

    since: datetime
    n_missing: int = 0
    ranges: list[tuple[int, int]] = field(default_factory=list)

    def add(self, n_missing: int, numbers: npt.NDArray[np.int64] | None, *, since: datetime) -> None:
        """Add readings; `numbers` ascend."""
        self.since = min(self.since, since)
        self.n_missing += n_missing
        if numbers is not None and len(numbers):
            is_whole = len(numbers) == 2 and numbers[1] - numbers[0] + 1 == n_missing
            parts = [numbers] if is_whole else np.split(numbers, np.flatnonzero(np.diff(numbers) > 1) + 1)
            self.ranges += [(int(part[0]), int(part[-1])) for part in parts]


@dataclass(frozen=True, kw_only=True)
class GapRules:
    """How to tell what is missing. `until`: the moment up to which a device had time to send."""

    sequence: bool
    every: timedelta | None
    until: datetime
    partition: Every


def find_missing(readings: pa.Table, rules: GapRules) -> dict[tuple[str, str], Missing]:
    """
    Find missing readings by device and partition key.

    Parameters
    ----------
    readings : Table of shape (n_readings, 4)
        `device`; `sequence` (integers, null where unknown); `event_time`; `is_believable`: whether the event time is to
        be believed. A reading that is not counts as sent, at no particular time.
    rules : GapRules
        How to tell.

    Returns
    -------
    dict
        (device, partition key) to how many and which, where there are any.

    """
    found: dict[tuple[str, str], Missing] = {}
    readings = readings.filter(pc.is_valid(readings["device"]))
    for device in pc.unique(readings["device"]).to_pylist():
        own = readings.filter(pc.equal(readings["device"], device))
        for stretch in _stretches(own, rules):
            since = _moment(stretch.since)
            for key, n_missing, numbers in _by_partition(stretch, rules):
                found.setdefault((str(device), key), Missing(since=since)).add(n_missing, numbers, since=since)
    return found


def _stretches(own: pa.Table, rules: GapRules) -> Iterator[Stretch]:
    believable = own.filter(own["is_believable"]).sort_by("event_time")
    times = believable["event_time"].to_numpy().astype("datetime64[us]")
    if rules.sequence:
        numbers = pc.fill_null(believable["sequence"], -1).to_numpy()
        others = own.filter(pc.invert(own["is_believable"]))["sequence"].drop_null().to_numpy()
        yield from _by_sequence(times[numbers >= 0], numbers[numbers >= 0], others)
    elif rules.every is not None:
        yield from _by_interval(np.unique(times), rules.every)
    if rules.every is not None and len(times):
        yield from _at_the_end(times[-1], rules)


def _by_sequence(times: Times, numbers: npt.NDArray[np.int64], others: npt.NDArray[np.int64]) -> Iterator[Stretch]:
    falls = (numbers[1:] < numbers[:-1] - RESTART_FALL) & (numbers[1:] < numbers[:-1] // 2)
    for part in np.split(np.arange(len(numbers)), np.flatnonzero(falls) + 1):
        present, where = np.unique(numbers[part], return_index=True)
        at = times[part][where]
        for i in np.flatnonzero(np.diff(present) > 1):
            n_missing = int(present[i + 1] - present[i] - 1)
            if n_missing > LONGEST_STRETCH:
                ends = np.array([present[i] + 1, present[i + 1] - 1])
                yield Stretch(since=at[i], times=at[i + 1 : i + 2], n_missing=n_missing, numbers=ends)
                continue
            steps = np.arange(1, n_missing + 1)
            steps = steps[~np.isin(present[i] + steps, others)]
            if len(steps):
                laid_out = at[i] + ((at[i + 1] - at[i]).astype(np.int64) * steps // (n_missing + 1)).astype(
                    "timedelta64[us]"
                )
                yield Stretch(since=at[i], times=laid_out, n_missing=len(steps), numbers=present[i] + steps)


def _by_interval(times: Times, every: timedelta) -> Iterator[Stretch]:
    step = np.timedelta64(every)
    for i in np.flatnonzero(np.diff(times) > 1.5 * step):
        n_missing = round(float((times[i + 1] - times[i]) / step)) - 1
        if n_missing > LONGEST_STRETCH:
            yield Stretch(since=times[i], times=times[i + 1 : i + 2], n_missing=n_missing)
        else:
            yield Stretch(since=times[i], times=times[i] + step * np.arange(1, n_missing + 1), n_missing=n_missing)


def _at_the_end(last: Any, rules: GapRules) -> Iterator[Stretch]:
    """What a device that went silent has not sent: a reading may be half an interval late."""
    step = np.timedelta64(rules.every)
    until = np.datetime64(rules.until.astimezone(UTC).replace(tzinfo=None)) - step / 2
    n_missing = min(int((until - last) / step), LONGEST_STRETCH) if until > last else 0
    if n_missing:
        yield Stretch(since=last, times=last + step * np.arange(1, n_missing + 1), n_missing=n_missing)


def _by_partition(stretch: Stretch, rules: GapRules) -> Iterator[tuple[str, int, npt.NDArray[np.int64] | None]]:
    if len(stretch.times) != stretch.n_missing:
        yield _key(stretch.times[0], rules), stretch.n_missing, stretch.numbers
        return
    keys = np.array([_key(time, rules) for time in stretch.times])
    # The moments ascend, and so do the keys.
    for part in np.split(np.arange(len(keys)), np.flatnonzero(keys[1:] != keys[:-1]) + 1):
        yield str(keys[part[0]]), len(part), None if stretch.numbers is None else stretch.numbers[part]


def _key(time: Any, rules: GapRules) -> str:
    return key_of_moment(rules.partition, _moment(time))


def _moment(time: Any) -> datetime:
    moment: datetime = time.astype("datetime64[us]").item()
    return moment.replace(tzinfo=UTC)
