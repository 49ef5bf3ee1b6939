"""
Publish what validation split: quarantine, then the accepted rows, then the ledger's line, which makes it official.

Each of the three is one atomic commit and changes nothing the second time, so that a run killed between any two is
completed by running it again.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ConcurrentWriteError, CorruptDataError, DataError, StaleWriterError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_table
from include.lake.ledger import RunRecord, append_run, latest_run
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import Lake
from include.quality.report import ValidationReport
from include.quality.rows import SOURCE_NAME, Rows, read_rows
from include.quality.split_files import DUPLICATE, PUBLISHED, QUARANTINED, count_outcome, load_split
from include.workflow import Workflow


def publish_partition(
    workflow: Workflow, report: ValidationReport, *, lake: Lake, token: int, run_id: str, try_id: str
) -> RunRecord:
    """
    Publish one validated partition.

    Parameters
    ----------
    workflow : Workflow
        Whose tables to write.
    report : ValidationReport
        What `validate_partition` returned. The rows are read again, and must be the ones that were judged.
    lake : Lake
        Where they are.
    token : int
        Fences this try: an older one cannot overwrite what a newer one wrote.
    run_id, try_id : str
        For the ledger and the quarantine.

    Returns
    -------
    RunRecord
        The line in the ledger.

    Raises
    ------
    CorruptDataError
        If the raw partition or the split is not what the report describes.
    StaleWriterError, ConcurrentWriteError
        If another try writes the partition, or rows that landed later are published already.

    """
    try:
        return _publish(workflow, report, lake=lake, token=token, run_id=run_id, try_id=try_id)
    except StaleWriterError:
        line = latest_run(lake, workflow.name, report.partition_key)
        if line is not None and line.raw_version >= report.raw_version:
            raise
        # A try counts from when its run was made, and may have waited while an older state was published, by a replay
        # for instance.
        raise ConcurrentWriteError(
            f"{workflow.name} {report.partition_key} was published meanwhile, from earlier rows: the next try "
            "publishes the newer ones"
        ) from None


def _publish(
    workflow: Workflow, report: ValidationReport, *, lake: Lake, token: int, run_id: str, try_id: str
) -> RunRecord:
    key = report.partition_key
    raw = read_partition(lake, f"{workflow.name}/raw", key, version=report.raw_version)
    if digest_table(raw) != report.raw_digest:
        raise CorruptDataError(
            f"{workflow.name}/raw {key} at version {report.raw_version} is not what was validated: validate it again"
        )
    _check_is_not_earlier(workflow, report, lake=lake)
    split = load_split(lake, workflow.name, key, report.split_digest)
    rows = read_rows(raw, workflow.source)
    _check_fits(split, rows=rows, report=report)

    crash_point("publish.before_quarantine")
    quarantine = replace_partition(
        lake,
        f"{workflow.name}/quarantine",
        key,
        quarantined_rows(rows, split, run_id=run_id),
        token=token,
        ignore_in_digest=("run_id",),
    )
    crash_point("publish.before_validated")
    validated = replace_partition(lake, f"{workflow.name}/validated", key, published_rows(rows, split), token=token)
    _check_conservation(report, published=validated.n_rows, quarantined=quarantine.n_rows)
    crash_point("publish.before_ledger")
    record = RunRecord(
        workflow=workflow.name,
        partition_key=key,
        run_id=run_id,
        try_id=try_id,
        rows_in=report.rows_in,
        rows_published=validated.n_rows,
        rows_quarantined=quarantine.n_rows,
        rows_duplicate=report.rows_duplicate,
        table_version=validated.version,
        quarantine_version=quarantine.version,
        raw_version=report.raw_version,
        digest=validated.digest,
        recorded_at=datetime.now(UTC),
    )
    append_run(lake, record, is_changed=quarantine.is_changed or validated.is_changed)
    crash_point("publish.after_ledger")
    return record


def _check_is_not_earlier(workflow: Workflow, report: ValidationReport, *, lake: Lake) -> None:
    """
    A task that a person clears is newer than any, so that no token stops it; what it was to publish may be older than
    what is.
    """
    key, line = report.partition_key, latest_run(lake, workflow.name, report.partition_key)
    if line is None or line.raw_version <= report.raw_version:
        return
    if digest_table(read_partition(lake, f"{workflow.name}/raw", key, version=line.raw_version)) != report.raw_digest:
        raise StaleWriterError(
            f"{workflow.name} {key} holds rows that landed after those of this run (run {line.run_id!r}, raw version "
            f"{line.raw_version} over {report.raw_version}): clear the run's first task too, so that it reads the "
            "source again"
        )


def _check_fits(split: pa.Table, *, rows: Rows, report: ValidationReport) -> None:
    """The split must speak of these very rows, and its counts be the reported ones."""
    n_rows = rows.source.num_rows
    stated = (report.rows_in, report.rows_published, report.rows_quarantined, report.rows_duplicate)
    found = (n_rows, *(count_outcome(split, outcome) for outcome in (PUBLISHED, QUARANTINED, DUPLICATE)))
    same_rows = split.num_rows == n_rows and split.column("source_position").equals(rows.source_position)
    if not same_rows or stated != found or n_rows != sum(found[1:]):
        raise CorruptDataError(
            f"the report on {report.partition_key} states {stated} rows (in, published, quarantined, duplicate), "
            f"its split holds {found}: validate it again"
        )


def _check_conservation(report: ValidationReport, *, published: int, quarantined: int) -> None:
    """Count again, from what the lake says it holds."""
    if report.rows_in != published + quarantined + report.rows_duplicate:
        raise DataError(
            f"{report.partition_key}: {report.rows_in} rows in, but {published} published + {quarantined} quarantined "
            f"+ {report.rows_duplicate} duplicate: the ledger got no line; report this as a bug of Updraft"
        )


def _rows_of(split: pa.Table, outcome: str) -> pa.Array:
    # In one piece: of an empty column, which has none, Arrow's function ends the process (pyarrow 25, SIGSEGV).
    return pc.indices_nonzero(pc.equal(split.column("outcome"), outcome).combine_chunks())


def published_rows(rows: Rows, split: pa.Table) -> pa.Table:
    """Return the accepted rows as `<name>/validated` holds them."""
    wanted = _rows_of(split, PUBLISHED)
    added = {
        "row_id": split.column("row_id"),
        "event_time": rows.event_time,
        "known_time": rows.known_time,
        "source_position": rows.source_position,
        **_source_name(rows),
    }
    return _with_columns(rows.source, added).take(wanted)


def quarantined_rows(rows: Rows, split: pa.Table, *, run_id: str) -> pa.Table:
    """Return the refused rows as `<name>/quarantine` holds them."""
    wanted = _rows_of(split, QUARANTINED)
    added = {
        "row_id": split.column("row_id"),
        "reasons": split.column("reasons"),
        "source_position": rows.source_position,
        **_source_name(rows),
        "run_id": pa.chunked_array([pa.repeat(run_id, rows.source.num_rows)], pa.string()),
    }
    return _with_columns(rows.source, added).take(wanted)


def _source_name(rows: Rows) -> dict[str, pa.ChunkedArray]:
    """Which file, page, topic or image each row is from, if the source says."""
    return {SOURCE_NAME: rows.about.column(SOURCE_NAME)} if SOURCE_NAME in rows.about.column_names else {}


def _with_columns(table: pa.Table, added: dict[str, pa.ChunkedArray]) -> pa.Table:
    """
    Append columns, replacing those of the same name (a source may itself call its times event_time and
    known_time).
    """
    kept = table.drop_columns([name for name in added if name in table.column_names])
    for name, column in added.items():
        kept = kept.append_column(name, column)
    return kept
