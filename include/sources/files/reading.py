"""Read one partition's files, one after the other, in the order of their names."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import SourceUnavailableError, UnreadableFileError
from include.lake.fencing import new_token
from include.lake.store import Lake
from include.sources.files.chunks import Chunk, declared_schema
from include.sources.files.csv_format import read_csv
from include.sources.files.dead_letters import DeadLetters, keep_dead_letters
from include.sources.files.excel import read_excel
from include.sources.files.json_lines import read_json_lines
from include.sources.files.listing import check_promise, find_files
from include.sources.files.packing import open_parts
from include.sources.files.parquet import parquet_schema, read_parquet
from include.sources.files.storage import FoundFile, explained
from include.sources.files.waiting import waiting_rows
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN, place_rows
from include.sources.stream import BATCH_ROWS
from include.sources.times import UTC_TIMESTAMP
from include.workflow import FileSource, Workflow
from include.workflow.partitions import PartitionWindow
from include.workflow.sources.files import MODIFIED_AT, PARTITION_KEY

log = logging.getLogger(__name__)

_BEGINNING = datetime(1, 1, 1, tzinfo=UTC)


@contextlib.contextmanager
def open_rows(
    source: FileSource,
    *,
    workflow: Workflow,
    window: PartitionWindow,
    connection_uri: str | None,
    lake: Lake,
    keep_bytes: bool = True,
) -> Iterator[pa.RecordBatchReader]:
    """Open one partition of a workflow's files; what can't be read goes to `<name>/dead_letters`. See `read_files`."""
    # Taken before anything is read: of two tries at once, the one that began last is right.
    token = new_token()

    def keep(letters: pa.RecordBatchReader) -> None:
        n_letters = keep_dead_letters(
            letters, lake=lake, workflow_name=workflow.name, partition_key=window.key, token=token
        )
        if n_letters:
            log.warning("%s %s: %d dead letters", workflow.name, window.key, n_letters)

    with read_files(
        source,
        window=window,
        connection_uri=connection_uri,
        keep_bytes=keep_bytes,
        earliest=workflow.start,
        on_dead_letters=keep,
    ) as reader:
        yield reader


@contextlib.contextmanager
def read_files(
    source: FileSource,
    *,
    window: PartitionWindow,
    connection_uri: str | None,
    keep_bytes: bool = True,
    earliest: datetime = _BEGINNING,
    on_dead_letters: Callable[[pa.RecordBatchReader], None] | None = None,
) -> Iterator[pa.RecordBatchReader]:
    """
    Open the rows of one partition, streamed in batches of at most 65,536; memory stays flat, except for Excel.

    Parameters
    ----------
    source : FileSource
        What to read, and how strictly.
    window : PartitionWindow
        The partition.
    connection_uri : str, optional
        `aws://…`, for S3.
    keep_bytes : bool
        Whether the dead letters hold the bytes that could not be read. They are personal data where the file is:
        without them no value of the file touches a disk, and a file that may turn out to be unreadable is held in
        memory instead.
    earliest : datetime
        Before this no event can have happened.
    on_dead_letters : callable, optional
        Given the dead letters (see `dead_letters.SCHEMA`), also if there are none, once all files are read and before
        the reader ends.

    Yields
    ------
    RecordBatchReader
        The declared columns, `modified_at` if that is the known time, `source_name` (the file, `file.zip!member` or
        `file.xlsx#sheet`) and `source_error`. A record that is no row has an error, and no value in any declared
        column.

    Raises
    ------
    SourceUnavailableError
        If there is no file yet, one may still be growing, changed or vanished meanwhile, or the storage does not
        answer.
    UnreadableFileError
        If a file is truncated, damaged or hostile, and the source says to stop then.
    SourceQueryError
        If a file's columns are not the declared ones, or it may not be read.

    """
    files = find_files(source, window=window, connection_uri=connection_uri)
    schema = declared_schema(source) if source.columns else parquet_schema(files, source)
    with DeadLetters(keep_bytes=keep_bytes) as letters:
        flow = _Flow(
            _Reading(source=source, window=window, earliest=earliest, schema=_full_schema(schema, source)),
            files,
            letters,
        )
        try:
            yield pa.RecordBatchReader.from_batches(flow.reading.schema, flow.batches(on_dead_letters))
        except Exception as error:
            # A consumer outside Python turns our error into one of its own: raise what really happened.
            if flow.failure is None or flow.failure is error:
                raise
            raise flow.failure from error


def _full_schema(schema: pa.Schema, source: FileSource) -> pa.Schema:
    if source.known_time == MODIFIED_AT and MODIFIED_AT not in schema.names:
        schema = schema.append(pa.field(MODIFIED_AT, UTC_TIMESTAMP))
    return schema.append(pa.field(NAME_COLUMN, pa.string())).append(pa.field(ERROR_COLUMN, pa.string()))


@dataclass(frozen=True, kw_only=True)
class _Reading:
    """What is to be read."""

    source: FileSource
    window: PartitionWindow
    earliest: datetime
    schema: pa.Schema

    def arrival_of(self, file: FoundFile) -> datetime:
        """
        When a file came, which places its rows that have no time; not before the workflow's start, where no partition
        is.
        """
        return max(file.modified_at, self.earliest)

    def is_home_of(self, file: FoundFile) -> bool:
        """Whether the partition is the one that accounts for a file's bad records: every file has one."""
        return PARTITION_KEY in self.source.path or self.window.start <= self.arrival_of(file) < self.window.end


