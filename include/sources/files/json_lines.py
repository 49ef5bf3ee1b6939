"""
JSON lines, strictly: a line is one flat object, each of whose fields is written as its type is, or it is one bad row.

Numbers are kept as the text that they are written in until they are cast: a float would lose the digits of a long one.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pyarrow as pa

from include.errors import SourceQueryError, UnreadableFileError
from include.sources.files.casting import says_no
from include.sources.files.chunks import Chunk, cast_rows, errors_array
from include.sources.files.csv_format import locate_line
from include.sources.files.headers import header_of, note_added
from include.sources.files.lines import Block, read_blocks
from include.sources.files.packing import Part
from include.workflow import FileSource

_MOST_DIGITS = 400


class _Number(str):
    """A number as it is written."""

    __slots__ = ()


class _RefusedError(ValueError):
    """Raised for what JSON lets pass and we do not."""


def read_json_lines(part: Part, source: FileSource) -> Iterator[Chunk]:
    """
    Read the records of one stream of JSON lines.

    Raises
    ------
    UnreadableFileError
        If it ends within an object.
    SourceQueryError
        If none of its lines has any declared field.

    """
    reader = _Reader(source)
    n_rows = n_errors = 0
    for block in read_blocks(part.stream, encoding=source.encoding, name=part.name):
        chunk = reader.read(block, name=part.name)
        n_rows, n_errors = n_rows + len(chunk.errors), n_errors + len(chunk.errors) - chunk.errors.null_count
        yield chunk
    if n_rows and n_rows == n_errors and not reader.has_object:
        raise SourceQueryError(f"{part.name}: none of its {n_rows} lines is a JSON object: is it a file of JSON lines?")
    note_added(reader.added, file=part.name)


class _Reader:
    """Takes lines apart; remembers the fields that are not declared."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        self.added: set[str] = set()
        self.has_object = False
        self._fields = [
            (name, header_of(source, name), kind, _writer(kind, source)) for name, kind in source.columns.items()
        ]
        self._names = {header for _, header, _, _ in self._fields}
        self._parse = json.JSONDecoder(
            parse_int=_number,
            parse_float=_number,
            parse_constant=_no_constant,
            object_pairs_hook=_without_twins,
            strict=True,
        ).decode

    def read(self, block: Block, *, name: str) -> Chunk:
        lines = block.records().to_pylist()
        kept = [position for position, line in enumerate(lines) if line.strip() or position in block.errors]
        errors: dict[int, str] = {}
        columns: list[list[str | None]] = [[None] * len(kept) for _ in self._fields]
        for row, position in enumerate(kept):
            error = block.errors.get(position) or self._fill(lines[position], columns, row)
            if error:
                errors[row] = error
        _check_end(block, kept, errors, name=name)
        texts = [pa.array(column, pa.string()) for column in columns]
        rows, wrong = cast_rows(texts, self.source, errors=errors_array(len(kept), errors))
        positions = np.array(kept)
        return Chunk(rows=rows, errors=wrong, locate=lambda row: locate_line(block, int(positions[row])))

    def _fill(self, line: bytes, columns: list[list[str | None]], row: int) -> str | None:
        """Put a line's fields into the columns; return what is wrong with it."""
        try:
            found = self._parse(line.decode("utf-8"))
        except _RefusedError as error:
            return str(error)
        except ValueError:
            return "line is no JSON"
        except RecursionError:
            return "line is nested too deeply"
        if not isinstance(found, dict):
            return "line is no JSON object"
        self.has_object = True
        if len(found) > len(self._names) or not found.keys() <= self._names:
            self.added |= found.keys() - self._names
        return self._fill_fields(found, columns, row)

    def _fill_fields(self, found: dict[str, Any], columns: list[list[str | None]], row: int) -> str | None:
        for column, (name, header, kind, write) in zip(columns, self._fields, strict=True):
            try:
                value = found[header]
            except KeyError:
                if name in self.source.optional:
                    continue
                return f"field '{header}' is missing"
            if value is not None:
                text = write(value)
                if text is None:
                    return says_no(name, kind)
                column[row] = text
        return None


def _number(text: str) -> _Number:
    if len(text) > _MOST_DIGITS:
        raise _RefusedError(f"line holds a number of more than {_MOST_DIGITS} digits")
    return _Number(text)


def _no_constant(name: str) -> None:
    raise _RefusedError(f"line holds {name}, which is no JSON")


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise _RefusedError("line gives a field twice")
    return found


def _writer(kind: str, source: FileSource) -> Callable[[Any], str | None]:
    """Return what turns a value into the text to be cast; None where JSON has another type for it."""
    if kind == "boolean":
        return lambda value: ("true" if value else "false") if isinstance(value, bool) else None
    if kind in ("integer", "number"):
        return lambda value: _point(value, source) if type(value) is _Number else None
    if kind.startswith("decimal"):
        return lambda value: _point(value, source) if isinstance(value, str) else None
    return lambda value: _plain_text(value) if type(value) is str else None


def _point(text: str, source: FileSource) -> str:
    # JSON's numbers have a point, whatever the declaration says of other texts.
    return text.replace(".", ",") if source.decimal_comma and type(text) is _Number else text


def _plain_text(text: str) -> str | None:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:  # half of a surrogate pair
        return None
    return None if "\0" in text else text


def _check_end(block: Block, kept: list[int], errors: dict[int, str], *, name: str) -> None:
    if block.is_cut and kept and kept[-1] == block.n_records - 1 and len(kept) - 1 in errors:
        raise UnreadableFileError(
            name,
            f"the last line does not end, and {errors[len(kept) - 1]}: the file was cut",
            byte_offset=block.offset + len(block.raw),
        )
