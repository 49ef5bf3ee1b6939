"""
What a column has looked like, partition by partition: the ground on which a suite is suggested.

Great Expectations 1.x has nothing for this: its data assistants and profilers were taken out with 1.0, and what is left
(the metrics that a rule computes) knows one batch, and so neither what moves on with time nor what appears only now and
then.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc

from include.quality.rows import missing_in

Kind = Literal["integer", "number", "text", "other"]

MAX_CATEGORIES = 20
MAX_FIXED_LENGTH = 64
# What all values of a column may consist of, the narrowest first.
ALPHABETS = ("[0-9]", "[A-Z]", "[a-z]", "[0-9a-f]", "[A-Z0-9]")


@dataclass(frozen=True, kw_only=True)
class ColumnProfile:
    """
    One column over some partitions.

    A partition is empty that has no value in this column. `ranges` holds the least and greatest finite number of each
    partition that has any, oldest first. `categories` holds the number of rows and of partitions of each text, unless
    there are too many. `patterns` are regular expressions that every text matches as a whole. `is_unique` says that no
    partition holds a value twice.
    """

    name: str
    kind: Kind
    n_rows: int
    n_missing: int
    n_partitions: int
    n_empty_partitions: int
    is_unique: bool
    ranges: tuple[tuple[float, float], ...] = ()
    categories: Mapping[str, tuple[int, int]] | None = field(default=None, repr=False)
    patterns: tuple[str, ...] = ()

    @property
    def n_values(self) -> int:
        """Rows that hold a value."""
        return self.n_rows - self.n_missing

    @property
    def moves_on(self) -> bool:
        """
        Whether the numbers grow (or fall) from partition to partition: those of a counter, whose range says nothing of
        tomorrow's.
        """
        if len(self.ranges) < 2 or _overlap(self.ranges[0], self.ranges[-1]):
            return False
        return any(list(self.ranges) == sorted(self.ranges, reverse=falls) for falls in (False, True))


def _overlap(one: tuple[float, float], other: tuple[float, float]) -> bool:
    return one[0] <= other[1] and other[0] <= one[1]


def profile_table(table: pa.Table, *, hidden: Collection[str] = ()) -> dict[str, ColumnProfile]:
    """
    Profile the columns of one partition.

    Parameters
    ----------
    table : Table of shape (n_rows, n_columns)
        Rows of one partition.
    hidden : collection of str
        Columns of which nothing is kept that comes from a value.

    """
    return {name: _profile(name, table, is_hidden=name in hidden) for name in table.column_names}


def join_profiles(profiles: Sequence[ColumnProfile]) -> ColumnProfile:
    """Profile of one column over several partitions, given oldest first. A column of more than one kind is of none."""
    return reduce(_join, profiles)


def _profile(name: str, table: pa.Table, *, is_hidden: bool) -> ColumnProfile:
    column = table.column(name)
    is_missing = missing_in(table, (name,))
    values = column.filter(pa.array(~is_missing))
    kind = _kind_of(column.type)
    counted = None if pa.types.is_nested(column.type) else pc.value_counts(values)
    is_shown = bool(len(values)) and not is_hidden
    return ColumnProfile(
        name=name,
        kind=kind,
        n_rows=len(column),
        n_missing=int(is_missing.sum()),
        n_partitions=1,
        n_empty_partitions=int(not len(values)),
        is_unique=counted is not None and len(counted) == len(values) > 0,
        ranges=_range_of(values) if is_shown and kind in ("integer", "number") else (),
        categories=_categories_of(counted) if counted is not None and is_shown and kind == "text" else None,
        patterns=_patterns_of(counted.field("values")) if counted is not None and is_shown and kind == "text" else (),
    )


def _kind_of(kind: pa.DataType) -> Kind:
    if pa.types.is_integer(kind):
        return "integer"
    if pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return "number"
    return "text" if pa.types.is_string(kind) else "other"


def _range_of(values: pa.ChunkedArray) -> tuple[tuple[float, float], ...]:
    found = pc.min_max(values.filter(pc.is_finite(values))).as_py()
    return () if found["min"] is None else ((_plain(found["min"]), _plain(found["max"])),)


def _plain(number: Any) -> float:
    """Integers stay integers: a float would lose digits beyond 2**53."""
    return number if isinstance(number, int) else float(number)


def _categories_of(counted: pa.StructArray) -> dict[str, tuple[int, int]] | None:
    if len(counted) > MAX_CATEGORIES:
        return None
    return {row["values"]: (row["counts"], 1) for row in counted.to_pylist()}


def _patterns_of(values: pa.Array) -> tuple[str, ...]:
    lengths = pc.min_max(pc.utf8_length(values)).as_py()
    length = lengths["min"]
    if length != lengths["max"] or not 0 < length <= MAX_FIXED_LENGTH:
        return ()
    patterns = (f"^{alphabet}{{{length}}}$" for alphabet in ALPHABETS)
    return tuple(pattern for pattern in patterns if pc.all(pc.match_substring_regex(values, pattern)).as_py())


def _join(earlier: ColumnProfile, later: ColumnProfile) -> ColumnProfile:
    empty = [profile for profile in (earlier, later) if not profile.n_values]
    one = later if earlier in empty else earlier
    is_same_kind = earlier.kind == later.kind or bool(empty)
    return ColumnProfile(
        name=earlier.name,
        kind=one.kind if is_same_kind else "other",
        n_rows=earlier.n_rows + later.n_rows,
        n_missing=earlier.n_missing + later.n_missing,
        n_partitions=earlier.n_partitions + later.n_partitions,
        n_empty_partitions=earlier.n_empty_partitions + later.n_empty_partitions,
        is_unique=one.is_unique if empty else earlier.is_unique and later.is_unique,
        ranges=(*earlier.ranges, *later.ranges) if is_same_kind else (),
        categories=one.categories if empty else _join_categories(earlier.categories, later.categories),
        patterns=one.patterns if empty else tuple(pattern for pattern in earlier.patterns if pattern in later.patterns),
    )


def _join_categories(
    earlier: Mapping[str, tuple[int, int]] | None, later: Mapping[str, tuple[int, int]] | None
) -> dict[str, tuple[int, int]] | None:
    if earlier is None or later is None:
        return None
    joined = dict(earlier)
    for value, (rows, partitions) in later.items():
        seen_rows, seen_partitions = joined.get(value, (0, 0))
        joined[value] = (seen_rows + rows, seen_partitions + partitions)
    return joined if len(joined) <= MAX_CATEGORIES else None
