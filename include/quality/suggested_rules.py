"""
The rules that a suggested suite is made of: each from what was seen, with room around it, and only where enough rows
bear it out.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from statistics import median
from typing import Any

from include.quality.profile import ColumnProfile, join_profiles
from include.workflow import Source
from include.workflow.durations import describe_duration

# Fewer rows or partitions bear out nothing.
MIN_VALUES, MIN_PARTITIONS = 50, 3
# A text is common if so many rows hold it; with fewer, a published set could point at a single row.
MIN_CATEGORY_ROWS = 5
# From this many partitions on, rules on volume and freshness stop; before, they warn.
SETTLED_PARTITIONS = 7

Expectation = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class SeenPartition:
    """
    One partition: its columns, and when its rows came.

    `length` is the time that it spans, `gap` how long before its end the newest row happened, `known_lag` within what
    time 95 of 100 rows became known.
    """

    key: str
    n_rows: int
    length: timedelta
    gap: timedelta
    known_lag: timedelta
    columns: dict[str, ColumnProfile]


def rules_of(partitions: Sequence[SeenPartition], source: Source) -> tuple[Expectation, ...]:
    """
    Suggest expectations from partitions that hold rows, given oldest first.

    The data that they come from breaks none of them.
    """
    # The columns of the newest partition, as far back as they go.
    names = partitions[-1].columns
    columns = [join_profiles([seen.columns[name] for seen in partitions if name in seen.columns]) for name in names]
    return (*_table_rules(partitions), *_key_rules(columns, source), *_row_rules(columns, source))


def _expectation(type_: str, kwargs: dict[str, Any], reason: str, **meta: Any) -> Expectation:
    return {"type": type_, "kwargs": kwargs, "meta": {**meta, "reason": reason}}


def _table_rules(partitions: Sequence[SeenPartition]) -> Iterator[Expectation]:
    counts = [seen.n_rows for seen in partitions]
    last = partitions[-1]
    seen_on = f"seen on {len(partitions)} partitions, {partitions[0].key} to {last.key}"
    bounds = {"min_value": max(1, min(counts) // 2), "max_value": max(counts) * 2}
    yield _expectation(
        "expect_table_row_count_to_be_between", bounds, f"half the fewest rows to twice the most; {seen_on}"
    )
    columns = {"column_set": sorted(last.columns), "exact_match": False}
    yield _expectation("expect_table_columns_to_match_set", columns, f"the columns of {last.key}")
    if len(partitions) < MIN_PARTITIONS:
        return
    severity = {} if len(partitions) >= SETTLED_PARTITIONS else {"severity": "warn"}
    usual = median(counts)
    ratios = {
        "min_ratio": _rounded(min(counts) / usual / 2, up=False),
        "max_ratio": _rounded(max(counts) / usual * 2, up=True),
    }
    volume = "expect_partition_row_count_to_be_within_history"
    yield _expectation(volume, ratios, f"half the lowest ratio to twice the highest; {seen_on}", **severity)
    yield _expectation(
        "expect_partition_to_be_fresh", _lateness(partitions), f"twice as late as the latest; {seen_on}", **severity
    )


def _lateness(partitions: Sequence[SeenPartition]) -> dict[str, str]:
    gap, lag = (2 * max(getattr(seen, name) for seen in partitions) for name in ("gap", "known_lag"))
    length = partitions[-1].length
    # A gap as long as the partition would say nothing; one of minutes in a day asks too much of a quiet evening.
    bounds = {"max_gap": max(gap, length / 24)} if gap < length else {}
    return {name: _in_words(duration) for name, duration in {**bounds, "max_known_lag": lag}.items()}


def _in_words(duration: timedelta) -> str:
    """Rounded up to whole hours, below two hours to quarters of an hour."""
    minutes = max(duration.total_seconds() / 60, 1)
    unit = 60 if minutes > 120 else 15
    return describe_duration(timedelta(minutes=math.ceil(minutes / unit) * unit))


def _rounded(number: float, *, up: bool) -> float:
    """Two significant digits, rounded outwards."""
    if not number:
        return 0.0
    step = 10.0 ** (math.floor(math.log10(abs(number))) - 1)
    return float(f"{(math.ceil if up else math.floor)(number / step) * step:.10g}")


def _row_rules(columns: Sequence[ColumnProfile], source: Source) -> Iterator[Expectation]:
    for column in columns:
        yield from _completeness(column)
        if column.n_values >= MIN_VALUES:
            yield from _set_of_texts(column)
            yield from _form_of_texts(column)
            if column.name not in source.key:
                yield from _range(column)


def _key_rules(columns: Sequence[ColumnProfile], source: Source) -> Iterator[Expectation]:
    """
    A key is unique; where each version of a row is published, its version is. Without a key, the columns that could be
    one.
    """
    if source.key:
        names = [*source.key, *([source.known_time] if source.restatements == "all" else [])]
        kind = "expect_compound_columns_to_be_unique" if len(names) > 1 else "expect_column_values_to_be_unique"
        yield _expectation(kind, {"column_list": names} if len(names) > 1 else {"column": names[0]}, "the source's key")
        return
    for column in columns:
        if (
            column.is_unique
            and column.n_values >= MIN_VALUES
            and column.kind in ("text", "integer")
            and not column.n_missing
        ):
            yield _of(
                column,
                "expect_column_values_to_be_unique",
                f"never twice, so it could be source.key; {_seen_on(column)}",
            )


def _completeness(column: ColumnProfile) -> Iterator[Expectation]:
    """A column that never lacked a value needs one; one that seldom did warns when it lacks many."""
    if column.n_rows < MIN_VALUES:
        return
    kind = "expect_column_values_to_not_be_null"
    if not column.n_missing:
        yield _of(column, kind, f"never missing; {_seen_on(column)}")
        return
    share = math.floor((column.n_values / column.n_rows - 0.1) * 20) / 20
    if share >= 0.5:
        reason = f"seldom missing; {_seen_on(column)}"
        yield _expectation(kind, {"column": column.name, "mostly": share}, reason, severity="warn")


def _set_of_texts(column: ColumnProfile) -> Iterator[Expectation]:
    """A closed set, if each text is common. Where one comes only now and then, another may come too: the rule warns."""
    found = column.categories
    if not found or min(rows for rows, _ in found.values()) < MIN_CATEGORY_ROWS:
        return
    is_settled = min(partitions for _, partitions in found.values()) * 2 >= column.n_partitions >= MIN_PARTITIONS
    severity = {} if is_settled else {"severity": "warn"}
    yield _of(
        column,
        "expect_column_values_to_be_in_set",
        f"no other text; {_seen_on(column)}",
        value_set=sorted(found),
        **severity,
    )


def _form_of_texts(column: ColumnProfile) -> Iterator[Expectation]:
    if column.categories is None and column.patterns:
        reason = f"all of this form; {_seen_on(column)}"
        yield _of(column, "expect_column_values_to_match_regex", reason, regex=column.patterns[0])


def _range(column: ColumnProfile) -> Iterator[Expectation]:
    if not column.ranges or column.moves_on:
        return
    low, high = min(low for low, _ in column.ranges), max(high for _, high in column.ranges)
    margin = (high - low) / 2 or max(abs(low), 1)
    least, greatest = _rounded(low - margin, up=False), _rounded(high + margin, up=True)
    if low >= 0:
        least = max(least, 0.0)
    if column.kind == "integer":
        least, greatest = math.floor(least), math.ceil(greatest)
    reason = f"half its range added on each side; {_seen_on(column)}"
    yield _of(column, "expect_column_values_to_be_between", reason, min_value=least, max_value=greatest)


def _of(column: ColumnProfile, type_: str, reason: str, *, severity: str | None = None, **kwargs: Any) -> Expectation:
    """A rule on a column. Only one that held no value in some partition may come without any."""
    meta: dict[str, Any] = {"severity": severity} if severity else {}
    if column.n_empty_partitions:
        meta["allow_null"] = True
    return _expectation(type_, {"column": column.name, **kwargs}, reason, **meta)


def _seen_on(column: ColumnProfile) -> str:
    return f"seen on {column.n_values:,} values of {column.n_partitions} partitions"
