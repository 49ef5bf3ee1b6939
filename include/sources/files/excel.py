"""
Excel workbooks (.xlsx, .xlsm), strictly: a cell is of the declared type already, or is a text that is exactly such a
value.

A workbook is the one format that has to be held in memory as a whole, so it is looked through before it is opened: its
members are unpacked as a stream, within bounds, and a sheet whose cells lie so far apart that the table between them
would fill the memory is refused.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa

from include.errors import SourceQueryError, UnreadableFileError
from include.sources.files.casting import says_no
from include.sources.files.chunks import Chunk, Location, cast_rows, errors_array
from include.sources.files.headers import place_columns
from include.sources.files.storage import FoundFile, explained
from include.sources.files.workbooks import Cell, look_through
from include.workflow import FileSource

BATCH_ROWS = 16_384
_EXACT = 2**53


def read_excel(file: FoundFile, source: FileSource) -> Iterator[tuple[str, Chunk]]:
    """
    Read one sheet of a workbook; with its name (`file.xlsx#sheet`).

    Raises
    ------
    UnreadableFileError
        If the workbook is cut, damaged, or made to harm.
    SourceQueryError
        If it has no such sheet, or the sheet's first row is not the declared header.

    """
    from python_calamine import CalamineError, CalamineWorkbook

    if not file.name.lower().endswith((".xlsx", ".xlsm")):
        raise SourceQueryError(f"{file.name}: is no .xlsx or .xlsm: save it as such, or narrow source.path")
    surveys = look_through(file, source)
    with explained(file.name), file.open_random() as raw:
        data = io.BytesIO(raw.readall())
    try:
        workbook = CalamineWorkbook.from_filelike(data)
        title = _choose_sheet(workbook.sheet_names, source, file=file.name)
        sheet = workbook.get_sheet_by_name(title)
        left = sheet.start[1] if sheet.start else 0
        rows = sheet.iter_rows()
    except CalamineError as error:
        raise UnreadableFileError(file.name, f"it is no workbook that can be read ({type(error).__name__})") from None
    name = f"{file.name}#{title}"
    for chunk in _chunks(
        enumerate(rows, start=1), source, name=name, left=left, error_cells=surveys.error_cells(title)
    ):
        yield name, chunk


def _choose_sheet(titles: list[str], source: FileSource, *, file: str) -> str:
    if source.sheet is not None:
        if source.sheet not in titles:
            raise SourceQueryError(f"{file}: has no sheet {source.sheet!r}: it has {', '.join(map(repr, titles[:20]))}")
        return source.sheet
    if len(titles) != 1:
        raise SourceQueryError(
            f"{file}: has {len(titles)} sheets ({', '.join(map(repr, titles[:20]))}): name one with source.sheet"
        )
    return titles[0]


def _chunks(
    rows: Iterator[tuple[int, list[Any]]], source: FileSource, *, name: str, left: int, error_cells: frozenset[Cell]
) -> Iterator[Chunk]:
    sheet = None
    rows_with_errors = {row for row, _ in error_cells}
    batch: list[tuple[int, list[Any]]] = []
    for number, cells in rows:
        if all(cell == "" for cell in cells) and number not in rows_with_errors:
            continue
        if sheet is None:
            sheet = _Sheet(cells, source, name=name, left=left, error_cells=error_cells)
            continue
        batch.append((number, cells))
        if len(batch) == BATCH_ROWS:
            yield sheet.chunk(batch)
            batch = []
    if sheet is None:
        raise UnreadableFileError(name, "the sheet is empty: not even a header came")
    if batch:
        yield sheet.chunk(batch)


class _Sheet:
    """Turns a sheet's cells into the texts that are cast."""

    def __init__(
        self, header: list[Any], source: FileSource, *, name: str, left: int, error_cells: frozenset[Cell]
    ) -> None:
        self._source, self._left = source, left
        names = [cell if isinstance(cell, str) else repr(cell) for cell in header]
        self._width = max((i + 1 for i, title in enumerate(names) if title), default=0)
        positions = place_columns(names[: self._width], source, file=name)
        self._columns = [
            (column, position, _writer(kind))
            for (column, kind), position in zip(source.columns.items(), positions, strict=True)
        ]
        self._kinds = source.columns
        self._error_cells = error_cells

    def chunk(self, batch: list[tuple[int, list[Any]]]) -> Chunk:
        texts: list[list[str | None]] = [[None] * len(batch) for _ in self._columns]
        errors: dict[int, str] = {}
        for row, (number, cells) in enumerate(batch):
            error = self._fill(number, cells, texts, row)
            if error:
                errors[row] = error
        columns = [pa.array(column, pa.string()) for column in texts]
        rows, wrong = cast_rows(columns, self._source, errors=errors_array(len(batch), errors))
        return Chunk(
            rows=rows, errors=wrong, locate=lambda row: Location(data=_as_json(batch[row][1]), row_number=batch[row][0])
        )

    def _fill(self, number: int, cells: list[Any], texts: list[list[str | None]], row: int) -> str | None:
        width = max((i + 1 for i, cell in enumerate(cells) if cell != ""), default=0)
        if width > self._width:
            return f"row has {width} cells, the header has {self._width}"
        for column, (name, position, write) in zip(texts, self._columns, strict=True):
            if position is None:
                continue
            if (number, self._left + position + 1) in self._error_cells:
                return f"column '{name}' holds an error of Excel"
            cell = cells[position]
            if (
                cell == "" and isinstance(cell, str) and "" in self._source.null_values
            ) or cell in self._source.null_values:
                continue
            text = write(cell)
            if text is None or "\0" in text:
                return says_no(name, self._kinds[name])
            column[row] = text.replace(".", ",") if self._source.decimal_comma and not isinstance(cell, str) else text
        return None


