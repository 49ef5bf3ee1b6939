"""Forget in all of a workflow's tables: first what readers see, then the bytes of what they saw before."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import pyarrow as pa

from include.errors import ConcurrentWriteError
from include.lake.rewriting import rewrite_partition
from include.lake.store import Lake
from include.privacy.partitions import QUARANTINE, RAW, VALIDATED, Author, forget_in_partition
from include.privacy.rules import Forgetting
from include.privacy.traces import find_traces, remove_traces


@dataclass(frozen=True, kw_only=True)
class SweepReport:
    """
    Rows that had to go, by table, before and after; files removed from the lake, and files read afterwards without
    finding one.

    `source_files_removed` counts the source's own files that went, where the survey declares so.
    """

    rows_before: dict[str, int]
    rows_after: dict[str, int]
    files_removed: int
    files_scanned: int
    source_files_removed: int = 0


def sweep(rule: Forgetting, *, lake: Lake, now: datetime, by: Author, dry_run: bool = False) -> SweepReport:
    """
    Forget what a rule says, in the newest versions and in all older ones.

    Parameters
    ----------
    rule : Forgetting
        What has to go.
    lake : Lake
        Where.
    now : datetime
        Ages of files count from here.
    by : Author
        Token and ids.
    dry_run : bool
        Count only.

    Raises
    ------
    ConcurrentWriteError
        If somebody wrote such rows meanwhile: what was done stays, and another try completes it.

    """
    before = find_traces(rule, lake=lake)
    if dry_run:
        return SweepReport(
            rows_before=before.rows_by_table(), rows_after={}, files_removed=0, files_scanned=before.n_scanned
        )
    accounted = {f"{rule.workflow.name}/{name}" for name in (RAW, VALIDATED, QUARANTINE)}
    for key in sorted({trace.partition_key for trace in before.found if trace.table in accounted}):
        forget_in_partition(rule, key, lake=lake, by=by)
    for table, key in sorted(
        {(trace.table, trace.partition_key) for trace in before.found if trace.is_live and trace.table not in accounted}
    ):
        _forget_elsewhere(rule, table, key, lake=lake)
    removed = remove_traces(find_traces(rule, lake=lake), rule, lake=lake, now=now)
    after = find_traces(rule, lake=lake)
    if after.found:
        raise ConcurrentWriteError(
            f"{rule.workflow.name}: somebody wrote rows that have to go while they were removed ({len(after.found)} "
            "files): run again"
        )
    rows_after = dict.fromkeys(before.rows_by_table(), 0)
    return SweepReport(
        rows_before=before.rows_by_table(), rows_after=rows_after, files_removed=removed, files_scanned=after.n_scanned
    )


def _forget_elsewhere(rule: Forgetting, table: str, key: str, *, lake: Lake) -> None:
    """
    In tables that others append to, such as predictions: nobody is fenced there, and what is appended
    meanwhile stays.
    """

    def kept(rows: pa.Table) -> pa.Table:
        return rows.filter(pa.array(~rule.is_gone(rows, table=table, partition_key=key)))

    rewrite_partition(lake, table, key, kept)
