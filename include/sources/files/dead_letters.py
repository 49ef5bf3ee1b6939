"""
What could not be read, kept byte for byte: `<name>/dead_letters`, a partition of it for each partition of the source.

A row is a record that is no row, or a whole file of which nothing was read. It holds nothing of the run, so the same
files give the same bytes again. Dead letters wait in a local file until the partition is read, so that memory stays
flat.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa

from include.errors import UnreadableFileError
from include.lake.crash_points import crash_point
from include.lake.partitions import list_partitions, replace_partition
from include.lake.store import Lake, table_exists
from include.sources.files.chunks import Chunk, Location
from include.sources.files.lines import KEPT_BYTES
from include.sources.files.storage import FoundFile

SCHEMA = pa.schema(
    [
        ("file", pa.string()),
        ("byte_offset", pa.int64()),
        ("byte_length", pa.int64()),
        ("row_number", pa.int64()),
        ("reason", pa.string()),
        ("digest", pa.string()),
        ("bytes", pa.binary()),
    ]
)
_FLUSH_BYTES = 8 * 2**20


class DeadLetters:
    """
    Collects what could not be read, in the files' order; a context manager.

    With `keep_bytes=False` neither the bytes nor their digest are kept: of a short text a digest gives the text away.
    """

    def __init__(self, *, keep_bytes: bool) -> None:
        self.keep_bytes = keep_bytes
        self._rows: list[dict[str, object]] = []
        self._waiting_bytes = 0
        self.n_rows = 0

    def __enter__(self) -> DeadLetters:
        self._folder = tempfile.TemporaryDirectory(prefix="updraft-dead-letters-")
        self._path = Path(self._folder.name) / "letters.arrow"
        self._writer = pa.ipc.new_file(str(self._path), SCHEMA)
        return self

    def __exit__(self, *_: object) -> None:
        self._writer.close()
        self._folder.cleanup()

    def add_chunk(self, chunk: Chunk, *, file: str) -> None:
        """Enter each record of a chunk that has an error."""
        if chunk.errors.null_count == len(chunk.errors):
            return
        for position in chunk.errors.is_valid().to_numpy(zero_copy_only=False).nonzero()[0].tolist():
            self._add(file, chunk.locate(position), chunk.errors[position].as_py())

    def add_file(self, file: FoundFile, error: UnreadableFileError) -> None:
        """Enter a whole file: its size, its digest, its first bytes."""
        location = Location(
            data=file.head() if self.keep_bytes else None, byte_offset=error.byte_offset, byte_length=file.size
        )
        self._add(error.file, location, error.reason, digest=file.digest() if self.keep_bytes else None)

    def add_all(self, other: DeadLetters) -> None:
        """Enter what another has collected."""
        for batch in other.reader():
            for row in batch.to_pylist():
                self._append(row)

    def reader(self) -> pa.RecordBatchReader:
        """Return all of them as a stream; nothing can be added afterwards."""
        self._flush()
        self._writer.close()
        file = pa.ipc.open_file(pa.memory_map(str(self._path)))
        return pa.RecordBatchReader.from_batches(SCHEMA, (file.get_batch(i) for i in range(file.num_record_batches)))

    def _add(self, file: str, location: Location, reason: str, *, digest: str | None = None) -> None:
        data = location.data if self.keep_bytes else None
        self._append(
            {
                "file": file,
                "byte_offset": location.byte_offset,
                "byte_length": location.byte_length,
                "row_number": location.row_number,
                "reason": reason,
                "digest": hashlib.sha256(data).hexdigest() if digest is None and data is not None else digest,
                "bytes": None if data is None else data[:KEPT_BYTES],
            }
        )

    def _append(self, row: dict[str, object]) -> None:
        self._rows.append(row)
        self.n_rows += 1
        data = row["bytes"]
        self._waiting_bytes += 200 + (len(data) if isinstance(data, bytes) else 0)
        if self._waiting_bytes > _FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_batch(pa.RecordBatch.from_pylist(self._rows, schema=SCHEMA))
        self._rows, self._waiting_bytes = [], 0


def keep_dead_letters(
    letters: pa.RecordBatchReader, *, lake: Lake, workflow_name: str, partition_key: str, token: int
) -> int:
    """
    Make these the dead letters of a partition; the same ones again change nothing.

    Returns
    -------
    int
        How many there are.

    """
    table = f"{workflow_name}/dead_letters"
    first = next(_non_empty(letters), None)
    if first is None and not (table_exists(lake, table) and partition_key in list_partitions(lake, table)):
        return 0
    batches = _chain(first, letters)
    crash_point("keep_dead_letters.before_commit")
    commit = replace_partition(
        lake, table, partition_key, pa.RecordBatchReader.from_batches(SCHEMA, batches), token=token
    )
    crash_point("keep_dead_letters.after_commit")
    return commit.n_rows


def _non_empty(letters: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    return (batch for batch in letters if batch.num_rows)


def _chain(first: pa.RecordBatch | None, rest: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
    if first is not None:
        yield first
        yield from rest
