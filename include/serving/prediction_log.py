"""
Every answered prediction, in the lake's table `<name>/predictions`.

Requests append to the spool; a thread moves closed spool files to the lake, each exactly once: the commit carries the
spool's identity and the file's number as a Delta transaction, so that after a crash between the commit and the
deletion of a file the lake itself says that it has the file.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake

from include.lake.crash_points import crash_point
from include.lake.store import Lake, open_or_create_table, table_uri
from include.serving.spool import SpoolWriter, close_abandoned, closed_files, collecting, complete_lines, spool_id

logger = logging.getLogger(__name__)

MAX_WAIT_SECONDS = 60.0
ROWS_PER_COMMIT = 50_000

PREDICTIONS_SCHEMA = pa.schema(
    [
        ("request_id", pa.string()),
        ("row_index", pa.int64()),
        ("inputs", pa.string()),
        ("label", pa.bool_()),
        ("score", pa.float64()),
        ("model_version", pa.string()),
        ("predicted_at", pa.timestamp("us", tz="UTC")),
        ("partition_key", pa.string()),
    ]
)


class PredictionLog:
    """
    Spools predictions and moves them to the lake.

    Parameters
    ----------
    folder : Path
        The spool: a folder on this machine that survives a restart.
    table : str
        The lake's table, `<name>/predictions`.
    every_seconds, every_rows
        How long, and how many rows, a prediction waits at most before it is moved.

    """

    def __init__(
        self, folder: Path, *, lake: Lake, table: str, every_seconds: float = 5.0, every_rows: int = 5_000
    ) -> None:
        self._folder = folder
        self._lake = lake
        self._table = table
        self._every_seconds = every_seconds
        self._every_rows = every_rows
        self._writer = SpoolWriter(folder)
        self._wake = threading.Event()
        self._is_closing = False
        self._thread: threading.Thread | None = None
        self.n_collected = 0
        self.last_error: str | None = None

    def append(
        self,
        *,
        request_id: str,
        model_version: str,
        inputs: Sequence[dict[str, Any]],
        scores: Sequence[float],
        labels: Sequence[bool | None],
    ) -> None:
        """
        Write one request's predictions down, before it is answered. Raises SpoolFullError if that is not
        possible.
        """
        line = {
            "id": request_id,
            "version": model_version,
            "at": time.time_ns() // 1000,
            "inputs": inputs,
            "scores": scores,
            "labels": labels,
        }
        self._writer.append(orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE), n_rows=len(scores))
        if self._writer.n_rows >= self._every_rows:
            self._wake.set()

    def start(self) -> None:
        """Start the thread that collects; the first thing it does is to collect what an earlier process left."""
        self._thread = threading.Thread(target=self._collect_forever, name="predictions", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """
        Stop the thread and collect once more. What the lake does not take now stays in the spool for the
        next start.
        """
        self._is_closing = True
        self._wake.set()
        if self._thread is not None:
            self._thread.join()
        self._try_to_collect()

    def collect(self) -> int:
        """Move all that has been answered so far to the lake; the number of rows moved."""
        self._writer.rotate()
        crash_point("predictions.before_numbering")
        with collecting(self._folder):
            return self._collect_closed()

    @property
    def n_waiting(self) -> int:
        """Rows in the file that is being written: neither collected nor closed yet."""
        return self._writer.n_rows

    def _collect_forever(self) -> None:
        n_failures = 0
        while not self._is_closing:
            n_failures = 0 if self._try_to_collect() else n_failures + 1
            self._wake.wait(min(MAX_WAIT_SECONDS, self._every_seconds * 2 ** min(n_failures, 8)))
            self._wake.clear()

    def _try_to_collect(self) -> bool:
        try:
            self.collect()
        except Exception as error:  # a lake that is away must not end the thread: the spool keeps what it did not take
            self.last_error = type(error).__name__
            logger.warning("predictions stay in the spool %s for now: %s", self._folder, error)
            return False
        self.last_error = None
        return True

    def _collect_closed(self) -> int:
        if not any(self._folder.glob("*.jsonl")):
            return 0
        table = open_or_create_table(self._lake, self._table, PREDICTIONS_SCHEMA, partition_by="partition_key")
        application = f"predictions:{spool_id(self._folder)}"
        n_done = int(table.transaction_version(application) or 0)
        close_abandoned(self._folder, after=n_done)
        n_rows = 0
        batch: list[tuple[int, Path]] = []
        rows: list[dict[str, Any]] = []
        for number, path in closed_files(self._folder):
            batch.append((number, path))
            # A file up to this number is in the lake: a crash came before its deletion.
            rows += rows_of_file(path) if number > n_done else []
            if len(rows) >= ROWS_PER_COMMIT:
                n_rows += self._move(batch, rows, application=application)
                batch, rows = [], []
        n_rows += self._move(batch, rows, application=application)
        self.n_collected += n_rows
        return n_rows

    def _move(self, batch: Sequence[tuple[int, Path]], rows: list[dict[str, Any]], *, application: str) -> int:
        if rows:
            transaction = Transaction(application, batch[-1][0])
            crash_point("predictions.before_commit")
            write_deltalake(
                table_uri(self._lake, self._table),
                pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA),
                mode="append",
                storage_options=dict(self._lake.storage_options),
                commit_properties=CommitProperties(app_transactions=[transaction]),
            )
            crash_point("predictions.before_deletion")
        for _, path in batch:
            path.unlink()
        return len(rows)


def rows_of_file(path: Path) -> list[dict[str, Any]]:
    """
    Rows of the table that a spool file holds. A line that cannot be read is kept beside it, in
    `unreadable.jsonl`.
    """
    rows: list[dict[str, Any]] = []
    for line in complete_lines(path):
        try:
            rows += _rows_of_request(orjson.loads(line))
        except (ValueError, KeyError, TypeError) as error:
            logger.error(
                "%s holds a line that cannot be read (%s): kept in unreadable.jsonl", path.name, type(error).__name__
            )
            with (path.parent / "unreadable.jsonl").open("ab") as file:
                file.write(line + b"\n")
    return rows


def _rows_of_request(request: dict[str, Any]) -> list[dict[str, Any]]:
    predicted_at = datetime.fromtimestamp(request["at"] // 1_000_000, tz=UTC).replace(
        microsecond=request["at"] % 1_000_000
    )
    # A line that was spooled before labels were written down is of a model whose threshold was a half.
    labels = request.get("labels") or [score >= 0.5 for score in request["scores"]]
    return [
        {
            "request_id": request["id"],
            "row_index": i,
            "inputs": orjson.dumps(inputs).decode(),
            "label": label,
            "score": score,
            "model_version": request["version"],
            "predicted_at": predicted_at,
            "partition_key": predicted_at.date().isoformat(),
        }
        for i, (inputs, score, label) in enumerate(zip(request["inputs"], request["scores"], labels, strict=True))
    ]
