"""
Split a partition: each row is published, quarantined with all its reasons, or a duplicate.

The split is stored before anything is published, under the digest of its own bytes, so that what is published is what
was judged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import pyarrow as pa

from include.errors import DataError
from include.quality.cells import small_cells
from include.quality.expectations import RuleResult, run_rules
from include.quality.frames import frame_of
from include.quality.history import Past
from include.quality.own_rules import Partition, run_own_rules
from include.quality.rows import (
    Finding,
    Rows,
    check_suite_fits,
    find_duplicates,
    identify_rows,
    own_findings,
    read_rows,
)
from include.quality.split_files import DUPLICATE, OUTCOMES, PUBLISHED, QUARANTINED, SPLIT_SCHEMA, count_outcome
from include.quality.stops import failed_label, notes_of, refuse, stops_of
from include.quality.suite import Suite
from include.workflow import Source


@dataclass(frozen=True, kw_only=True)
class Split:
    """
    What became of each row, and why.

    `table` has one row for each row of the raw partition, in its order: `source_position`, `outcome`, `reasons`,
    `row_id`. `stops` says why nothing of it may be published, a line a rule; `failed` names the rules that some row or
    the table broke, `notes` those that could judge nothing yet.
    """

    table: pa.Table
    results: tuple[RuleResult, ...]
    failed: tuple[str, ...]
    stops: tuple[str, ...]
    notes: tuple[str, ...] = ()

    def count(self, outcome: str) -> int:
        """Count the rows of one outcome."""
        return count_outcome(self.table, outcome)


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What the rules said of some rows. A finding's positions count among these rows."""

    results: tuple[RuleResult, ...]
    findings: tuple[Finding, ...]


def split_partition(raw: pa.Table, *, suite: Suite, source: Source, past: Past | None = None) -> Split:
    """
    Judge every row of a raw partition.

    Parameters
    ----------
    raw : Table of shape (n_rows, n_columns)
        The source's columns, and `source_position`.
    suite : Suite
        The rules.
    source : Source
        Names the columns of event time, known time and key.
    past : Past, optional
        Which partition it is, and what is published before it: for rules that look beyond the partition's own rows.

    Returns
    -------
    Split

    Raises
    ------
    ContractViolationError
        If the partition cannot be judged at all: it is empty (unless the source may be), or a column is missing or
        without any value.

    """
    rows = read_rows(raw, source)
    row_ids = identify_rows(rows, source)
    if not raw.num_rows:  # and the source says that this may be: there is nothing to judge
        return Split(
            table=tabulate_split(rows, row_ids=row_ids, kept=np.arange(0), findings=()), results=(), failed=(), stops=()
        )
    refuse(check_suite_fits(suite, rows))
    is_duplicate = find_duplicates(row_ids, rows.known_time, keep_restatements=source.restatements == "all")
    kept = np.flatnonzero(~is_duplicate)
    judged = rows if len(kept) == raw.num_rows else rows.take(pa.array(kept))
    judgement = judge_rows(judged, frame=frame_of(judged.source), suite=suite, source=source)
    judgement = _judge_by_past(judgement, judged, suite=suite, n_rows_in=raw.num_rows, past=past)
    if source.cells is not None:
        judgement = replace(
            judgement, findings=(*judgement.findings, small_cells(judged, judgement.findings, source.cells))
        )
    table = tabulate_split(rows, row_ids=row_ids, kept=kept, findings=judgement.findings)
    results = judgement.results
    stops = stops_of(results)
    if not stops and not count_outcome(table, PUBLISHED):
        stops = (
            f"each of the {len(kept)} rows breaks a rule, so nothing is left to publish; most often: "
            f"{_commonest(judgement)}",
        )
    broken = {finding.reason for finding in judgement.findings if len(finding.positions)}
    failed = sorted(broken | {failed_label(result) for result in results if result.is_judged and not result.is_met})
    return Split(table=table, results=results, failed=tuple(failed), stops=stops, notes=notes_of(results))


