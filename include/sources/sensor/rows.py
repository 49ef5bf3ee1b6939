"""
Rows of landed messages: every message is one row of exactly one partition, whatever it holds.

A reading belongs to the partition of its event time, if it arrived within the allowed lateness. Any other (unreadable,
too late, by a clock that lies) belongs to the partition of its arrival, with its reason. Where one reading was
delivered several times, each delivery is a row: those within the lateness are equal in all columns, the first one's
`received_at` included, so that validation counts them as duplicates.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.store import Lake
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN, Placement, find_places, with_errors
from include.sources.sensor.lags import longest_lag, with_lags
from include.sources.sensor.messages import scan_arrivals
from include.sources.sensor.payloads import ARROW_TYPES, PayloadReader
from include.sources.times import UTC_TIMESTAMP
from include.workflow import SensorSource, Workflow
from include.workflow.partitions import PartitionWindow
from include.workflow.sources.sensor import RECEIVED_AT

DIGEST, PLACED_AT, IS_PLACED_BY_EVENT = "payload_digest", "placed_at", "is_placed_by_event"


def row_schema(source: SensorSource) -> pa.Schema:
    """Columns of a reading: the payload's fields, the arrival, and what the source tells of a row."""
    fields = [(name, ARROW_TYPES[kind]) for name, kind in source.fields.items()]
    return pa.schema([*fields, (RECEIVED_AT, UTC_TIMESTAMP), (NAME_COLUMN, pa.string()), (ERROR_COLUMN, pa.string())])


@contextlib.contextmanager
def open_rows(
    source: SensorSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake
) -> Iterator[pa.RecordBatchReader]:
    """
    Open one partition, from what has landed: no broker is asked.

    The rows come in the order of event time, device, sequence, topic and content, which does not depend on the order of
    their arrival.

    Yields
    ------
    RecordBatchReader
        The declared fields, `received_at`, `source_name` (the topic) and `source_error`; then the declared lags.

    """
    earliest, last = window.start - longest_lag(source), window.end + source.lateness
    parts = [located_schema(source).empty_table()]
    for rows in read_arrivals(source, workflow=workflow, first=earliest - source.clock_tolerance, last=last, lake=lake):
        parts.append(_placed_between(rows, earliest, window.end))
    readings = _with_first_arrival(pa.concat_tables(parts))
    rows = _placed_between(readings, window.start, window.end)
    order = [
        source.event_time,
        source.device,
        *([source.sequence] if source.sequence else []),
        NAME_COLUMN,
        DIGEST,
        RECEIVED_AT,
    ]
    rows = rows.sort_by([(name, "ascending") for name in order]).select(row_schema(source).names)
    yield with_lags(rows, readings, source=source).to_reader(max_chunksize=65_536)


def _placed_between(rows: pa.Table, start: datetime, end: datetime) -> pa.Table:
    placed = rows[PLACED_AT]
    first, last = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (start, end))
    return rows.filter(pc.and_(pc.greater_equal(placed, first), pc.less(placed, last)))


def located_schema(source: SensorSource) -> pa.Schema:
    """Columns of `read_arrivals`: a row's own, and where it belongs."""
    located = [(DIGEST, pa.string()), (PLACED_AT, UTC_TIMESTAMP), (IS_PLACED_BY_EVENT, pa.bool_())]
    return pa.schema([*row_schema(source), *(pa.field(*column) for column in located)])


def read_arrivals(
    source: SensorSource, *, workflow: Workflow, first: datetime, last: datetime | None = None, lake: Lake
) -> Iterator[pa.Table]:
    """Yield what arrived between two moments as rows, in the order of arrival, each with where it belongs."""
    reader = PayloadReader(source)
    for messages in scan_arrivals(workflow, start=first, end=last, lake=lake):
        rows = _rows_of(messages, source=source, reader=reader)
        placement = find_places(
            rows[source.event_time],
            event_time=source.event_time,
            arrived_at=rows[RECEIVED_AT],
            earliest=workflow.start,
            tolerance=source.clock_tolerance,
            lateness=source.lateness,
        )
        yield _located(with_errors(rows, placement.reason), messages, placement, source=source)


def _rows_of(messages: pa.Table, *, source: SensorSource, reader: PayloadReader) -> pa.Table:
    readings = [reader.read(payload) for payload in messages["payload"].to_pylist()]
    columns = list(zip(*(reading.values for reading in readings), strict=True)) or [()] * len(source.fields)
    errors = pa.chunked_array([pa.array([reading.error for reading in readings], pa.string())])
    arrays = [pa.array(values, ARROW_TYPES[kind]) for values, kind in zip(columns, source.fields.values(), strict=True)]
    rows = pa.table([*arrays, messages[RECEIVED_AT], messages["topic"], errors], schema=row_schema(source))
    if source.known_time != RECEIVED_AT:
        latest = pc.add(rows[RECEIVED_AT], pa.scalar(source.clock_tolerance))
        is_ahead = pc.fill_null(pc.greater(rows[source.known_time], latest), False)
        rows = with_errors(
            rows,
            pc.if_else(is_ahead, f"{source.known_time}: lies after the row's arrival", pa.scalar(None, pa.string())),
        )
    return rows


def _located(rows: pa.Table, messages: pa.Table, placement: Placement, *, source: SensorSource) -> pa.Table:
    is_placed_by_event = pc.and_(pc.is_valid(rows[source.event_time]), pc.is_null(placement.reason))
    return pa.table(
        [*rows.columns, messages[DIGEST], placement.placed_at, is_placed_by_event], schema=located_schema(source)
    )


def _with_first_arrival(rows: pa.Table) -> pa.Table:
    """
    Give all deliveries of one reading the arrival of the first.

    All that count here are among these rows: a delivery that comes too late, or before its event, is placed by its own
    arrival.
    """
    identity = pc.binary_join_element_wise(rows[NAME_COLUMN], pc.fill_null(rows[DIGEST], ""), "\0")
    by_event = rows[IS_PLACED_BY_EVENT]
    # Others stay apart: each is its own group.
    own = pc.cast(pa.array(range(rows.num_rows), pa.int64()), pa.string())
    codes = pc.if_else(by_event, identity, own).combine_chunks().dictionary_encode().indices
    firsts = (
        pa.table({"code": codes, "at": rows[RECEIVED_AT]})
        .group_by("code", use_threads=False)
        .aggregate([("at", "min")])
    )
    firsts = firsts.sort_by("code")
    position = rows.schema.get_field_index(RECEIVED_AT)
    return rows.set_column(position, RECEIVED_AT, firsts["at_min"].take(codes))
