"""
Replay: judge a partition's landed rows again, by the suite as it is now, and publish what passes.

No source is asked. Rows that a mended suite accepts move from quarantine to `validated`; rows that a stricter one
refuses move the other way. A partition for which nothing changes is not written to: no version, no line in the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import CorruptDataError, PartitionNotFoundError, TableNotFoundError
from include.lake.digests import digest_table
from include.lake.ledger import RunRecord, latest_run
from include.lake.partitions import read_partition
from include.lake.readers import partition_dataset
from include.lake.store import Lake, open_table, table_version
from include.quality.publication import publish_partition, published_rows, quarantined_rows
from include.quality.rows import read_rows
from include.quality.split_files import DUPLICATE
from include.quality.validation import Judged, judge_partition, refuse_stopped, store_judgement
from include.workflow import Workflow
from include.workflow.partitions import window_of_key

_RUN_ID = "run_id"  # tells who quarantined a row, and makes no row another one


@dataclass(frozen=True, kw_only=True)
class ReplayReport:
    """
    What a replay made of one partition, or would make of it: rows_in = rows_published + rows_quarantined +
    rows_duplicate.

    `rows_healed` were held back and are published, `rows_still_quarantined` stay in quarantine,
    `rows_newly_quarantined` were none of it before. Of a partition that had been stopped every row was held back.
    `is_changed` tells whether anything was written, or would be; `is_of_this_run` whether what is published now was
    published by this run, also by an earlier try of it.
    """

    partition_key: str
    rows_in: int
    rows_published: int
    rows_quarantined: int
    rows_duplicate: int
    rows_healed: int
    rows_still_quarantined: int
    rows_newly_quarantined: int
    is_changed: bool
    is_of_this_run: bool


def replay_partition(  # noqa: PLR0913 - what publish_partition takes, and one switch
    workflow: Workflow, partition_key: str, *, lake: Lake, token: int, run_id: str, try_id: str, dry_run: bool = False
) -> ReplayReport:
    """
    Judge the newest landed rows of a partition by the current suite, and publish what passes if that changes anything.

    Parameters
    ----------
    workflow, partition_key
        What to replay.
    lake : Lake
        Where its tables are.
    token : int
        Fences this try, as in `publish_partition`.
    run_id, try_id : str
        For the ledger, the quarantine and the validation's page.
    dry_run : bool
        Count only: no page, no split, no commit.

    Returns
    -------
    ReplayReport
        Counts of rows.

    Raises
    ------
    PartitionError
        If the key is malformed.
    PartitionNotFoundError
        If nothing of the partition has landed.
    ContractViolationError
        If the suite, as it is now, stops the partition; what was published stays.
    StaleWriterError, ConcurrentWriteError
        If another try writes the partition.

    """
    raw_version = _landed_version(workflow, partition_key, lake=lake)
    judged = judge_partition(workflow, partition_key, lake=lake, raw_version=raw_version)
    rows, split = read_rows(judged.raw, workflow.source), judged.split.table
    fate = _Fate(published=published_rows(rows, split), quarantined=quarantined_rows(rows, split, run_id=run_id))
    line = latest_run(lake, workflow.name, partition_key)
    is_changed = line is None or not _holds(lake, line, fate, judged=judged)
    n_healed, n_still = _count_moved(lake, line, fate, raw_version=raw_version)
    if dry_run:
        refuse_stopped(judged)
    else:
        validated = store_judgement(judged, lake=lake, run_id=run_id)
        if is_changed:
            line = publish_partition(workflow, validated, lake=lake, token=token, run_id=run_id, try_id=try_id)
    return ReplayReport(
        partition_key=partition_key,
        rows_in=judged.raw.num_rows,
        rows_published=fate.published.num_rows,
        rows_quarantined=fate.quarantined.num_rows,
        rows_duplicate=judged.split.count(DUPLICATE),
        rows_healed=n_healed,
        rows_still_quarantined=n_still,
        rows_newly_quarantined=fate.quarantined.num_rows - n_still,
        is_changed=is_changed,
        is_of_this_run=line is not None and line.run_id == run_id,
    )


@dataclass(frozen=True, kw_only=True)
class _Fate:
    """The rows of one partition, as a judgement would have them in the two tables."""

    published: pa.Table
    quarantined: pa.Table


def _landed_version(workflow: Workflow, partition_key: str, *, lake: Lake) -> int:
    """
    Version of the newest landed rows.

    Not the version that was published last: what landed since may have been stopped, and whoever was erased from raw
    must not come back.
    """
    window_of_key(workflow.partition.every, partition_key)
    table = f"{workflow.name}/raw"
    try:
        version = table_version(lake, table)
        _files(lake, table, partition_key, version=version)
    except (TableNotFoundError, PartitionNotFoundError):
        raise PartitionNotFoundError(
            f"nothing of partition {partition_key!r} of {workflow.name!r} has landed, so there is nothing to replay: "
            f"run {workflow.name}.ingest for it, which asks the source"
        ) from None
    return version


def _holds(lake: Lake, line: RunRecord, fate: _Fate, *, judged: Judged) -> bool:
    """
    Whether the ledger's line, the versions that it names, and the tables as they are now all say what the judgement
    says.
    """
    if (line.rows_in, line.rows_duplicate) != (judged.raw.num_rows, judged.split.count(DUPLICATE)):
        return False
    tables = (
        ("validated", line.table_version, fate.published),
        ("quarantine", line.quarantine_version, fate.quarantined),
    )
    return all(
        _is_content(lake, f"{line.workflow}/{name}", line.partition_key, version=version, rows=rows)
        for name, version, rows in tables
    )


def _is_content(lake: Lake, table: str, key: str, *, version: int, rows: pa.Table) -> bool:
    """Whether a partition holds these rows, now and at a version."""
    digest = digest_table(rows, ignore=[_RUN_ID])
    try:
        newest = table_version(lake, table)
        is_same = _files(lake, table, key, version=version) == _files(lake, table, key, version=newest)
        return all(
            digest_table(read_partition(lake, table, key, version=at), ignore=[_RUN_ID]) == digest
            for at in ([newest] if is_same else [newest, version])
        )
    except _LOST:
        return False


# What a reader meets where an old version's files were removed, or a table was lost.
_LOST = (TableNotFoundError, PartitionNotFoundError, CorruptDataError)


def _files(lake: Lake, table: str, key: str, *, version: int) -> list[str]:
    dataset = partition_dataset(lake, open_table(lake, table, version=version), table=table, partition_key=key)
    return [fragment.path for fragment in dataset.get_fragments()]


def _count_moved(lake: Lake, line: RunRecord | None, fate: _Fate, *, raw_version: int) -> tuple[int, int]:
    """Count the rows that were held back and are published, and those that were and are in quarantine."""
    if line is None:
        return fate.published.num_rows, fate.quarantined.num_rows
    # A row is known by its place; where other rows have landed since, by its id.
    column = "source_position" if _is_same_raw(lake, line, raw_version=raw_version) else "row_id"
    try:
        before = read_partition(
            lake, f"{line.workflow}/quarantine", line.partition_key, version=line.quarantine_version, columns=[column]
        ).column(column)
    except _LOST:
        return 0, 0
    n_healed, n_still = (
        int(pc.sum(pc.is_in(rows.column(column), value_set=before)).as_py() or 0)
        for rows in (fate.published, fate.quarantined)
    )
    return n_healed, n_still


def _is_same_raw(lake: Lake, line: RunRecord, *, raw_version: int) -> bool:
    table = f"{line.workflow}/raw"
    try:
        return _files(lake, table, line.partition_key, version=line.raw_version) == _files(
            lake, table, line.partition_key, version=raw_version
        )
    except _LOST:
        return False
