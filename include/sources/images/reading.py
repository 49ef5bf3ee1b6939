"""
One partition of an image source: list, read the annotations, decode in a small pool of threads, place in time, look for
copies.

Rows hold what was found and no pixels, so that a partition's rows fit into memory: `max_images` bounds them. At most
twice as many images as there are `workers` are in memory at once.
"""

from __future__ import annotations

import contextlib
import logging
import time
import warnings
from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import timedelta
from fnmatch import fnmatchcase
from itertools import islice

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ImageFolderError, SourceUnavailableError
from include.lake.crash_points import crash_point
from include.lake.store import Lake
from include.sources.images.annotations import Annotations, ImageNames, LooseFault
from include.sources.images.decoding import Picture, inspect_file
from include.sources.images.duplicates import refuse_duplicates
from include.sources.images.folders import Entry, Folder, list_entries
from include.sources.images.layouts import coco, label_studio, pascal_voc
from include.sources.images.roots import open_folder
from include.sources.images.rows import Row, row_of_loose_fault, rows_in_class_folder, rows_with_boxes, schema_of
from include.sources.images.videos import VIDEO_SUFFIXES, inspect_video
from include.sources.placement import ERROR_COLUMN, place_rows
from include.sources.times import UTC_TIMESTAMP
from include.workflow import ImageSource, Workflow
from include.workflow.partitions import PartitionWindow

BATCH_ROWS = 8_192
_READERS = {"coco": coco.read, "pascal_voc": pascal_voc.read, "label_studio": label_studio.read}
# most cameras write local time, without its zone: it may seem to lie after the file's own
_TOLERANCE = timedelta(hours=14)
_LOG = logging.getLogger(__name__)


@contextlib.contextmanager
def open_rows(
    source: ImageSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake
) -> Iterator[pa.RecordBatchReader]:
    """
    Open one partition of a workflow's images.

    Yields
    ------
    RecordBatchReader
        One row an image, or a box; sorted by path, then what belongs to no image. `source_error` says what is wrong
        with a row.

    Raises
    ------
    ImageFolderError
        If the root is not there or holds too many files, or no annotation file matches.
    SourceUnavailableError
        If the store does not answer, or not in time.

    """
    folder = open_folder(source, partition_key=window.key, connection_uri=connection_uri, lake=lake)
    reading = _Reading(source, folder, window)
    rows = reading.rows()
    crash_point("images.after_decoding")
    rows = _place(rows, source, window, workflow=workflow)
    rows = refuse_duplicates(rows, source)
    _report(rows, window)
    yield pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=BATCH_ROWS))


