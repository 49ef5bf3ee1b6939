"""
A device's earlier readings beside each row: what was known when the row's own reading was still to come.

So the row of a reading holds what it takes to forecast it, and its label is the reading itself: both are known once it
has arrived, and no row waits for another one. A reading counts from when it became known, not from when it was made:
one that was delivered late is in no lag of a forecast that was made before. So a row's lags never change afterwards,
whatever arrives (unless `known_time` is the device's).
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.sources.placement import ERROR_COLUMN
from include.workflow import SensorSource

Integers = npt.NDArray[np.int64]


def longest_lag(source: SensorSource) -> timedelta:
    """How far before a row its lags reach."""
    return max((lag.by for lag in source.lags.values()), default=timedelta(0))


def with_lags(rows: pa.Table, earlier: pa.Table, *, source: SensorSource) -> pa.Table:
    """
    Add the declared lags.

    Parameters
    ----------
    rows : Table of shape (n_rows, n_columns)
        A partition's rows, with at least the device and the event time.
    earlier : Table
        Readings placed by their event time, with the declared fields, the known time and `source_error`. Those with an
        error count for nothing. Of several readings of a device and moment the one that was known last, by then,
        counts.
    source : SensorSource
        Declares `lags` and `lead`.

    Returns
    -------
    Table
        With one more column a lag: null where no such reading was known.

    """
    if not source.lags:
        return rows
    earlier = earlier.filter(pc.and_(pc.is_null(earlier[ERROR_COLUMN]), pc.is_valid(earlier[source.device])))
    devices = pc.unique(earlier[source.device])
    made_at, known_at = _microseconds(earlier[source.event_time]), _microseconds(earlier[source.known_time])
    device = _codes(earlier[source.device], devices)
    order = np.lexsort((known_at, made_at, device))
    asked_device, asked_at = _codes(rows[source.device], devices), _microseconds(rows[source.event_time])
    lead = _in_microseconds(source.lead or min(lag.by for lag in source.lags.values()))
    for name, lag in source.lags.items():
        by = _in_microseconds(lag.by)
        # Made at m, it is asked for by the row of m + by, whose forecast was made `lead` before that.
        known = order[known_at[order] <= made_at[order] + by - lead]
        found = _find(device[known], made_at[known], asked_device, asked_at - by)
        positions = np.append(known, 0)[found]
        rows = rows.append_column(name, earlier[lag.field].take(pa.array(positions, mask=found < 0)))
    return rows


def _find(device: Integers, made_at: Integers, asked_device: Integers, asked_at: Integers) -> Integers:
    """Position of the last of the sorted pairs that equals each pair asked for; -1 where there is none."""
    if not len(device):
        return np.full(len(asked_at), -1)
    moments = np.unique(made_at)
    # A pair as one number: both are small, counted from 0.
    pairs = device * len(moments) + np.searchsorted(moments, made_at)
    rank = np.minimum(np.searchsorted(moments, asked_at), len(moments) - 1)
    asked = asked_device * len(moments) + rank
    position = np.searchsorted(pairs, asked, side="right") - 1
    is_found = (position >= 0) & (pairs[position] == asked) & (moments[rank] == asked_at) & (asked_device >= 0)
    return np.where(is_found, position, -1)


def _codes(column: pa.ChunkedArray, values: pa.Array) -> Integers:
    return np.asarray(pc.fill_null(pc.index_in(column, value_set=values), -1).to_numpy(), dtype=np.int64)


def _microseconds(column: pa.ChunkedArray) -> Integers:
    """Microseconds since 1970; a moment that is not known is far in the future."""
    return np.asarray(pc.fill_null(column.cast(pa.int64()), np.iinfo(np.int64).max // 4).to_numpy(), dtype=np.int64)


def _in_microseconds(duration: timedelta) -> int:
    return duration // timedelta(microseconds=1)
