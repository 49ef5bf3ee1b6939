"""
Schema drift: the columns that a partition came with, beside those of the partition published before it.

A new column is taken and noted (or refused, where the declaration says so). A column that is gone, or of another type,
stops: in the table it would read as nulls, which a rule may well allow. The order of columns means nothing.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches

import pyarrow as pa

from include.lake.readers import partition_dataset
from include.lake.store import Lake, open_table
from include.quality.history import Past
from include.quality.rows import ABOUT_ROWS, ADDED_COLUMNS
from include.workflow import Quality

_NOT_COMPARED = ADDED_COLUMNS.union(ABOUT_ROWS)


@dataclass(frozen=True, kw_only=True)
class Drift:
    """What changed: `notes` say what was taken, `stops` why the partition is not published; a line a column."""

    notes: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


def detect_drift(past: Past, *, raw_version: int) -> Drift:
    """
    Compare a raw partition's columns with those of the partition published before it.

    Parameters
    ----------
    past : Past
        The partition, and what is published before it.
    raw_version : int
        Version of `<name>/raw` at which the partition is judged.

    Returns
    -------
    Drift
        Empty, if nothing was published before it.

    """
    if past.last is None:
        return Drift()
    name = past.workflow.name
    # Not of raw: it may meanwhile hold what was extracted again, and stopped.
    before = stored_columns(past.lake, f"{name}/validated", past.last.key)
    now = stored_columns(past.lake, f"{name}/raw", past.window.key, version=raw_version)
    return compare_columns(before, now, quality=past.workflow.quality, since=past.last.key)


def stored_columns(lake: Lake, table: str, partition_key: str, *, version: int | None = None) -> dict[str, pa.DataType]:
    """The source's columns that a partition's own files hold: those that only the table has were never in it."""
    dataset = partition_dataset(
        lake, open_table(lake, table, version=version), table=table, partition_key=partition_key
    )
    fields = [field for fragment in dataset.get_fragments() for field in fragment.physical_schema]
    return {field.name: field.type for field in fields if field.name not in _NOT_COMPARED}


def compare_columns(
    before: dict[str, pa.DataType], now: dict[str, pa.DataType], *, quality: Quality, since: str
) -> Drift:
    """Say which columns were added, dropped and retyped `since` a partition."""
    if not before or not now:
        return Drift()
    added = [name for name in now if name not in before]
    gone = [name for name in before if name not in now]
    stops = [_gone(name, before[name], since=since, added=added) for name in gone if name not in quality.dropped]
    stops += [
        f"column {name!r} is {now[name]}, and was {kind} in {since}: cast it back to {kind} in the source"
        for name, kind in before.items()
        if name in now and not now[name].equals(kind)
    ]
    notes = [
        f"column {name!r} ({before[name]}) is gone since {since}, as quality.dropped declares"
        for name in gone
        if name in quality.dropped
    ]
    new = [f"column {name!r} ({now[name]}) is new since {since}" for name in added]
    if quality.schema_drift == "freeze":
        stops += [
            f"{line}: quality.schema_drift='freeze' refuses it; leave it out of the source, or declare 'evolve'"
            for line in new
        ]
    return Drift(notes=(*notes, *([] if quality.schema_drift == "freeze" else new)), stops=tuple(stops))


def _gone(name: str, kind: pa.DataType, *, since: str, added: Collection[str]) -> str:
    close = get_close_matches(name, added, n=1)
    hint = f"was it renamed to {close[0]!r}? Bring it back" if close else "bring it back"
    return f"column {name!r} ({kind}) is gone: {since} had it; {hint}, or declare quality.dropped=({name!r},)"
