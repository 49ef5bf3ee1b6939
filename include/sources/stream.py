"""What a driver hands over: a schema and batches, within a deadline."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from include.errors import SourceUnavailableError

BATCH_ROWS = 65_536


@dataclass(frozen=True, kw_only=True)
class Stream:
    """Batches of one query, all of one schema; read once, while the connection is open."""

    schema: pa.Schema
    batches: Iterator[pa.RecordBatch]


class Deadline:
    """A bound on the whole of reading one partition: connecting, waiting and every batch."""

    def __init__(self, seconds: float, *, name: str) -> None:
        self.seconds = seconds
        self.name = name
        self._end = time.monotonic() + seconds

    def remaining(self) -> float:
        """Seconds left; raises `SourceUnavailableError` when there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise self.exceeded()
        return left

    def exceeded(self) -> SourceUnavailableError:
        """The error to raise once time is up."""
        return SourceUnavailableError(
            f"{self.name}: not read within {self.seconds:g} s (source.timeout_seconds): retry when the database is "
            "calmer, add an index on the event time, or raise the timeout"
        )
