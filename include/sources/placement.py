"""
Which partition a row that was collected belongs to: the one of its event time, if that can be; else the one of its
arrival.

A row without a time, or with one that cannot be (a device's clock that lies, a typing error), would otherwise be in no
partition at all, and lost. It comes with the partition in which it arrived, and with the reason, so that it is
quarantined there.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import pyarrow as pa
import pyarrow.compute as pc

from include.sources.times import UTC_TIMESTAMP
from include.workflow.partitions import PartitionWindow

ERROR_COLUMN = "source_error"
NAME_COLUMN = "source_name"


def place_rows(
    rows: pa.Table,
    *,
    event_time: str,
    arrived_at: pa.ChunkedArray | pa.Array,
    window: PartitionWindow,
    earliest: datetime,
    tolerance: timedelta = timedelta(minutes=10),
) -> pa.Table:
    """
    Keep the rows that belong to a partition.

    Parameters
    ----------
    rows : Table of shape (n_rows, n_columns)
        Rows from anywhere; the column `event_time` holds timestamps.
    event_time : str
        The column that places a row.
    arrived_at : array of timestamp, of shape (n_rows,)
        When each row was first received: never null.
    window : PartitionWindow
        The partition.
    earliest : datetime
        Before this no event can have happened: the workflow's start.
    tolerance : timedelta
        How far a clock may be ahead of ours.

    Returns
    -------
    Table
        With the column `source_error`, where a row placed by its arrival says why (unless it had an error already).

    """
    placement = find_places(
        rows.column(event_time), event_time=event_time, arrived_at=arrived_at, earliest=earliest, tolerance=tolerance
    )
    start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (window.start, window.end))
    is_inside = pc.and_(pc.greater_equal(placement.placed_at, start), pc.less(placement.placed_at, end))
    return with_errors(rows, placement.reason).filter(is_inside)


@dataclass(frozen=True, kw_only=True)
class Placement:
    """
    Where rows belong, by shape (n_rows,): the moment that places each, and why it is not its event time (null where it
    is).
    """

    placed_at: pa.ChunkedArray
    reason: pa.ChunkedArray


def find_places(
    times: pa.ChunkedArray,
    *,
    event_time: str,
    arrived_at: pa.ChunkedArray | pa.Array,
    earliest: datetime,
    tolerance: timedelta,
    lateness: timedelta | None = None,
) -> Placement:
    """
    Place each row by its event time, or by its arrival where that can't be or comes more than `lateness` after it
    (None: any time will do).

    A row with no event time is placed by its arrival, too; its reason is null, since validation names it. All else is
    as of `place_rows`.
    """
    times = times.cast(UTC_TIMESTAMP)
    arrived = (
        pa.chunked_array(arrived_at).cast(UTC_TIMESTAMP)
        if isinstance(arrived_at, pa.Array)
        else arrived_at.cast(UTC_TIMESTAMP)
    )
    faults = [
        (pc.less(times, pa.scalar(earliest, UTC_TIMESTAMP)), "lies before the workflow's start"),
        (pc.greater(times, pc.add(arrived, pa.scalar(tolerance))), "lies after the row's arrival"),
    ]
    if lateness is not None:
        faults.append(
            (pc.less(times, pc.subtract(arrived, pa.scalar(lateness))), "arrived later than the allowed lateness")
        )
    reason = pa.chunked_array([pa.nulls(len(times), pa.string())])
    for is_faulty, text in reversed(faults):
        reason = pc.if_else(pc.fill_null(is_faulty, False), f"{event_time}: {text}", reason)
    by_arrival = pc.or_(pc.is_null(times), pc.is_valid(reason))
    return Placement(placed_at=pc.if_else(by_arrival, arrived, times), reason=reason)


def with_errors(rows: pa.Table, reason: pa.ChunkedArray | pa.Array) -> pa.Table:
    """Give each row its `source_error`, where it has none yet."""
    if ERROR_COLUMN not in rows.column_names:
        return rows.append_column(ERROR_COLUMN, reason)
    position = rows.column_names.index(ERROR_COLUMN)
    return rows.set_column(position, ERROR_COLUMN, pc.coalesce(rows.column(ERROR_COLUMN), reason))
