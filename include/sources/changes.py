"""
A database read by what has changed: rows and restatements land once, as they become known, and partitions are made from
what landed.

How far the database has been read is a watermark on the known time, committed with the rows themselves: neither is ever
there without the other. Each collection starts a declared overlap before it, for rows whose transaction was still open
at the last one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as pads

from include.errors import PartitionError
from include.lake.digests import digest_table
from include.lake.landing import Watermark, append_batch, read_watermark
from include.lake.ledger import RUNS, read_ledger
from include.lake.store import Lake, native_filesystem, open_table, table_exists
from include.sources.bounds import Bounds
from include.sources.database import open_query
from include.sources.kinds import CollectReport
from include.sources.times import UTC_TIMESTAMP
from include.workflow import DatabaseSource, Workflow
from include.workflow.partitions import PartitionWindow, key_of_moment

# The known time of a row is never before this: a first collection reads from here.
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
ROWS_PER_COMMIT = 500_000


def collect(source: DatabaseSource, *, workflow: Workflow, connection_uri: str, lake: Lake) -> CollectReport:
    """Land what became known since the last collection; reopen the published partitions that it changes."""
    table = _table(workflow)
    mark = read_watermark(lake, table, source.query)
    after = _EPOCH if mark is None else _moment(mark) - source.overlap
    bounds = Bounds(
        start=max(after, _EPOCH),
        end=datetime.now(UTC).replace(microsecond=0),
        column=source.known_time,
        start_name="known_after",
        end_name="known_until",
    )
    seen = set() if mark is None else _landed_since(lake, table, source, bounds.start)
    query = (workflow.folder / source.query).read_text(encoding="utf-8")
    published = set(read_ledger(lake, RUNS, workflow=workflow.name)["partition_key"].to_pylist())
    n_rows, keys = 0, set[str]()
    with open_query(source, query, connection_uri, bounds) as reader:
        for rows, is_last in _chunks(reader, seen):
            watermark = Watermark(name=source.query, value=_microseconds(bounds.end)) if is_last else None
            # Named by its content: a batch that a killed collection had landed is not landed again by the next one.
            batch_id = f"{source.query} {digest_table(rows)}"
            append_batch(
                lake, table, rows, partition_key=f"{bounds.end:%Y-%m-%d}", batch_id=batch_id, watermark=watermark
            )
            n_rows += rows.num_rows
            keys |= {
                key_of_moment(workflow.partition.every, time)
                for time in pc.unique(rows[source.event_time]).drop_null().to_pylist()
            }
    return CollectReport(is_new=n_rows > 0, reopened=tuple(sorted(keys & published)), counts={"rows": n_rows})


@contextlib.contextmanager
def open_rows(
    source: DatabaseSource, *, workflow: Workflow, window: PartitionWindow, lake: Lake
) -> Iterator[pa.RecordBatchReader]:
    """
    Open one partition of what has landed: every version of every row, in the order of key and known time, each once.

    Raises
    ------
    PartitionError
        If nothing was ever collected.

    """
    table = _table(workflow)
    if not table_exists(lake, table):
        raise PartitionError(
            f"nothing of {workflow.name!r} has been collected yet: run {workflow.name}.ingest by hand, with 'Ask the "
            "source'"
        )
    dataset = _dataset(lake, table)
    columns = [name for name in dataset.schema.names if name != "partition_key"]
    rows = dataset.to_table(columns=columns, filter=_belongs(source, window))
    # A collection that was killed is repeated, and what had landed by then is there twice: the same row counts once.
    rows = rows.group_by(columns, use_threads=False).aggregate([]).select(columns)
    yield rows.sort_by([(name, "ascending") for name in (*source.key, source.known_time)]).to_reader()


def _belongs(source: DatabaseSource, window: PartitionWindow) -> pc.Expression:
    """
    A row belongs to the partition of its event time; one without, which validation will refuse, to that of its known
    time.
    """
    start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (window.start, window.end))
    event, known = pc.field(source.event_time), pc.field(source.known_time)
    return ((event >= start) & (event < end)) | (event.is_null() & (known >= start) & (known < end))


def _table(workflow: Workflow) -> str:
    return f"{workflow.name}/changes"


def _dataset(lake: Lake, table: str) -> pads.Dataset:
    return open_table(lake, table).to_pyarrow_dataset(filesystem=native_filesystem(lake, table))


def _landed_since(lake: Lake, table: str, source: DatabaseSource, start: datetime) -> set[tuple[object, ...]]:
    """Rows of the overlap: they come once more, and are no news."""
    dataset = _dataset(lake, table)
    columns = sorted(name for name in dataset.schema.names if name != "partition_key")
    rows = dataset.to_table(columns=columns, filter=pc.field(source.known_time) >= pa.scalar(start, UTC_TIMESTAMP))
    return set(zip(*(column.to_pylist() for column in rows.columns), strict=True))


def _chunks(reader: pa.RecordBatchReader, seen: set[tuple[object, ...]]) -> Iterator[tuple[pa.Table, bool]]:
    """Rows that are news, in tables of bounded size, and whether each is the last."""
    held: list[pa.RecordBatch] = []
    n_rows = 0
    for batch in reader:
        fresh = _without(batch, seen) if seen else batch
        if n_rows + fresh.num_rows > ROWS_PER_COMMIT and held:
            yield pa.Table.from_batches(held), False
            held, n_rows = [], 0
        if fresh.num_rows:
            held.append(fresh)
            n_rows += fresh.num_rows
    if held:
        yield pa.Table.from_batches(held), True


def _without(batch: pa.RecordBatch, seen: set[tuple[object, ...]]) -> pa.RecordBatch:
    rows = zip(*(batch[name].to_pylist() for name in sorted(batch.schema.names)), strict=True)
    return batch.filter(pa.array([row not in seen for row in rows], pa.bool_()))


def _moment(microseconds: int) -> datetime:
    return datetime.fromtimestamp(microseconds / 1_000_000, UTC)


def _microseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000