class _Reading:
    """The listed files of one partition, and how far reading them has come."""

    def __init__(self, source: ImageSource, folder: Folder, window: PartitionWindow) -> None:
        self._source, self._folder, self._window = source, folder, window
        self._end = time.monotonic() + source.timeout_seconds

    def rows(self) -> pa.Table:
        """All rows, in order."""
        entries = list_entries(self._folder, limit=self._source.max_images)
        crash_point("images.after_listing")
        files = [entry for entry in entries if self._is_annotation(entry)]
        images = [entry for entry in entries if not self._is_annotation(entry)]
        annotations = self._annotations(files, images)
        found, schema = self._found(images, annotations), schema_of(self._source)
        batches = []
        while batch := list(islice(found, BATCH_ROWS)):
            batches.append(pa.RecordBatch.from_pylist(batch, schema=schema))
            crash_point("images.after_batch")
        return pa.Table.from_batches(batches, schema=schema)

    def _is_annotation(self, entry: Entry) -> bool:
        return self._source.annotations is not None and fnmatchcase(entry.path, self._source.annotations)

    def _annotations(self, files: Sequence[Entry], images: Sequence[Entry]) -> Annotations:
        if self._source.layout == "class_folders":
            return Annotations()
        if not files:
            raise ImageFolderError(
                f"{self._folder.uri_of('')}: no file matches source.annotations={self._source.annotations!r}: correct "
                "it"
            )
        return _READERS[self._source.layout](self._folder, files, ImageNames(images))

    def _found(self, images: Sequence[Entry], annotations: Annotations) -> Iterator[Row]:
        wanted = [entry for entry in images if self._is_wanted(entry)]
        with _quiet_decoders():
            for entry, pictures in zip(
                wanted, _in_order(self._inspect, wanted, workers=self._source.workers), strict=True
            ):
                self._check_time()
                for picture in pictures:
                    yield from self._rows_of(entry, picture, annotations)
        yield from (row_of_loose_fault(loose) | self._start() for loose in annotations.loose if self._is_wanted(loose))

    def _is_wanted(self, item: Entry | LooseFault) -> bool:
        """Whether an image has to be read: by its file's time alone it may be known to belong elsewhere."""
        if self._source.is_cut_by_path or self._source.event_time != "modified_at":
            return True
        return self._window.start <= item.modified_at < self._window.end

    def _inspect(self, entry: Entry) -> list[Picture]:
        if self._source.videos and entry.suffix in VIDEO_SUFFIXES:
            return inspect_video(self._folder, entry, self._source, check_time=self._check_time)
        return [inspect_file(self._folder, entry, self._source)]

    def _rows_of(self, entry: Entry, picture: Picture, annotations: Annotations) -> Iterator[Row]:
        uri = self._folder.uri_of(entry.path)
        if self._source.is_class_folders:
            rows = rows_in_class_folder(entry, picture, uri=uri, source=self._source)
        else:
            rows = rows_with_boxes(entry, picture, annotations.by_path.get(entry.path), uri=uri, source=self._source)
        return (row | self._start() for row in rows)

    def _start(self) -> Row:
        return {"partition_start": self._window.start}

    def _check_time(self) -> None:
        if time.monotonic() > self._end:
            raise SourceUnavailableError(
                f"{self._folder.uri_of('')}: not read within {self._source.timeout_seconds:g} s "
                "(source.timeout_seconds): raise it, or cut the root into smaller partitions"
            )


def _in_order(
    work: Callable[[Entry], list[Picture]], entries: Sequence[Entry], *, workers: int
) -> Iterator[list[Picture]]:
    """Work in threads, a bounded number ahead; results come in the order of the entries."""
    running: deque[Future[list[Picture]]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="images") as pool:
        try:
            for entry in entries:
                running.append(pool.submit(work, entry))
                if len(running) >= 2 * workers:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


@contextlib.contextmanager
def _quiet_decoders() -> Iterator[None]:
    """Decoders warn of what they mend or refuse (odd EXIF, many pixels): what matters of it is in the rows."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module=r"PIL\.|imagehash")
        yield


def _place(rows: pa.Table, source: ImageSource, window: PartitionWindow, *, workflow: Workflow) -> pa.Table:
    """Keep the rows of the partition. In a folder of its own each is, but one whose time says otherwise is refused."""
    start, end = (pa.scalar(bound, UTC_TIMESTAMP) for bound in (window.start, window.end))
    if not source.is_cut_by_path:
        # An image older than the workflow, which has no other time, still has to be in some partition.
        earliest = pa.scalar(workflow.start, UTC_TIMESTAMP)
        is_older = pc.less(rows["modified_at"], earliest) if source.event_time != "modified_at" else pa.scalar(False)
        arrived_at = pc.if_else(is_older, earliest, rows["modified_at"])
        return place_rows(
            rows,
            event_time=source.event_time,
            arrived_at=arrived_at,
            window=window,
            earliest=workflow.start,
            tolerance=_TOLERANCE,
        )
    times = rows[source.event_time]
    is_outside = pc.fill_null(pc.or_(pc.less(times, start), pc.greater_equal(times, end)), False)
    fault = pc.if_else(
        is_outside, f"{source.event_time}: lies outside the partition of its folder", pa.scalar(None, pa.string())
    )
    return rows.set_column(rows.column_names.index(ERROR_COLUMN), ERROR_COLUMN, pc.coalesce(rows[ERROR_COLUMN], fault))


def _report(rows: pa.Table, window: PartitionWindow) -> None:
    good = rows.filter(rows[ERROR_COLUMN].is_null())
    counts = sorted(Counter(good["label"].drop_null().to_pylist()).values()) or [0]
    # How many of each, not which: a class may be a person's name.
    _LOG.info(
        "%s: %d rows, %d refused; %d classes, the smallest of %d rows, the largest of %d",
        *(window.key, rows.num_rows, rows.num_rows - good.num_rows, len(counts), counts[0], counts[-1]),
    )
