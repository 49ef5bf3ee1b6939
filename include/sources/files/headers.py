"""Which of a file's columns are the declared ones."""

from __future__ import annotations

import logging
from collections.abc import Sequence, Set
from difflib import get_close_matches

from include.errors import SourceQueryError
from include.workflow import FileSource

log = logging.getLogger(__name__)

_MOST_SHOWN = 30


def header_of(source: FileSource, column: str) -> str:
    """Return what the file calls a declared column."""
    return source.headers.get(column, column)


def place_columns(names: Sequence[str], source: FileSource, *, file: str) -> tuple[int | None, ...]:
    """
    Find the declared columns among a file's, in whatever order they are; columns beside them are passed over, with a
    note in the log.

    Returns
    -------
    tuple of int or None
        For each declared column its position; None where the file lacks an optional one.

    Raises
    ------
    SourceQueryError
        If a column is missing, renamed, or there twice.

    """
    positions: list[int | None] = []
    for column in source.columns:
        header = header_of(source, column)
        if names.count(header) > 1:
            raise SourceQueryError(f"{file}: has {names.count(header)} columns {header!r}: which one is meant?")
        if header not in names and column not in source.optional:
            raise SourceQueryError(
                f"{file}: has no column {header!r}{_hint(header, names, source)}; correct the file, or source.headers"
            )
        positions.append(list(names).index(header) if header in names else None)
    if all(position is None for position in positions):
        raise SourceQueryError(f"{file}: has none of the declared columns")
    note_added(set(names) - {header_of(source, column) for column in source.columns}, file=file)
    return tuple(positions)


def note_added(names: Set[str], *, file: str) -> None:
    """Say which columns of a file are passed over."""
    if names:
        log.warning("%s: %d columns that are not declared are left out: %s", file, len(names), _shown(sorted(names)))


def _hint(header: str, names: Sequence[str], source: FileSource) -> str:
    if not set(names) & {header_of(source, column) for column in source.columns}:
        # Perhaps there is no header, and these are a row's values.
        return f", nor any other of the declared ones, among its {len(names)}: does its first line name the columns?"
    close = get_close_matches(header, names, n=1)
    return f": was {close[0]!r} renamed?" if close else f": it has {_shown(names)}"


def _shown(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:_MOST_SHOWN])) + (", …" if len(names) > _MOST_SHOWN else "")