class _Flow:
    """Goes through the files; remembers the error that stopped it."""

    def __init__(self, reading: _Reading, files: list[FoundFile], letters: DeadLetters) -> None:
        self.reading, self._files, self._letters = reading, files, letters
        self._end = time.monotonic() + reading.source.timeout_seconds
        self.failure: Exception | None = None

    def batches(self, on_dead_letters: Callable[[pa.RecordBatchReader], None] | None) -> Iterator[pa.RecordBatch]:
        try:
            for file in self._files:
                yield from self._of_file(file)
            if on_dead_letters is not None:
                on_dead_letters(self._letters.reader())
        except Exception as error:
            self.failure = error
            raise

    def _of_file(self, file: FoundFile) -> Iterator[pa.RecordBatch]:
        if self.reading.source.on_unreadable == "stop":
            yield from self._checked(file, self._letters)
            return
        # Nothing of a file may be published before all of it was read.
        with (
            DeadLetters(keep_bytes=self._letters.keep_bytes) as letters,
            waiting_rows(self.reading.schema, on_disk=self._letters.keep_bytes) as waiting,
        ):
            try:
                waiting.fill(self._checked(file, letters))
            except UnreadableFileError as error:
                log.warning("%s is left out: %s", file.name, error)
                self._letters.add_file(file, error)
                return
            self._letters.add_all(letters)
            yield from waiting.batches()

    def _checked(self, file: FoundFile, letters: DeadLetters) -> Iterator[pa.RecordBatch]:
        """Read a file, and make sure that it was the same from start to end."""
        try:
            check_promise(file, self.reading.source)
            for name, chunk in _chunks(file, self.reading):
                if self.reading.is_home_of(file):
                    letters.add_chunk(chunk, file=name)
                rows = _finish(chunk, file, name, self.reading)
                for start in range(0, rows.num_rows, BATCH_ROWS):
                    self._check_time()
                    yield rows.slice(start, BATCH_ROWS)
        except UnreadableFileError:
            # A file that is being written looks cut.
            with explained(file.name):
                file.require_unchanged()
            raise
        with explained(file.name):
            file.require_unchanged()

    def _check_time(self) -> None:
        if time.monotonic() > self._end:
            raise SourceUnavailableError(
                f"{self.reading.source.path}: not read within {self.reading.source.timeout_seconds:g} s: raise "
                "source.timeout_seconds"
            )


def _chunks(file: FoundFile, reading: _Reading) -> Iterator[tuple[str, Chunk]]:
    source = reading.source
    if source.format == "excel":
        yield from read_excel(file, source)
    elif source.format == "parquet":
        yield from read_parquet(
            file, source, schema=pa.schema([f for f in reading.schema if f.name not in (NAME_COLUMN, ERROR_COLUMN)])
        )
    else:
        read = read_csv if source.format == "csv" else read_json_lines
        for part in open_parts(file, source):
            for chunk in read(part, source):
                yield part.name, chunk


def _finish(chunk: Chunk, file: FoundFile, name: str, reading: _Reading) -> pa.RecordBatch:
    """Add what the source tells of each row, and leave out the rows of other partitions."""
    rows, n_rows = chunk.rows, chunk.rows.num_rows
    modified_at = pa.repeat(pa.scalar(file.modified_at, UTC_TIMESTAMP), n_rows)
    if MODIFIED_AT in reading.schema.names and MODIFIED_AT not in rows.schema.names:
        rows = rows.append_column(MODIFIED_AT, modified_at)
    rows = rows.append_column(NAME_COLUMN, pa.repeat(pa.scalar(name, pa.string()), n_rows)).append_column(
        ERROR_COLUMN, chunk.errors
    )
    if PARTITION_KEY in reading.source.path:
        return _mark_strays(rows, reading)
    table = place_rows(
        pa.Table.from_batches([rows]),
        event_time=reading.source.event_time,
        arrived_at=pa.repeat(pa.scalar(reading.arrival_of(file), UTC_TIMESTAMP), n_rows),
        window=reading.window,
        earliest=reading.earliest,
    ).combine_chunks()
    return table.to_batches()[0] if table.num_rows else rows.slice(0, 0)


def _mark_strays(rows: pa.RecordBatch, reading: _Reading) -> pa.RecordBatch:
    """A row of another time than its file's is kept, with an error: no other partition reads it."""
    name = reading.source.event_time
    times = rows.column(name).cast(UTC_TIMESTAMP)
    start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (reading.window.start, reading.window.end))
    is_stray = pc.fill_null(pc.or_(pc.less(times, start), pc.greater_equal(times, end)), False)
    reason = pc.if_else(
        is_stray, f"column '{name}' lies outside the partition that the file is named for", pa.scalar(None, pa.string())
    )
    position = rows.schema.names.index(ERROR_COLUMN)
    return rows.set_column(position, ERROR_COLUMN, pc.coalesce(rows.column(ERROR_COLUMN), reason))
