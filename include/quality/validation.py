"""Validate one partition: judge its rows, store the split, write the page that shows it."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ContractViolationError, DataError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_table
from include.lake.ledger import RunRecord, append_stop
from include.lake.partitions import read_partition
from include.lake.store import Lake, table_exists, table_version
from include.quality.docs import write_page
from include.quality.drift import detect_drift
from include.quality.history import read_past
from include.quality.page import Account
from include.quality.refusals import describe_refusals
from include.quality.report import ValidationReport
from include.quality.split import Split, split_partition
from include.quality.split_files import DUPLICATE, PUBLISHED, QUARANTINED, store_split
from include.quality.stops import refuse
from include.quality.suite import load_suite
from include.workflow import Quality, Workflow

__all__ = ["Judged", "ValidationReport", "judge_partition", "refuse_stopped", "store_judgement", "validate_partition"]

log = logging.getLogger(__name__)

_MAX_REASONS = 3


@dataclass(frozen=True, kw_only=True)
class Judged:
    """What a suite says of one raw partition. `stops` says why nothing of it may be published, a line a reason."""

    workflow: Workflow
    partition_key: str
    raw_version: int
    raw: pa.Table
    suite_name: str
    split: Split
    stops: tuple[str, ...]
    notes: tuple[str, ...]


def validate_partition(
    workflow: Workflow, partition_key: str, *, lake: Lake, raw_version: int, run_id: str, try_id: str = ""
) -> ValidationReport:
    """
    Judge one raw partition by the workflow's suite, and store the verdict: a split to publish, or a line in the ledger
    that it is stopped.

    Row rules split it; table rules stop it, and so does what would make a split meaningless: an empty partition, a key
    or time without any value, a rule that could not be run or had nothing to judge, a partition of which no row is
    left, or too few (`quality.max_quarantined`), a column that is gone or of another type.

    Parameters
    ----------
    workflow, partition_key
        What to judge.
    lake : Lake
        Where it is.
    raw_version : int
        Version of `<name>/raw` to read, as the extraction reported it.
    run_id, try_id : str
        The run, for the page's name, and its try: for the ledger.

    Returns
    -------
    ValidationReport
        What `publish_partition` needs.

    Raises
    ------
    SuiteError
        If the suite is unusable.
    ContractViolationError
        If the partition is not to be published; a line a broken rule.

    """
    try:
        return store_judgement(
            judge_partition(workflow, partition_key, lake=lake, raw_version=raw_version), lake=lake, run_id=run_id
        )
    except ContractViolationError as error:
        crash_point("validate.before_stop")
        stop = RunRecord(
            workflow=workflow.name,
            partition_key=partition_key,
            run_id=run_id,
            try_id=try_id,
            rows_in=error.counts.get("rows_in", 0),
            rows_published=0,
            rows_quarantined=0,
            rows_duplicate=0,
            table_version=_version_of(lake, f"{workflow.name}/validated"),
            quarantine_version=_version_of(lake, f"{workflow.name}/quarantine"),
            raw_version=raw_version,
            digest="",
            recorded_at=datetime.now(UTC),
            status="stopped",
            reasons=json.dumps([line.strip() for line in str(error).splitlines()[1:]]),
        )
        append_stop(lake, stop)
        raise


def judge_partition(workflow: Workflow, partition_key: str, *, lake: Lake, raw_version: int) -> Judged:
    """
    Judge one raw partition by the suite as it is now; nothing is written.

    Raises
    ------
    SuiteError
        If the suite is unusable.
    ContractViolationError
        If the partition can't be judged at all: it is empty, or a column is missing, without any value, or of another
        type.

    """
    suite = load_suite(workflow.expectations_path)
    past = read_past(workflow, partition_key, lake=lake)
    raw = read_partition(lake, f"{workflow.name}/raw", partition_key, version=raw_version)
    try:
        drift = detect_drift(past, raw_version=raw_version)
        refuse(drift.stops)
        split = split_partition(raw, suite=suite, source=workflow.source, past=past)
    except ContractViolationError as error:
        raise _refusal(error, raw, None, workflow=workflow, partition_key=partition_key) from None
    return Judged(
        workflow=workflow,
        partition_key=partition_key,
        raw_version=raw_version,
        raw=raw,
        suite_name=suite.name,
        split=split,
        stops=split.stops or _too_many(split, workflow.quality),
        notes=(*drift.notes, *split.notes),
    )


def store_judgement(judged: Judged, *, lake: Lake, run_id: str) -> ValidationReport:
    """
    Write the page of a judgement and its split.

    Raises
    ------
    ContractViolationError
        If the partition is not to be published: the page is written, the split is not.

    """
    name, key, split = judged.workflow.name, judged.partition_key, judged.split
    docs_uri = write_page(
        Account(
            workflow_name=name,
            partition_key=key,
            run_id=run_id,
            suite_name=judged.suite_name,
            split=split,
            stops=judged.stops,
            notes=judged.notes,
            written_at=datetime.now(UTC),
        )
    )
    refuse_stopped(judged, page=docs_uri)
    counts = _count(split, rows_in=judged.raw.num_rows)
    split_uri, split_digest = store_split(lake, name, key, split.table)
    log.info("%s %s: %s", name, key, counts)
    for note in judged.notes:
        log.warning("%s %s: %s", name, key, note)
    return ValidationReport(
        partition_key=key,
        raw_version=judged.raw_version,
        raw_digest=digest_table(judged.raw),
        rows_in=judged.raw.num_rows,
        rows_published=counts[PUBLISHED],
        rows_quarantined=counts[QUARANTINED],
        rows_duplicate=counts[DUPLICATE],
        split_uri=split_uri,
        split_digest=split_digest,
        failed=split.failed,
        docs_uri=docs_uri,
        notes=judged.notes,
    )


def refuse_stopped(judged: Judged, *, page: str = "") -> None:
    """Raise ContractViolationError if nothing of the partition may be published; `page` is what shows why."""
    try:
        refuse(judged.stops)
    except ContractViolationError as error:
        raise _refusal(
            error, judged.raw, judged.split, workflow=judged.workflow, partition_key=judged.partition_key, page=page
        ) from None


def _refusal(
    error: ContractViolationError,
    raw: pa.Table,
    split: Split | None,
    *,
    workflow: Workflow,
    partition_key: str,
    page: str = "",
) -> ContractViolationError:
    """
    The error that names the partition, with what an alert tells of its rows; without a split nothing was judged row by
    row.
    """
    message = f"{workflow.name} {partition_key} is not published:\n  {error}"
    if split is None:
        return ContractViolationError(message, counts={"rows_in": raw.num_rows})
    refusals = describe_refusals(raw, split.table, workflow.source)
    # None of them is quarantined: nothing of the partition is published.
    counts = {
        "rows_in": raw.num_rows,
        "rows_refused": split.count(QUARANTINED),
        "rows_duplicate": split.count(DUPLICATE),
    }
    return ContractViolationError(message, counts=counts, reasons=refusals.reasons, samples=refusals.samples, page=page)


def _too_many(split: Split, quality: Quality) -> tuple[str, ...]:
    """Say that too large a share of the rows is quarantined, if it is. Duplicates are neither good nor bad."""
    n_bad = split.count(QUARANTINED)
    n_judged = n_bad + split.count(PUBLISHED)
    limit = quality.max_quarantined
    if limit is None or n_bad <= limit * n_judged:
        return ()
    counted = pc.value_counts(pc.list_flatten(split.table.column("reasons"))).to_pylist()
    most = sorted(counted, key=lambda reason: (-reason["counts"], reason["values"]))[:_MAX_REASONS]
    shown = "; ".join(f"{reason['values']} ({reason['counts']})" for reason in most)
    return (
        f"{n_bad} of {n_judged} rows ({n_bad / n_judged:.1%}) break a rule, and at most {limit:.1%} may "
        f"(quality.max_quarantined): {shown}",
    )


def _version_of(lake: Lake, table: str) -> int:
    """Version of a table that a stop leaves as it is; -1 if there is none yet."""
    return table_version(lake, table) if table_exists(lake, table) else -1


def _count(split: Split, *, rows_in: int) -> dict[str, int]:
    """Count each outcome, and prove that no row was lost or doubled."""
    counts = {outcome: split.count(outcome) for outcome in (PUBLISHED, QUARANTINED, DUPLICATE)}
    if sum(counts.values()) != rows_in or split.table.num_rows != rows_in:
        raise DataError(
            f"{rows_in} rows came in, but {counts} went out: nothing is published; report this as a bug of Updraft"
        )
    return counts
