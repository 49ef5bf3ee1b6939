"""
The bounds in a query, bound and never pasted: `:partition_start` and `:partition_end`, or `:known_after` and
`:known_until`.

A query is split into code and the rest (strings, quoted identifiers, comments, dollar quotes), so that only a
placeholder in code counts. `::casts` and array slices stay as they are.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from include.errors import SourceQueryError

Dialect = Literal["postgresql", "sqlite"]


@dataclass(frozen=True, kw_only=True)
class Bounds:
    """
    A stretch of time `[start, end)`, UTC, the column that has to lie in it, and the names under which a query asks for
    its ends.
    """

    start: datetime
    end: datetime
    column: str
    start_name: str = "partition_start"
    end_name: str = "partition_end"


# What is not code, in the order in which it is tried.
_SKIPPED: dict[Dialect, re.Pattern[str]] = {
    "postgresql": re.compile(
        r"""--[^\n]*"""
        r"""|(?<![\w$])[eE]'(?:[^'\\]|\\.|'')*'"""  # only E'' strings know the backslash
        r"""|'(?:[^']|'')*'|"(?:[^"]|"")*\""""
        r"""|(?<![\w$])\$(?P<tag>[A-Za-z_]\w*|)\$.*?\$(?P=tag)\$""",
        re.DOTALL,
    ),
    "sqlite": re.compile(
        r"""--[^\n]*|/\*.*?(?:\*/|\Z)|'(?:[^']|'')*'|"(?:[^"]|"")*"|`(?:[^`]|``)*`|\[[^\]]*\]""", re.DOTALL
    ),
}
_PLACEHOLDER = re.compile(r"(?<![:\w\])]):([A-Za-z_]\w*)")
_COMMENT_EDGE = re.compile(r"/\*|\*/")


def bind_bounds(query: str, dialect: Dialect, *, bounds: Bounds, parameters: tuple[str, str], name: str) -> str:
    """
    Put the dialect's own parameters where the query names its bounds.

    Parameters
    ----------
    query : str
        One statement; a semicolon at its end is dropped.
    dialect : {"postgresql", "sqlite"}
        Whose quoting rules apply.
    bounds : Bounds
        Which names the query has to use.
    parameters : pair of str
        SQL that stands for start and end, for instance `?1`.
    name : str
        The query's file, for messages.

    Returns
    -------
    str
        The query, ended by a newline: whatever follows is outside a comment on its last line.

    Raises
    ------
    SourceQueryError
        If a bound is missing, a placeholder is unknown, or there is more than one statement.

    """
    values = dict(zip((bounds.start_name, bounds.end_name), parameters, strict=True))
    found: set[str] = set()
    pieces: list[str] = []
    ended = False
    for text, is_code in _split(query, dialect):
        if not is_code:
            # A comment after the final semicolon is harmless, a string would be a second statement.
            ended = ended and _require_comment(text, name)
            pieces.append(text)
            continue
        if ended and text.strip(" \t\r\n;"):
            raise _several_statements(name)
        code, semicolon, rest = text.partition(";")
        if rest.strip(" \t\r\n;"):
            raise _several_statements(name)
        ended = ended or bool(semicolon)
        found.update(_PLACEHOLDER.findall(code))
        pieces.append(_PLACEHOLDER.sub(lambda match: values.get(match[1], match[0]), code))
    _check_names(found, bounds, name)
    return "".join(pieces).rstrip() + "\n"


def _split(query: str, dialect: Dialect) -> Iterator[tuple[str, bool]]:
    position = code_from = 0
    while position < len(query):
        end = _skipped_until(query, position, dialect)
        if end is None:
            position += 1
            continue
        yield query[code_from:position], True
        yield query[position:end], False
        position = code_from = end
    yield query[code_from:], True


def _skipped_until(query: str, position: int, dialect: Dialect) -> int | None:
    # Most characters start nothing that is skipped: look before the slower patterns do.
    if query[position] not in "-/'\"$eE`[":
        return None
    if dialect == "postgresql" and query.startswith("/*", position):
        return _end_of_nested_comment(query, position)
    match = _SKIPPED[dialect].match(query, position)
    return match.end() if match else None


def _end_of_nested_comment(query: str, position: int) -> int:
    depth = 0
    for edge in _COMMENT_EDGE.finditer(query, position):
        depth += 1 if edge[0] == "/*" else -1
        if depth == 0:
            return edge.end()
    return len(query)


def _require_comment(text: str, name: str) -> bool:
    if not text.startswith(("--", "/*")):
        raise _several_statements(name)
    return True


def _several_statements(name: str) -> SourceQueryError:
    return SourceQueryError(f"{name}: holds more than one statement: leave one SELECT")


def _check_names(found: set[str], bounds: Bounds, name: str) -> None:
    names = (bounds.start_name, bounds.end_name)
    missing = [f":{bound}" for bound in names if bound not in found]
    unknown = sorted(f":{other}" for other in found.difference(names))
    if missing:
        seen = f" (it names {', '.join(unknown)})" if unknown else ""
        raise SourceQueryError(
            f"{name}: does not name {' and '.join(missing)}{seen}: compare {bounds.column!r} with both bounds, "
            f"'{bounds.column} >= :{names[0]} AND {bounds.column} < :{names[1]}'"
        )
    if unknown:
        raise SourceQueryError(f"{name}: {', '.join(unknown)} is unknown: only :{names[0]} and :{names[1]} are bound")
