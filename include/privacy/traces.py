"""The files of all versions that hold rows which have to go: found, and removed from storage."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.parquet as pq

from include.errors import ConcurrentWriteError
from include.lake.crash_points import crash_point
from include.lake.file_history import DataFile, data_files, delete_file, file_spans
from include.lake.files import list_files
from include.lake.maintenance import ORPHAN_AGE, list_tables
from include.lake.readers import list_partitions
from include.lake.schemas import PARTITION_COLUMN
from include.lake.store import Lake, native_filesystem
from include.privacy.rules import Forgetting

SPLITS = "_splits"


@dataclass(frozen=True, kw_only=True)
class Trace:
    """
    A file that holds rows which have to go. `is_live`: the newest version holds it; `is_known`: some
    version does.
    """

    table: str
    partition_key: str
    file: DataFile
    n_rows: int
    is_live: bool
    is_known: bool


@dataclass(frozen=True, kw_only=True)
class Traces:
    """What was found in all of a workflow's files."""

    found: tuple[Trace, ...]
    n_scanned: int

    def rows_by_table(self) -> dict[str, int]:
        """How many rows of the newest versions have to go, by table."""
        tables = sorted({trace.table for trace in self.found if trace.is_live})
        return {
            table: sum(trace.n_rows for trace in self.found if trace.table == table and trace.is_live)
            for table in tables
        }


def find_traces(rule: Forgetting, *, lake: Lake) -> Traces:
    """Read every data file of a workflow, of whatever version, and those that no version names."""
    found, n_scanned = [], 0
    for table in list_tables(lake, rule.workflow.name):
        spans, keys = file_spans(lake, table), _keys_by_folder(lake, table)
        for file in data_files(lake, table):
            n_scanned += 1
            folder = unquote(file.path.partition("/")[0]).removeprefix(f"{PARTITION_COLUMN}=")
            key = keys.get(folder, folder)
            n_rows = _count(rule, lake=lake, table=table, key=key, file=file)
            if n_rows:
                span = spans.get(file.path)
                is_live = span is not None and span.removed is None
                found.append(
                    Trace(
                        table=table,
                        partition_key=key,
                        file=file,
                        n_rows=n_rows,
                        is_live=is_live,
                        is_known=span is not None,
                    )
                )
    return Traces(found=tuple(found), n_scanned=n_scanned)


def _keys_by_folder(lake: Lake, table: str) -> dict[str, str]:
    """A folder's name lacks what can't stand in one."""
    return {key.replace(":", "."): key for key in list_partitions(lake, table)}


def _count(rule: Forgetting, *, lake: Lake, table: str, key: str, file: DataFile) -> int:
    try:
        with native_filesystem(lake, table).open_input_file(file.path) as raw:
            opened = pq.ParquetFile(raw)
            if rule.is_over(table, key):
                return int(opened.metadata.num_rows)
            wanted = [name for name in rule.columns if name in opened.schema_arrow.names]
            batches = opened.iter_batches(columns=wanted) if wanted else ()
            return sum(
                int(rule.is_gone(pa.Table.from_batches([batch]), table=table, partition_key=key).sum())
                for batch in batches
            )
    except FileNotFoundError:  # somebody's vacuum was faster
        return 0
    except pa.ArrowInvalid:
        # A writer is in the middle of it, or was killed there: what it holds can't be told. An erasure waits until that
        # is settled; what is too old is settled by the vacuum a day later, and an ingest at work must not turn each
        # night red.
        return int(rule.cutoff is None)


def remove_traces(traces: Traces, rule: Forgetting, *, lake: Lake, now: datetime) -> int:
    """
    Remove the files of old versions, and the splits of their partitions, which tell rows apart; return how many files.

    Raises
    ------
    ConcurrentWriteError
        If a file is in nobody's version, and its writer may still be at work.

    """
    keys = {trace.partition_key for trace in traces.found}
    n_removed = 0
    for path in _splits(rule, keys, lake=lake):
        delete_file(lake, rule.workflow.name, path)
        n_removed += 1
    crash_point("forget.after_splits")
    held = [trace for trace in traces.found if not trace.is_known and trace.file.written_at > now - ORPHAN_AGE]
    for trace in traces.found:
        if not trace.is_live and trace not in held:
            delete_file(lake, trace.table, trace.file.path)
            crash_point("forget.after_a_file")
            n_removed += 1
    if held:
        raise ConcurrentWriteError(
            f"{len(held)} files of {held[0].table!r} were written within the last {ORPHAN_AGE} and are in no version "
            f"of it: wait until {rule.workflow.name}.ingest has ended and run again; what a killed process left goes "
            "once it is that old"
        )
    return n_removed


def _splits(rule: Forgetting, keys: set[str], *, lake: Lake) -> Iterator[str]:
    workflow = rule.workflow.name
    for path in list_files(lake, f"{workflow}/{SPLITS}"):
        key = path.removeprefix(f"{workflow}/{SPLITS}/").partition("/")[0]
        if key in keys or rule.is_over(f"{workflow}/{SPLITS}", key):
            yield path.removeprefix(f"{workflow}/")
