"""
Data on its way into a partition: in the lake's types and order, digested, encoded once into a local Parquet file.

A stream can be read only once, and has to be compared with what the lake holds before anything is written there: so it
waits in a local file, and memory stays flat whatever its size.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import DataError
from include.lake.digests import TableDigest
from include.lake.schemas import cast_batch, lake_schema

POSITION_COLUMN = "source_position"
# Who writes or reads Parquet holds a row group or two in memory.
ROW_GROUP_ROWS = 131_072
BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Spool:
    """Rows that are ready to be written: a Parquet file on local disk."""

    path: Path
    schema: pa.Schema
    digest: str
    n_rows: int


@contextlib.contextmanager
def spooled(
    data: pa.Table | pa.RecordBatchReader, *, stored: pa.Schema | None = None, ignore_in_digest: Sequence[str] = ()
) -> Iterator[Spool]:
    """
    Encode data into a local file that lives as long as the `with` block.

    Parameters
    ----------
    data : Table or RecordBatchReader
        Rows without the partition's key. A table is sorted by `source_position` if it has one; a stream has to come in
        that order.
    stored : Schema, optional
        The lake table's schema, which the data has to fit.
    ignore_in_digest : sequence of str
        Columns that do not make rows differ.

    Raises
    ------
    DataError
        If a column or value does not fit, or a stream is out of order.

    """
    schema = lake_schema(data.schema, stored=stored)
    digest = TableDigest(ignore=ignore_in_digest)
    batches = _in_order(data).to_batches(max_chunksize=BATCH_ROWS) if isinstance(data, pa.Table) else data
    with tempfile.TemporaryDirectory(prefix="updraft-spool-") as folder:
        path = Path(folder) / "rows.parquet"
        with pq.ParquetWriter(path, schema, write_page_checksum=True) as writer:
            for batch in _checked_order(cast_batch(batch, schema) for batch in batches):
                digest.update(batch)
                for start in range(0, batch.num_rows, ROW_GROUP_ROWS):
                    writer.write_batch(batch.slice(start, ROW_GROUP_ROWS), row_group_size=ROW_GROUP_ROWS)
        yield Spool(path=path, schema=schema, digest=digest.hexdigest(), n_rows=digest.n_rows)


def _in_order(table: pa.Table) -> pa.Table:
    if POSITION_COLUMN not in table.schema.names or _is_sorted(table.column(POSITION_COLUMN)):
        return table
    return table.sort_by(POSITION_COLUMN)


def _is_sorted(positions: pa.ChunkedArray | pa.Array) -> bool:
    return len(positions) < 2 or bool(pc.all(pc.less_equal(positions[:-1], positions[1:]), skip_nulls=False).as_py())


def _checked_order(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    last = None
    for batch in batches:
        if POSITION_COLUMN in batch.schema.names and batch.num_rows:
            positions = batch.column(POSITION_COLUMN)
            if positions.null_count or not _is_sorted(positions) or (last is not None and positions[0].as_py() < last):
                raise DataError(
                    f"the rows must come in the order of {POSITION_COLUMN!r}, without a null: number them as they are "
                    "read"
                )
            last = positions[-1].as_py()
        yield batch
