"""
Rows of one file that wait until all of it was read: nothing of a file that turns out to be damaged may
be handed on.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa

FOLDER_PREFIX = "updraft-file-"


class WaitingRows:
    """Batches, written once and then read back: in a local file, so that memory stays flat, or in memory."""

    def __init__(self, schema: pa.Schema, sink: Any, *, path: str | None = None) -> None:
        self._schema, self._sink, self._path = schema, sink, path

    def fill(self, batches: Iterable[pa.RecordBatch]) -> None:
        """Take in all batches."""
        with pa.ipc.new_file(self._sink, self._schema) as writer:
            for batch in batches:
                writer.write_batch(batch)
        self._sink.flush()

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Give them back."""
        with pa.BufferReader(self._sink.getvalue()) if self._path is None else pa.memory_map(self._path) as stored:
            file = pa.ipc.open_file(stored)
            yield from (file.get_batch(i) for i in range(file.num_record_batches))


@contextlib.contextmanager
def waiting_rows(schema: pa.Schema, *, on_disk: bool) -> Iterator[WaitingRows]:
    """Give a place where rows of a schema wait, for as long as the `with` block."""
    if not on_disk:
        yield WaitingRows(schema, pa.BufferOutputStream())
        return
    with tempfile.TemporaryDirectory(prefix=FOLDER_PREFIX) as folder:
        path = str(Path(folder) / "rows.arrow")
        with pa.OSFile(path, "wb") as sink:
            yield WaitingRows(schema, sink, path=path)
