"""
What a collection has changed in partitions that were published before: readings that came late, and readings that are
still missing.

Both are told from what has landed and from the ledger alone, never from what this process remembers: a collection that
was killed after its commit is made good by the next one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.incidents import close_incident, open_incident, open_incidents
from include.lake.ledger import RUNS, read_ledger
from include.lake.store import Lake
from include.sources.sensor.gaps import GapRules, Missing, find_missing
from include.sources.sensor.rows import IS_PLACED_BY_EVENT, PLACED_AT, read_arrivals
from include.sources.times import UTC_TIMESTAMP
from include.workflow import SensorSource, Workflow
from include.workflow.partitions import Every, PartitionWindow, key_of_moment, window_of_key, window_of_moment
from include.workflow.sources.sensor import RECEIVED_AT

MISSING_READINGS = "missing_readings"
# In an incident's details: the event time of the device's last reading before those that are missing.
SINCE = "since"
# How long nobody may have collected after a landing, and its late readings still reopen their partitions.
MEMORY = timedelta(weeks=1)
# So many stretches of numbers an incident names.
MAX_RANGES = 5

_READINGS = pa.schema(
    [("device", pa.string()), ("sequence", pa.int64()), ("event_time", UTC_TIMESTAMP), ("is_believable", pa.bool_())]
)


@dataclass(frozen=True, kw_only=True)
class Arrears:
    """
    How many rows each partition has by what has landed, and the readings that say what is missing, both from `start`
    on.
    """

    start: datetime
    rows_of: dict[str, int]
    readings: pa.Table


def take_stock(source: SensorSource, *, workflow: Workflow, now: datetime, lake: Lake) -> Arrears:
    """Read what arrived in the time in which late readings may still come."""
    reach = source.lateness + source.clock_tolerance + MEMORY
    start = max(workflow.start, window_of_moment(workflow.partition.every, max(now - reach, workflow.start)).start)
    rows_of: dict[str, int] = {}
    readings = [_READINGS.empty_table()]
    for rows in read_arrivals(source, workflow=workflow, first=start, lake=lake):
        floors = pc.floor_temporal(rows[PLACED_AT], unit=workflow.partition.every, week_starts_monday=True)
        for count in pc.value_counts(floors).to_pylist():
            key = key_of_moment(workflow.partition.every, count["values"])
            rows_of[key] = rows_of.get(key, 0) + count["counts"]
        numbers = rows[source.sequence] if source.sequence else pa.nulls(rows.num_rows, pa.int64())
        devices = rows[source.device].cast(pa.string())
        readings.append(
            pa.table([devices, numbers, rows[source.event_time], rows[IS_PLACED_BY_EVENT]], schema=_READINGS)
        )
    return Arrears(start=start, rows_of=rows_of, readings=pa.concat_tables(readings))


def find_reopened(
    stock: Arrears, *, source: SensorSource, workflow: Workflow, window: PartitionWindow, lake: Lake
) -> tuple[str, ...]:
    """
    Keys of published partitions, other than the run's own, that have another number of rows now than when they were
    read.
    """
    runs = read_ledger(lake, RUNS, workflow=workflow.name)
    # In order of time: of several lines of one partition the last one stays.
    published = dict(zip(runs["partition_key"].to_pylist(), runs["rows_in"].to_pylist(), strict=True))
    every = workflow.partition.every
    changed = {
        key
        for key, n_rows in published.items()
        # Of an older one not all arrivals were read: nothing can be said, and nothing can have changed.
        if window_of_key(every, key).start - source.clock_tolerance >= stock.start
        and stock.rows_of.get(key, 0) != n_rows
    }
    reached = {key for key in published if _is_reached(window_of_key(every, key), changed, source=source, every=every)}
    return tuple(sorted((changed | reached) - {window.key}))


def _is_reached(window: PartitionWindow, changed: set[str], *, source: SensorSource, every: Every) -> bool:
    """
    Whether the partition's lags reach into one that has changed; by our own clock a late reading was known too late for
    any.
    """
    if not source.lags or source.known_time == RECEIVED_AT:
        return False
    nearest, farthest = (choose(lag.by for lag in source.lags.values()) for choose in (min, max))
    parts = [window_of_key(every, key) for key in changed]
    return any(part.start < window.end - nearest and part.end > window.start - farthest for part in parts)


def record_gaps(
    stock: Arrears, *, source: SensorSource, workflow: Workflow, window: PartitionWindow, lake: Lake
) -> int:
    """
    Open an incident for each device and partition with missing readings, up to the run's own partition; close those
    that were filled.

    Returns
    -------
    int
        How many readings are missing.

    """
    if source.sequence is None and source.every is None:
        return 0
    until = min(window.end, datetime.now(UTC))
    rules = GapRules(
        sequence=source.sequence is not None, every=source.every, until=until, partition=workflow.partition.every
    )
    missing = {name: found for name, found in find_missing(stock.readings, rules).items() if name[1] <= window.key}
    known = {
        (incident.subject, incident.partition_key): incident
        for incident in open_incidents(lake, workflow=workflow.name)
        if incident.kind == MISSING_READINGS
    }
    first_of = _first_readings(stock)
    for (device, key), incident in known.items():
        # One that grew is told anew; one that shrank stays open as it was told, until it is filled.
        n_now = missing[device, key].n_missing if (device, key) in missing else 0
        # Of a device that has been silent for so long that its last reading is out of sight, nothing missing is seen:
        # that is no recovery.
        is_in_sight = device in first_of and first_of[device] <= datetime.fromisoformat(incident.details[SINCE])
        if key <= window.key and ((n_now == 0 and is_in_sight) or n_now > incident.counts["missing"]):
            close_incident(lake, workflow=workflow.name, partition_key=key, kind=MISSING_READINGS, subject=device)
    for (device, key), found in missing.items():
        if (device, key) not in known or found.n_missing > known[device, key].counts["missing"]:
            open_incident(
                lake,
                workflow=workflow.name,
                partition_key=key,
                kind=MISSING_READINGS,
                subject=device,
                summary=_say_what_is_missing(found, device=device, key=key),
                counts={"missing": found.n_missing},
                details={SINCE: found.since.isoformat()},
            )
    return sum(found.n_missing for found in missing.values())


def _first_readings(stock: Arrears) -> dict[str, datetime]:
    """Event time of each device's first reading that is in sight and to be believed."""
    believable = stock.readings.filter(pc.and_(stock.readings["is_believable"], pc.is_valid(stock.readings["device"])))
    firsts = believable.group_by("device").aggregate([("event_time", "min")])
    return dict(zip(firsts["device"].to_pylist(), firsts["event_time_min"].to_pylist(), strict=True))


def _say_what_is_missing(found: Missing, *, device: str, key: str) -> str:
    said = f"{found.n_missing} {'reading' if found.n_missing == 1 else 'readings'} of {device} in {key} never arrived"
    ranges = sorted(found.ranges)
    numbers = [str(first) if first == last else f"{first} to {last}" for first, last in ranges[:MAX_RANGES]]
    numbers += [f"and {len(ranges) - MAX_RANGES} stretches more"] if len(ranges) > MAX_RANGES else []
    return f"{said}: numbers {', '.join(numbers)}" if numbers else said
