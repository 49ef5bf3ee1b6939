"""
Keep the tables lean: merge small files, remove files that nothing needs, and what killed processes left behind.

Files of old versions go once they were replaced longer ago than `SAFETY_WINDOW`, but never those of a version that
somebody may ask for again: what `ledger/runs` names of raw and quarantine, and every version of `validated`, to which
models' snapshots are pinned.
"""

from __future__ import annotations

import shutil
import tempfile
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
from deltalake.exceptions import CommitFailedError
from pyarrow import fs

from include.errors import ConcurrentWriteError
from include.lake.erasures import ERASURES
from include.lake.file_history import data_files, delete_file, file_spans
from include.lake.incident_events import INCIDENTS
from include.lake.ledger import DECISIONS, MONITORING, PROMOTIONS, RUNS, read_ledger
from include.lake.rewriting import rewrite_partition
from include.lake.schemas import PARTITION_COLUMN
from include.lake.store import TABLE_SEGMENT, Lake, native_filesystem, open_table, table_exists

LEDGER = (RUNS, DECISIONS, PROMOTIONS, MONITORING, ERASURES, INCIDENTS)
SAFETY_WINDOW = timedelta(days=7)
ORPHAN_AGE = timedelta(hours=24)  # no try lives that long: its file will be named by no commit any more
SPOOLS = ("updraft-spool-*", "updraft-file-*", "updraft-dead-letters-*")
SMALL_FILES = 4  # from so many files on a partition is worth a merge
LARGEST_MERGE_BYTES = 256 * 2**20  # a merge holds the partition in memory


@dataclass(frozen=True, kw_only=True)
class TableReport:
    """What maintenance did to one table, or would do: counts of files."""

    table: str
    n_merged: int = 0
    n_outdated: int = 0
    n_orphans: int = 0
    bytes_freed: int = 0


def list_tables(lake: Lake, workflow: str) -> list[str]:
    """Return the names of all tables of a workflow, sorted."""
    selector = fs.FileSelector("", allow_not_found=True)
    folders = [
        info.base_name
        for info in native_filesystem(lake, workflow).get_file_info(selector)
        if info.type == fs.FileType.Directory
    ]
    tables = [f"{workflow}/{name}" for name in sorted(folders) if TABLE_SEGMENT.fullmatch(name)]
    return [table for table in tables if table_exists(lake, table)]


def maintain_tables(lake: Lake, workflow: str, *, now: datetime, dry_run: bool = False) -> list[TableReport]:
    """
    Compact and vacuum every table of a workflow.

    Parameters
    ----------
    lake, workflow
        Whose tables.
    now : datetime
        Ages count from here.
    dry_run : bool
        Count only.

    """
    return [
        maintain_table(lake, table, now=now, keep=_needed_versions(lake, table), dry_run=dry_run)
        for table in list_tables(lake, workflow)
    ]


def maintain_ledger(lake: Lake, *, now: datetime, dry_run: bool = False) -> list[TableReport]:
    """Compact and vacuum the tables of the ledger."""
    tables = [table for table in LEDGER if table_exists(lake, table)]
    return [maintain_table(lake, table, now=now, keep=(), dry_run=dry_run) for table in tables]


def maintain_table(
    lake: Lake, table: str, *, now: datetime, keep: Collection[int] | None, dry_run: bool = False
) -> TableReport:
    """
    Compact and vacuum one table.

    Parameters
    ----------
    lake, table
        Which one.
    now : datetime
        Ages count from here.
    keep : collection of int, optional
        Old versions whose files stay; None keeps all versions.
    dry_run : bool
        Count only.

    """
    n_merged = compact(lake, table, dry_run=dry_run)
    spans = file_spans(lake, table)
    freed = 0
    counts = Counter({"n_outdated": 0, "n_orphans": 0})
    for file in data_files(lake, table):
        span = spans.get(file.path)
        if span is None:
            kind, is_free = "n_orphans", file.written_at < now - ORPHAN_AGE
        else:
            kind = "n_outdated"
            is_old = span.removed_at is not None and span.removed_at < now - SAFETY_WINDOW
            is_free = is_old and keep is not None and not any(span.is_in(version) for version in keep)
        if is_free:
            counts[kind] += 1
            freed += file.size_bytes
            if not dry_run:
                delete_file(lake, table, file.path)
    return TableReport(table=table, n_merged=n_merged, bytes_freed=freed, **counts)


def compact(lake: Lake, table: str, *, dry_run: bool = False) -> int:
    """
    Merge the small files of each partition into one, with the same rows in the same order.

    A partition that others change meanwhile is read again; one that they change all the time waits for the next
    maintenance.

    Returns
    -------
    int
        How many files were merged, or would be.

    """
    files = pa.table(open_table(lake, table).get_add_actions(flatten=True))
    column = next((name for name in files.column_names if name.startswith("partition.")), None)
    if column is None or not files.num_rows:
        return 0
    grouped = files.group_by(column).aggregate([("path", "count"), ("size_bytes", "sum")]).to_pylist()
    small = [
        part for part in grouped if part["path_count"] >= SMALL_FILES and part["size_bytes_sum"] <= LARGEST_MERGE_BYTES
    ]
    if not dry_run and column != f"partition.{PARTITION_COLUMN}":
        _merge_ledger(lake, table, is_needed=bool(small))
    elif not dry_run:
        small = [part for part in small if _merge_partition(lake, table, part[column])]
    return sum(part["path_count"] for part in small)


def _merge_partition(lake: Lake, table: str, key: str) -> bool:
    try:
        rewrite_partition(lake, table, key, lambda rows: rows)
    except ConcurrentWriteError:
        return False
    return True


def _merge_ledger(lake: Lake, table: str, *, is_needed: bool) -> None:
    """
    The ledger's readers sort: Delta's own merge, which keeps no order, will do. An append at the same time is no
    conflict.
    """
    if is_needed:
        try:
            open_table(lake, table).optimize.compact()
        except CommitFailedError as error:
            raise ConcurrentWriteError(
                f"{table!r} was merged by another process at the same time: run again"
            ) from error


def _needed_versions(lake: Lake, table: str) -> Collection[int] | None:
    workflow, _, name = table.partition("/")
    column = {"raw": "raw_version", "quarantine": "quarantine_version"}.get(name)
    if name == "validated":
        return None
    if column is None:
        return ()
    runs = read_ledger(lake, RUNS, workflow=workflow)
    latest = dict(zip(runs["partition_key"].to_pylist(), runs[column].to_pylist(), strict=True))
    return frozenset(latest.values())


def remove_old_spools(*, now: datetime, dry_run: bool = False) -> int:
    """Remove the temporary folders of this machine's killed readers and writers; return how many there were."""
    found = [folder for pattern in SPOOLS for folder in Path(tempfile.gettempdir()).glob(pattern)]
    old = [folder for folder in found if _written_at(folder) < now - ORPHAN_AGE]
    for folder in old if not dry_run else []:
        shutil.rmtree(folder, ignore_errors=True)
    return len(old)


def _written_at(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except FileNotFoundError:  # its writer was faster
        return datetime.max.replace(tzinfo=UTC)