def judge_rows(rows: Rows, *, frame: pd.DataFrame, suite: Suite, source: Source) -> Judgement:
    """Run the rules that need no more than rows without duplicates; `frame` is what `frame_of` makes of them."""
    results = tuple(run_rules([rule for rule in suite.rules if not rule.is_own], frame))
    return Judgement(results=results, findings=(*own_findings(rows, source, suite), *_findings_of(results)))


def _findings_of(results: Sequence[RuleResult]) -> list[Finding]:
    return [
        Finding(reason=result.rule.reason, positions=result.failing)
        for result in results
        if result.rule.severity != "warn"
    ]


def _judge_by_past(judgement: Judgement, rows: Rows, *, suite: Suite, n_rows_in: int, past: Past | None) -> Judgement:
    """Add what the rules say that look beyond the partition's own rows."""
    rules = [rule for rule in suite.rules if rule.is_own]
    if not rules:
        return judgement
    if past is None:
        raise DataError(
            f"{rules[0].label}: which partition the rows are was not said: judge them by validate_partition"
        )
    is_clean = np.ones(rows.source.num_rows, dtype=bool)
    for finding in judgement.findings:
        is_clean[finding.positions] = False
    added = run_own_rules(rules, Partition(rows=rows, n_rows_in=n_rows_in, is_clean=is_clean, past=past))
    results = tuple(sorted((*judgement.results, *added), key=lambda result: result.rule.position))
    return Judgement(results=results, findings=(*judgement.findings, *_findings_of(added)))


def tabulate_split(rows: Rows, *, row_ids: pa.Array, kept: np.ndarray, findings: Sequence[Finding]) -> pa.Table:
    """
    Write each row's outcome and reasons.

    Parameters
    ----------
    rows : Rows
        All rows of the partition.
    row_ids : Array of string, of shape (n_rows,)
        Their ids.
    kept : ndarray of int, of shape (n_kept,)
        Positions of the rows that are no duplicates, ascending.
    findings : sequence of Finding
        Their positions count among the kept rows.

    Returns
    -------
    Table of shape (n_rows, 4)

    """
    n_rows = len(row_ids)
    starts, reasons = _reasons_by_row(findings, positions=kept, n_rows=n_rows)
    outcome = np.full(n_rows, OUTCOMES.index(DUPLICATE), dtype=np.int8)
    outcome[kept] = OUTCOMES.index(PUBLISHED)
    outcome[np.diff(starts) > 0] = OUTCOMES.index(QUARANTINED)
    return pa.table(
        {
            "source_position": rows.source_position.cast(pa.int64()),
            "outcome": pa.DictionaryArray.from_arrays(pa.array(outcome), list(OUTCOMES)).cast(pa.string()),
            "reasons": pa.ListArray.from_arrays(pa.array(starts, pa.int32()), reasons),
            "row_id": row_ids,
        }
    ).cast(SPLIT_SCHEMA)


def _reasons_by_row(findings: Sequence[Finding], *, positions: np.ndarray, n_rows: int) -> tuple[np.ndarray, pa.Array]:
    """
    Gather each row's reasons, sorted and once each.

    Returns
    -------
    starts : ndarray of int, of shape (n_rows + 1,)
        The row at position i has the reasons `starts[i]` to `starts[i + 1]`.
    reasons : Array of string

    """
    texts = sorted({finding.reason for finding in findings})
    number = {text: i for i, text in enumerate(texts)}
    pairs = [
        positions[finding.positions] * len(texts) + number[finding.reason]
        for finding in findings
        if len(finding.positions)
    ]
    found = np.unique(np.concatenate(pairs)) if pairs else np.zeros(0, dtype=np.int64)
    row, reason = np.divmod(found, max(len(texts), 1))
    starts = np.concatenate([[0], np.cumsum(np.bincount(row, minlength=n_rows))])
    return starts, pa.array(texts, pa.string()).take(pa.array(reason))


def _commonest(judgement: Judgement) -> str:
    return max(judgement.findings, key=lambda finding: len(finding.positions)).reason
