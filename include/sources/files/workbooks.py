"""
Look a workbook through before it is opened: unpack its members as a stream, within bounds, and find the cells that hold
errors.
"""

from __future__ import annotations

import html
import posixpath
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from include.errors import UnreadableFileError
from include.sources.files.packing import PIECE_BYTES, check_member, damage_named
from include.sources.files.storage import FoundFile, explained
from include.workflow import FileSource

MOST_BYTES = 256 * 2**20
MOST_CELLS = 20_000_000
_CELL = re.compile(rb"<(?:\w+:)?c\s[^<>]*>")
_REFERENCE = re.compile(rb"\sr\s*=\s*[\"']([A-Z]{1,3})([0-9]{1,7})[\"']")
_IS_ERROR = re.compile(rb"\st\s*=\s*[\"']e[\"']")
_ATTRIBUTE = re.compile(r"([\w:]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)')")
# No tag holds another's beginning: without that bound, beginnings with no end cost the square of their number.
_SHEET, _RELATION = re.compile(r"<(?:\w+:)?sheet\s[^<>]*>"), re.compile(r"<(?:\w+:)?Relationship\s[^<>]*>")
_BOOK, _LINKS = "xl/workbook.xml", "xl/_rels/workbook.xml.rels"
_LONGEST_TAG = 1024

Cell = tuple[int, int]  # (row, column), from 1 on


@dataclass(frozen=True, kw_only=True)
class Workbook:
    """
    What looking through found: of each sheet the cells that hold an error of Excel, which the reader would show as
    empty.
    """

    errors_by_title: Mapping[str, frozenset[Cell]]
    all_errors: frozenset[Cell]

    def error_cells(self, title: str) -> frozenset[Cell]:
        """Of one sheet; of all of them together, should the workbook not tell where that sheet is."""
        return self.errors_by_title.get(title, self.all_errors)


def look_through(file: FoundFile, source: FileSource) -> Workbook:
    """
    Unpack every member once, and refuse what would do harm.

    Raises
    ------
    UnreadableFileError
        If the workbook is cut or damaged, unpacks to too much, or a sheet spans too many cells or declares entities.

    """
    bound = min(source.max_bytes, MOST_BYTES)
    if file.size > bound:  # bytes before the archive unpack to nothing, and are read all the same
        raise UnreadableFileError(file.name, f"it is larger than {bound} bytes (source.max_bytes)")
    members: dict[str, _Member] = {}
    kept = {_BOOK: b"", _LINKS: b""}
    n_bytes = packed = 0
    with (
        explained(file.name),
        file.open_random() as raw,
        damage_named(file, "the workbook is cut or damaged"),
        zipfile.ZipFile(raw) as archive,
    ):
        for info in archive.infolist():
            check_member(file.name, info)
            packed += info.compress_size
            member = members.setdefault(info.filename, _Member(file.name))
            for piece in _pieces(archive, info):
                n_bytes += len(piece)
                if n_bytes > bound:
                    raise UnreadableFileError(file.name, f"it unpacks to more than {bound} bytes (source.max_bytes)")
                if n_bytes > max(PIECE_BYTES, packed * source.max_ratio):
                    raise UnreadableFileError(
                        file.name, f"it unpacks to more than {source.max_ratio:g} times its size (source.max_ratio)"
                    )
                # Where a sheet lies is the workbook's to say: each member is looked at.
                member.see(piece)
                if info.filename in kept:
                    kept[info.filename] += piece
    all_errors = frozenset[Cell]().union(*(member.error_cells for member in members.values()))
    return Workbook(errors_by_title=_by_title(members, kept), all_errors=all_errors)


def _pieces(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Iterator[bytes]:
    with archive.open(info) as member:
        while piece := member.read(PIECE_BYTES):
            yield piece


@dataclass
class _Member:
    """One member, looked at piece by piece."""

    file: str
    error_cells: set[Cell] = field(default_factory=set)
    n_cells: int = 0
    last_row: int = 0
    columns: tuple[int, int] = (2**31, 0)
    rest: bytes = b""
    is_begun: bool = False

    def see(self, piece: bytes) -> None:
        if not self.is_begun and piece.startswith((b"\xff\xfe", b"\xfe\xff")):
            raise UnreadableFileError(self.file, "a sheet is in UTF-16, which no spreadsheet writes")
        self.is_begun = True
        data = self.rest + piece
        if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
            raise UnreadableFileError(self.file, "a sheet declares entities of its own")
        end = 0
        for match in _CELL.finditer(data):
            self._see_cell(match[0])
            end = match.end()
        # A tag may be cut between two pieces.
        self.rest = data[max(end, len(data) - _LONGEST_TAG) :]
        if self.n_cells > MOST_CELLS or self.last_row * (self.columns[1] - self.columns[0] + 1) > MOST_CELLS:
            raise UnreadableFileError(self.file, f"a sheet spans more than {MOST_CELLS} cells")

    def _see_cell(self, tag: bytes) -> None:
        self.n_cells += 1
        reference, is_error = _REFERENCE.search(tag), _IS_ERROR.search(tag)
        if reference is None:
            if is_error:
                raise UnreadableFileError(self.file, "a cell holds an error of Excel, and does not say where it stands")
            return
        row, column = int(reference[2]), _column_number(reference[1])
        self.last_row = max(self.last_row, row)
        self.columns = min(self.columns[0], column), max(self.columns[1], column)
        if is_error:
            self.error_cells.add((row, column))


def _column_number(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _by_title(members: Mapping[str, _Member], kept: Mapping[str, bytes]) -> dict[str, frozenset[Cell]]:
    links = {link.get("Id"): link.get("Target", "") for link in _tags(_RELATION, kept[_LINKS])}
    found: dict[str, frozenset[Cell]] = {}
    for sheet in _tags(_SHEET, kept[_BOOK]):
        ids = [value for name, value in sheet.items() if name.rpartition(":")[2] == "id" and name != "id"]
        path = posixpath.normpath(posixpath.join("/xl", links.get(ids[0], "") if ids else "")).lstrip("/")
        if path in members:
            found[sheet.get("name", "")] = frozenset(members[path].error_cells)
    return found


def _tags(pattern: re.Pattern[str], data: bytes) -> Iterator[dict[str, str]]:
    for tag in pattern.finditer(data.decode("utf-8", errors="replace")):
        yield {name: html.unescape(double or single) for name, double, single in _ATTRIBUTE.findall(tag[0])}
