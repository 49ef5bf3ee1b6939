"""What every partition must hold, whatever its suite says: the traps that Great Expectations leaves open."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import ContractViolationError
from include.quality.frames import utc_times
from include.quality.row_ids import ID_LENGTH, compute_row_ids
from include.quality.suite import Rule, Suite
from include.workflow import Source

POSITION = "source_position"
SOURCE_NAME, SOURCE_ERROR = "source_name", "source_error"
ADDED_COLUMNS = frozenset({"row_id", "event_time", "known_time", POSITION, "reasons", "run_id", "partition_key"})
# What the source tells of a row, and is no part of it: two files may hold the same row.
ABOUT_ROWS = (POSITION, SOURCE_NAME, SOURCE_ERROR, "partition_key")
# Odd, so that each word of an id counts whole: 2**64 by the golden ratio, and what splitmix64 multiplies by.
_MIXERS = np.array([0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB, 1], dtype=np.uint64)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """
    Rows that break one rule: positions ascending, shape (n_failing,), and the reason that each of them
    will carry.
    """

    reason: str
    positions: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Rows:
    """
    One raw partition, read as moments and identities. All columns have shape (n_rows,).

    `source` holds the row itself. `about` holds what the source tells of it, as far as it does: `source_name` and
    `source_error`.
    """

    source: pa.Table
    source_position: pa.ChunkedArray
    event_time: pa.ChunkedArray
    known_time: pa.ChunkedArray
    about: pa.Table

    def take(self, indices: pa.Array) -> Rows:
        """Some of the rows."""
        return Rows(
            source=self.source.take(indices),
            source_position=self.source_position.take(indices),
            event_time=self.event_time.take(indices),
            known_time=self.known_time.take(indices),
            about=self.about.take(indices),
        )


def read_rows(raw: pa.Table, source: Source) -> Rows:
    """
    Read a raw partition.

    Raises
    ------
    ContractViolationError
        If it is empty (unless the source may be), lacks a column that the source declares, or a declared column holds
        no value at all.

    """
    own = raw.drop_columns([name for name in ABOUT_ROWS if name in raw.column_names])
    _check_columns(own, source)
    if not raw.num_rows and not source.may_be_empty:
        raise ContractViolationError(
            "it is empty: no row at all is taken for a fault of the source; if it is none, start at a later partition, "
            "or declare source.may_be_empty"
        )
    for name in (source.event_time, source.known_time, *source.key):
        if raw.num_rows and missing_in(own, (name,)).all():
            raise ContractViolationError(
                f"column {name!r} is null in all {raw.num_rows} rows, so no row can be placed: mend the source or its "
                "query"
            )
    rows = Rows(
        source=own,
        source_position=raw.column(POSITION)
        if POSITION in raw.column_names
        else pa.chunked_array([np.arange(raw.num_rows)]),
        event_time=utc_times(own, source.event_time),
        known_time=utc_times(own, source.known_time),
        about=raw.select([name for name in (SOURCE_NAME, SOURCE_ERROR) if name in raw.column_names]),
    )
    for name, times in ((source.event_time, rows.event_time), (source.known_time, rows.known_time)):
        if raw.num_rows and times.null_count == raw.num_rows:
            raise ContractViolationError(
                f"column {name!r} holds no time in any of {raw.num_rows} rows: let the query return timestamps"
            )
    return rows


def _check_columns(own: pa.Table, source: Source) -> None:
    for name in (source.event_time, source.known_time, *source.key):
        if name not in own.column_names:
            raise ContractViolationError(
                f"the source declares column {name!r}, which is not there{_hint(name, own.column_names)}"
            )
    # A source may itself call its times event_time and known_time.
    roles = {"event_time": source.event_time, "known_time": source.known_time}
    for name in sorted(ADDED_COLUMNS.intersection(own.column_names)):
        if roles.get(name) != name:
            raise ContractViolationError(
                f"column {name!r} has a name that Updraft gives itself: rename it in the query"
            )


def _hint(name: str, known: list[str]) -> str:
    close = get_close_matches(name, known, n=1)
    return f": did you mean {close[0]!r}?" if close else f"; there are {', '.join(known)}"


def check_suite_fits(suite: Suite, rows: Rows) -> list[str]:
    """
    Say which rules have nothing to judge: their column is not there, or holds no value.

    Great Expectations calls a rule on a column without values fulfilled.
    """
    known = rows.source.column_names
    problems = []
    for rule in suite.rules:
        missing = [name for name in rule.columns if name not in known and rule.type != "expect_column_to_exist"]
        if missing:
            problems.append(f"{rule.label}: there is no column {missing[0]!r}{_hint(missing[0], known)}")
        elif rule.severity != "warn":
            problems += [
                f"{rule.label}: column {name!r} holds no value, so nothing was judged; if that may be, set "
                "meta.allow_null to true"
                for name in _empty_columns(rule, rows)
            ]
    return problems


def _empty_columns(rule: Rule, rows: Rows) -> list[str]:
    if not rule.needs_values:
        return []
    return [name for name in rule.columns if missing_in(rows.source, (name,)).all()]


def identify_rows(rows: Rows, source: Source) -> pa.Array:
    """
    Give each row its id, an array of string of shape (n_rows,).

    It is a hash of the row's key; of the whole row where the source has no key, or the row misses a part of it. Of a
    row that the source could not make whole it also takes in where it was found: two unreadable lines are no
    duplicates.
    """
    own = rows.source
    ids = compute_row_ids(own, source.key or own.column_names)
    keyless = missing_in(own, source.key)
    if keyless.any():
        ids = pc.if_else(pa.array(~keyless), ids, compute_row_ids(own, own.column_names))
    if SOURCE_ERROR in rows.about.column_names and rows.about.column(SOURCE_ERROR).null_count < len(ids):
        found = own.select([]).append_column(POSITION, rows.source_position)
        for name in rows.about.column_names:
            found = found.append_column(name, rows.about.column(name))
        is_broken = rows.about.column(SOURCE_ERROR).is_valid().combine_chunks()
        ids = pc.if_else(is_broken, compute_row_ids(found, found.column_names), ids)
    return ids


def find_duplicates(row_ids: pa.Array, known_time: pa.ChunkedArray, *, keep_restatements: bool = False) -> np.ndarray:
    """
    Find the rows that another row of the same id makes superfluous.

    With `keep_restatements` a row of the same id that became known at another time is a restatement, and no duplicate.

    Returns
    -------
    ndarray of bool, of shape (n_rows,)
        True for all rows of an id but one: the one known last; among equals, the first.

    """
    duplicate = np.zeros(len(row_ids), dtype=bool)
    if _all_differ(row_ids):
        return duplicate
    group = row_ids.dictionary_encode().indices.to_numpy()
    shared = np.flatnonzero(np.bincount(group)[group] > 1)
    group = group[shared]
    known = pc.fill_null(known_time.take(pa.array(shared)).cast(pa.int64()), np.iinfo(np.int64).min).to_numpy()
    order = np.lexsort((-shared, known, group))  # within a group: the row to keep comes last
    ordered = group[order]
    differs = ordered[1:] != ordered[:-1]
    if keep_restatements:
        differs |= known[order][1:] != known[order][:-1]
    is_last = np.append(differs, True)
    duplicate[shared[order[~is_last]]] = True
    return duplicate


def _all_differ(row_ids: pa.Array) -> bool:
    """Tell at a glance that no id is there twice: true is always right, false may be a chance."""
    digits = row_ids.cast(pa.binary()).cast(pa.binary(ID_LENGTH))
    words = np.frombuffer(digits.buffers()[1], dtype=np.uint64).reshape(-1, ID_LENGTH // 8)[
        digits.offset : digits.offset + len(digits)
    ]
    mixed = np.sort(words @ _MIXERS)
    return not (mixed[1:] == mixed[:-1]).any()


def own_findings(rows: Rows, source: Source, suite: Suite) -> Iterator[Finding]:
    """
    What no suite needs to say: the source made a whole row of it, which has its times and its key, and its numbers are
    finite.
    """
    own = rows.source
    if SOURCE_ERROR in rows.about.column_names:
        errors = rows.about.column(SOURCE_ERROR)
        for reason in pc.unique(errors.drop_null()).to_pylist():
            yield _finding(f"source: {reason}", pc.fill_null(pc.equal(errors, reason), False).to_numpy())
    for name, times, role in (
        (source.event_time, rows.event_time, "event time"),
        (source.known_time, rows.known_time, "known time"),
    ):
        yield _finding(f"{name}: {role} is missing", times.is_null().to_numpy())
    for name in source.key:
        yield _finding(f"{name}: key is missing", missing_in(own, (name,)))
    for name, column in zip(own.column_names, own.columns, strict=True):
        if pa.types.is_floating(column.type):
            yield _finding(f"{name}: value is infinite", pc.fill_null(pc.is_inf(column), False).to_numpy())
    for rule in suite.rules:
        if rule.refuses_nulls and rule.severity != "warn":
            yield _finding(f"{rule.reason}: value is missing", missing_in(own, rule.columns))


def _finding(reason: str, is_failing: np.ndarray) -> Finding:
    return Finding(reason=reason, positions=np.flatnonzero(is_failing))


def missing_in(table: pa.Table, columns: tuple[str, ...]) -> np.ndarray:
    """
    Tell for each row whether any of some columns holds no value (null or not-a-number): ndarray of bool, of shape
    (n_rows,).
    """
    missing = np.zeros(table.num_rows, dtype=bool)
    for name in columns:
        missing |= table.column(name).is_null(nan_is_null=True).to_numpy()
    return missing
