"""
The rows of one archived page: found, typed, and each fault told. They depend on its bytes and on the
declaration alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from math import isfinite
from typing import Any

import pyarrow as pa

from include.errors import SourceQueryError
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN
from include.sources.times import UTC_TIMESTAMP
from include.sources.web.addresses import shown
from include.sources.web.archive import Archive, Stored
from include.sources.web.pages import parse_soup, parse_tree, require_html
from include.sources.web.parsers import load_parser, run_parser
from include.sources.web.selectors import select_rows
from include.workflow import Workflow
from include.workflow.sources.web import ColumnType, WebSource

FORMAT = 3  # raised whenever the same page gives other rows, or they are kept otherwise
ANCHOR, ITEMS = "anchor", "item"
_ARROW = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "time": UTC_TIMESTAMP,
}
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, kw_only=True)
class PageRows:
    """A page's rows, and how often each selector (the item's, and each column's) found something."""

    table: pa.Table
    found: Mapping[str, int]


def schema_of(source: WebSource) -> pa.Schema:
    """Columns of the source's rows: the declared ones, then the page's address and the row's fault."""
    columns = [pa.field(name, _ARROW[kind]) for name, kind in source.columns.items()]
    return pa.schema([*columns, pa.field(NAME_COLUMN, pa.string()), pa.field(ERROR_COLUMN, pa.string())])


def rows_of_page(workflow: Workflow, source: WebSource, archive: Archive, stored: Stored) -> PageRows:
    """
    Rows of an archived page, in the page's order.

    Raises
    ------
    SourceQueryError
        If the response is no HTML page, or the workflow's parser fails on it.
    DeclarationError
        If a selector or the parser cannot be read.

    """
    require_html(stored.url, stored.content_type)
    body = archive.body(stored)
    if source.parser is None:
        rows = list(
            select_rows(parse_tree(body, encoding=stored.encoding, url=stored.url), source, url=stored.final_url)
        )
    else:
        parse = load_parser(workflow.folder, source.parser)
        rows = run_parser(parse, parse_soup(body, encoding=stored.encoding), url=stored.url, parser=source.parser)
        _check_columns(rows, source, stored.url)
    columns = source.columns
    found = {ITEMS: len(rows), **dict.fromkeys(columns, 0)}
    typed = [_typed(row, columns, source.optional, stored.url, found) for row in rows]
    return PageRows(table=pa.Table.from_pylist(typed, schema=schema_of(source)), found=found)


def _check_columns(rows: list[dict[str, Any]], source: WebSource, url: str) -> None:
    unknown = sorted({name for row in rows for name in row} - {*source.columns, ANCHOR}, key=str)
    if unknown:
        raise SourceQueryError(
            f"{shown(url)}: {source.parser} gives a column {unknown[0]!r} that source.types does not name: add it "
            "there with its type"
        )


def _typed(
    row: Mapping[str, Any],
    columns: Mapping[str, ColumnType],
    optional: tuple[str, ...],
    url: str,
    found: dict[str, int],
) -> dict[str, Any]:
    """Give a row's values their types; each that is there is counted in `found`."""
    typed: dict[str, Any] = {}
    faults = []
    for name, kind in columns.items():
        value = row.get(name)
        if _is_missing(value):
            typed[name] = None
            if name not in optional:
                faults.append(f"{name}: is missing")
            continue
        found[name] += 1
        try:
            typed[name] = _CONVERTERS[kind](value)
        except (ValueError, TypeError, OverflowError):
            typed[name] = None
            faults.append(f"{name}: is no {kind}")
    anchor = None if ANCHOR in columns else row.get(ANCHOR)
    return {**typed, NAME_COLUMN: f"{url}#{anchor}" if anchor else url, ERROR_COLUMN: "; ".join(faults) or None}


def _is_missing(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError
    value.encode()  # a lone surrogate is no text
    if "\ufffd" in value:  # what stands for bytes that the page's encoding does not have
        raise ValueError
    return value.strip()


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, str) and not re.fullmatch(r"[+-]?[0-9]+", value.strip())):
        raise ValueError
    number = int(value) if isinstance(value, int | str) else None
    if number is None or not -(2**63) <= number < 2**63:
        raise ValueError
    return number


def _number(value: Any) -> float:
    if isinstance(value, bool) or (isinstance(value, str) and "_" in value):
        raise ValueError
    number = float(value)
    if not isfinite(number):
        raise ValueError
    return number


def _boolean(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return (
        _BOOLEANS[value.strip().lower()] if isinstance(value, str) and value.strip().lower() in _BOOLEANS else _refuse()
    )


def _refuse() -> bool:
    raise ValueError


def _time(value: Any) -> datetime:
    if isinstance(value, str):
        value = datetime.fromisoformat(value.strip())
    elif isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day, tzinfo=UTC)
    if not isinstance(value, datetime):
        raise TypeError
    return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


_CONVERTERS = {"text": _text, "integer": _integer, "number": _number, "boolean": _boolean, "time": _time}
