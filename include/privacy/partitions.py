"""
One partition without the rows that have to go.

The others stay k-anonymous and accounted for: landed rows that too few share now are suppressed as when they landed,
published ones that can hide no longer go to quarantine, as validation would have it, and the ledger gets a line.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pyarrow as pa

from include.errors import ConcurrentWriteError, CorruptDataError, PartitionNotFoundError, TableNotFoundError
from include.lake.cells import is_in_small_cell
from include.lake.crash_points import crash_point
from include.lake.digests import digest_table
from include.lake.ledger import append_run, latest_run
from include.lake.partitions import read_partition
from include.lake.records import RunRecord
from include.lake.rewriting import rewrite_partition
from include.lake.store import Lake, table_version
from include.privacy.rules import Forgetting, survey_of
from include.quality.cells import too_few_published
from include.quality.standing import is_waiting
from include.sources.survey.anonymity import enforce_k

RAW, VALIDATED, QUARANTINE = "raw", "validated", "quarantine"
POSITION = "source_position"


@dataclass(frozen=True, kw_only=True)
class Author:
    """Who forgets: the token fences tries that began before, the ids are for the ledger."""

    token: int
    run_id: str
    try_id: str


def forget_in_partition(rule: Forgetting, partition_key: str, *, lake: Lake, by: Author) -> None:
    """
    Take the rows that have to go out of raw, quarantine and validated, in this order, and write the ledger's line.

    Killed in between, it is completed by running it again.

    Raises
    ------
    ConcurrentWriteError
        If others write the partition all the time.

    """
    line = latest_run(lake, rule.workflow.name, partition_key)
    step = _Step(rule=rule, key=partition_key, lake=lake, by=by)
    n_duplicate = 0 if line is None else step.duplicates_left(line)
    step.rewrite(RAW, step.landed)
    crash_point("forget.after_raw")
    moved = step.unhidden()
    step.rewrite(QUARANTINE, lambda rows: step.quarantined(rows, moved))
    crash_point("forget.after_quarantine")
    step.rewrite(VALIDATED, step.published)
    crash_point("forget.before_ledger")
    if line is not None:
        step.record(line, n_duplicate=n_duplicate)


@dataclass(frozen=True, kw_only=True)
class _Step:
    rule: Forgetting
    key: str
    lake: Lake
    by: Author

    def table(self, name: str) -> str:
        return f"{self.rule.workflow.name}/{name}"

    def is_gone(self, rows: pa.Table, name: str) -> np.ndarray:
        return self.rule.is_gone(rows, table=self.table(name), partition_key=self.key)

    def read(self, name: str, *, version: int | None = None) -> pa.Table | None:
        try:
            return read_partition(self.lake, self.table(name), self.key, version=version)
        except (TableNotFoundError, PartitionNotFoundError):
            return None

    def rewrite(self, name: str, change: Callable[[pa.Table], pa.Table]) -> None:
        if self.read(name) is not None:
            rewrite_partition(self.lake, self.table(name), self.key, change, token=self.by.token)

    def duplicates_left(self, line: RunRecord) -> int:
        """Of the rows that were landed and are in no table: how many are still counted."""
        # As that line knew them: killed and run again, it counts the same.
        versions = ((RAW, line.raw_version), (VALIDATED, line.table_version), (QUARANTINE, line.quarantine_version))
        try:
            landed, *others = [self._count_gone(self.read(name, version=version), name) for name, version in versions]
        except CorruptDataError:  # their files are gone already, and with them the duplicates
            return line.rows_duplicate
        return line.rows_duplicate - (landed - sum(others))

    def _count_gone(self, rows: pa.Table | None, name: str) -> int:
        return 0 if rows is None else int(self.is_gone(rows, name).sum())

    def landed(self, rows: pa.Table) -> pa.Table:
        gone = self.is_gone(rows, RAW)
        # Also where nothing goes: the commit fences a try that read the source before.
        if not gone.any():
            return rows
        kept = rows.filter(pa.array(~gone))
        hidden = enforce_k(kept.drop_columns([POSITION]), survey_of(self.rule.workflow))
        return hidden.append_column(POSITION, kept[POSITION])

    def unhidden(self) -> pa.Table | None:
        """Published rows that stay, and can't hide among the others that stay."""
        rows, cells = self.read(VALIDATED), survey_of(self.rule.workflow).cells
        if rows is None or cells is None:
            return None
        stays = ~self.is_gone(rows, VALIDATED)
        is_small = is_in_small_cell(rows, cells.columns, respondent=cells.respondent, k=cells.k, among=stays)
        return rows.filter(pa.array(is_small & stays))

    def quarantined(self, rows: pa.Table, moved: pa.Table | None) -> pa.Table:
        gone = self.is_gone(rows, QUARANTINE)
        kept = rows.filter(pa.array(~gone))
        if moved is not None and moved.num_rows:
            there = set(kept[POSITION].to_pylist())
            fresh = moved.filter(pa.array([position not in there for position in moved[POSITION].to_pylist()]))
            kept = pa.concat_tables([kept, self._as_quarantined(fresh, rows.schema)])
        return kept

    def _as_quarantined(self, rows: pa.Table, schema: pa.Schema) -> pa.Table:
        cells = survey_of(self.rule.workflow).cells
        reason = [too_few_published(cells.k)] if cells is not None else []
        own = {"reasons": [reason] * rows.num_rows, "run_id": [self.by.run_id] * rows.num_rows}
        columns = [
            pa.array(own[field.name], field.type)
            if field.name in own
            else rows[field.name].cast(field.type)
            if field.name in rows.column_names
            else pa.nulls(rows.num_rows, field.type)
            for field in schema
        ]
        return pa.table(columns, schema=schema)

    def published(self, rows: pa.Table) -> pa.Table:
        cells = survey_of(self.rule.workflow).cells
        stays = ~self.is_gone(rows, VALIDATED)
        if cells is not None:
            stays &= ~is_in_small_cell(rows, cells.columns, respondent=cells.respondent, k=cells.k, among=stays)
        return rows.filter(pa.array(stays))

    def record(self, line: RunRecord, *, n_duplicate: int) -> None:
        published, quarantined = self.read(VALIDATED), self.read(QUARANTINE)
        n_published, n_quarantined = (0 if rows is None else rows.num_rows for rows in (published, quarantined))
        digest = line.digest if published is None else digest_table(published)
        if (digest, n_quarantined, n_duplicate) == (line.digest, line.rows_quarantined, line.rows_duplicate):
            return
        if latest_run(self.lake, line.workflow, line.partition_key) != line:
            raise ConcurrentWriteError(f"{line.partition_key} of {line.workflow!r} was published meanwhile: run again")
        versions = {name: table_version(self.lake, self.table(name)) for name in (VALIDATED, QUARANTINE, RAW)}
        # It corrects the line of a publication and is none: what landed or failed since then still waits to be
        # published.
        raw_version = line.raw_version if is_waiting(self.lake, line) else versions[RAW]
        recorded_at = line.recorded_at + timedelta(microseconds=1)
        new = replace(
            line,
            run_id=self.by.run_id,
            try_id=self.by.try_id,
            rows_in=n_published + n_quarantined + n_duplicate,
            rows_published=n_published,
            rows_quarantined=n_quarantined,
            rows_duplicate=n_duplicate,
            table_version=versions[VALIDATED],
            quarantine_version=versions[QUARANTINE],
            raw_version=raw_version,
            digest=digest,
            recorded_at=recorded_at,
        )
        append_run(self.lake, new, is_changed=True)