def _writer(kind: str) -> Callable[[Any], str | None]:
    """Return what turns a cell into the text to be cast; None where the cell is of another type."""
    if kind.startswith("decimal"):
        return lambda cell: cell if isinstance(cell, str) else _decimal(cell)
    return {
        "text": _text,
        "integer": _integer,
        "number": _number,
        "boolean": _boolean,
        "timestamp": _timestamp,
        "date": _date,
    }[kind]


def _text(cell: Any) -> str | None:
    # A number under a text has lost what a text would have kept: its leading zeros.
    return cell if isinstance(cell, str) else None


def _is_number(cell: Any) -> bool:
    return isinstance(cell, int | float) and not isinstance(cell, bool)


def _integer(cell: Any) -> str | None:
    if isinstance(cell, str):
        return cell
    # From 2^53 on Excel has rounded already.
    return str(int(cell)) if _is_number(cell) and abs(cell) < _EXACT and cell == int(cell) else None


def _number(cell: Any) -> str | None:
    return cell if isinstance(cell, str) else repr(float(cell)) if _is_number(cell) else None


def _decimal(cell: Any) -> str | None:
    return f"{Decimal(repr(cell)).normalize():f}" if _is_number(cell) and abs(cell) < _EXACT else None


def _boolean(cell: Any) -> str | None:
    return cell if isinstance(cell, str) else str(cell).lower() if isinstance(cell, bool) else None


def _timestamp(cell: Any) -> str | None:
    if isinstance(cell, datetime):
        return cell.replace(tzinfo=None).isoformat()
    return cell.isoformat() if isinstance(cell, date) else cell if isinstance(cell, str) else None


def _date(cell: Any) -> str | None:
    if isinstance(cell, datetime):
        is_midnight = cell.replace(tzinfo=UTC).timestamp() % 86_400 == 0
        return cell.date().isoformat() if is_midnight else None
    return cell.isoformat() if isinstance(cell, date) else cell if isinstance(cell, str) else None


def _as_json(cells: list[Any]) -> bytes:
    return json.dumps(cells, default=str, ensure_ascii=False).encode("utf-8", errors="replace")
