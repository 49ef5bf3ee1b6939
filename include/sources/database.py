"""Read one partition of a database source: bound, streamed, checked, and in UTC."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceQueryError
from include.lake.store import Lake
from include.sources import postgresql, sqlite
from include.sources.bounds import Bounds
from include.sources.connection import read_connection_uri
from include.sources.kinds import CollectReport
from include.sources.stream import BATCH_ROWS, Deadline, Stream
from include.sources.times import UTC_TIMESTAMP, normalise_times, normalised_type
from include.workflow import DatabaseSource, Workflow
from include.workflow.partitions import PartitionWindow
from include.workflow.workflow import RESERVED_COLUMNS

_OPENERS = {"postgresql": postgresql.open_query, "sqlite": sqlite.open_query}


def collect(
    source: DatabaseSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str, lake: Lake, token: int
) -> CollectReport:
    """
    Land what has changed in the database since the last collection, whatever the run's own partition; see
    `changes.collect`.
    """
    from include.sources import changes  # it builds on this module

    return changes.collect(source, workflow=workflow, connection_uri=connection_uri, lake=lake)


def open_rows(
    source: DatabaseSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str, lake: Lake
) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
    """Open one partition of a workflow's database, or of the changes that have landed from it."""
    if source.incremental:
        from include.sources import changes

        return changes.open_rows(source, workflow=workflow, window=window, lake=lake)
    query = (workflow.folder / source.query).read_text(encoding="utf-8")
    return open_partition(source, query, connection_uri, window)


def open_partition(
    source: DatabaseSource, query: str, connection_uri: str, window: PartitionWindow
) -> contextlib.AbstractContextManager[pa.RecordBatchReader]:
    """
    Open one partition of a database: `open_query` with the partition's bounds.

    A row whose event time is NULL is kept (validation quarantines it, so that it is not lost); one outside the window
    is refused.
    """
    bounds = Bounds(start=window.start, end=window.end, column=source.event_time)
    return open_query(source, query, connection_uri, bounds)


@contextlib.contextmanager
def open_query(
    source: DatabaseSource, query: str, connection_uri: str, bounds: Bounds
) -> Iterator[pa.RecordBatchReader]:
    """
    Run a source's query between two moments.

    Memory stays flat however many rows there are: batches of at most 65,536 rows are read while the block is open.
    Timestamps are `timestamp[us, UTC]`; one without a zone is taken as UTC, and in SQLite the event and known times may
    be ISO 8601 text.

    Parameters
    ----------
    source : DatabaseSource
        The declared source; `timeout_seconds` bounds the whole read.
    query : str
        Text of the query; it names the bounds.
    connection_uri : str
        `postgresql://…`, `postgres://…` or `sqlite:////abs/path.db`.
    bounds : Bounds
        What to bind; no row may lie outside.

    Yields
    ------
    RecordBatchReader
        The query's columns, in the query's order.

    Raises
    ------
    SourceUnavailableError
        If the database does not answer, or not in time.
    SourceQueryError
        If the URI, the login, the query, a column or a row's time is wrong.

    """
    connection = read_connection_uri(connection_uri)
    deadline = Deadline(source.timeout_seconds, name=source.query)
    with _OPENERS[connection.kind](query, connection, bounds=bounds, deadline=deadline) as stream:
        flow = _Flow(source, stream, bounds)
        try:
            yield pa.RecordBatchReader.from_batches(flow.schema, flow.batches())
        except Exception as error:
            # A consumer outside Python (Delta's writer) turns our error into one of its own: raise what really
            # happened.
            if flow.failure is None or flow.failure is error:
                raise
            raise flow.failure from error


class _Flow:
    """The checks between driver and reader; remembers the error that stopped it."""

    def __init__(self, source: DatabaseSource, stream: Stream, bounds: Bounds) -> None:
        self._source, self._stream, self._bounds = source, stream, bounds
        self._n_rows = 0
        self.failure: Exception | None = None
        _check_columns(source, stream.schema)
        times = (source.event_time, source.known_time)
        self.schema = pa.schema(
            [
                pa.field(field.name, normalised_type(field, name=source.query, is_time=field.name in times))
                for field in stream.schema
            ]
        )

    def batches(self) -> Iterator[pa.RecordBatch]:
        try:
            for batch in self._stream.batches:
                for start in range(0, batch.num_rows, BATCH_ROWS):
                    yield self._checked(batch.slice(start, BATCH_ROWS))
        except Exception as error:
            self.failure = error
            raise

    def _checked(self, batch: pa.RecordBatch) -> pa.RecordBatch:
        batch = normalise_times(batch, self.schema, name=self._source.query)
        self._n_rows += batch.num_rows
        bounds = self._bounds
        times = batch[bounds.column].cast(UTC_TIMESTAMP)
        start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (bounds.start, bounds.end))
        n_outside = pc.sum(pc.or_(pc.less(times, start), pc.greater_equal(times, end))).as_py() or 0
        if n_outside:
            raise SourceQueryError(
                f"{self._source.query}: {n_outside} of the first {self._n_rows} rows have a {bounds.column!r} outside "
                f"[{bounds.start:%Y-%m-%d %H:%M}, {bounds.end:%Y-%m-%d %H:%M}) UTC: compare that very column with both "
                "bounds"
            )
        return batch


def _check_columns(source: DatabaseSource, schema: pa.Schema) -> None:
    names = list(schema.names)
    for role, column in (
        ("event_time", source.event_time),
        ("known_time", source.known_time),
        *(("key", column) for column in source.key),
    ):
        if column not in names:
            shown = ", ".join(names[:30]) + (", …" if len(names) > 30 else "")
            raise SourceQueryError(
                f"{source.query}: the result has no column {column!r}, which source.{role} names: it has {shown}"
            )
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise SourceQueryError(
            f"{source.query}: the result repeats the column {repeated[0]!r}: give each its own name with AS"
        )
    own_times = {"event_time", "known_time"} & {source.event_time, source.known_time}
    reserved = sorted(RESERVED_COLUMNS.intersection(names) - own_times)
    if reserved:
        raise SourceQueryError(
            f"{source.query}: the column {reserved[0]!r} is a name that Updraft gives itself: rename it with AS"
        )
