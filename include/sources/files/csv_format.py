"""
CSV, strictly: a line is a record exactly as wide as the header, with quotes only where they belong, or it is one bad
row.

Arrow's parser does the work, but is only shown lines that can be read in one way: it would let a stray quote swallow
the lines that follow, and drop quotes inside a field. The lines are looked at by linear-time patterns first, all at
once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv

from include.errors import SourceQueryError, UnreadableFileError
from include.sources.files.chunks import Chunk, Location, cast_rows, errors_array
from include.sources.files.headers import place_columns
from include.sources.files.lines import KEPT_BYTES, MOST_BYTES, Block, binary_array, read_blocks
from include.sources.files.packing import Part
from include.workflow import FileSource

_CUT_SHORT = "the last line does not end: it may be cut short"
_OPEN_QUOTE = "quote is not closed"


def read_csv(part: Part, source: FileSource) -> Iterator[Chunk]:
    """
    Read the records of one CSV stream.

    Raises
    ------
    UnreadableFileError
        If it ends within its header, or in a record that is short or has an open quote.
    SourceQueryError
        If its header is not the declared one.

    """
    form, header, pending = _Form(source), None, None
    for block in read_blocks(part.stream, encoding=source.encoding, name=part.name):
        if header is None:
            header, block = _read_header(block, form, part.name), block.part(1, block.n_records)
        if pending is not None and block.is_whole:
            block, pending = pending.followed_by(block), None
        elif pending is not None:
            yield _read_block(form.assemble(pending, is_last=True)[0], header, form, name=part.name)
        if form.may_span_lines and block.is_whole:
            block, pending = form.assemble(block)
        if block.n_records:
            yield _read_block(block, header, form, name=part.name)
    if header is None:
        raise UnreadableFileError(part.name, "it is empty: not even a header came", byte_offset=0)
    if pending is not None:
        yield _read_block(form.assemble(pending, is_last=True)[0], header, form, name=part.name)


class _Form:
    """How a well-formed record looks."""

    def __init__(self, source: FileSource) -> None:
        self.source = source
        delimiter = f"\\x{ord(source.delimiter):02x}"
        self.may_span_lines = source.newlines_in_values and source.quote is not None
        field = rf"[^{delimiter}\r\n]*"
        if source.quote is not None:
            quote = f"\\x{ord(source.quote):02x}"
            inside = "" if self.may_span_lines else r"\r\n"
            field = rf"(?:[^{delimiter}{quote}\r\n]*|{quote}(?:[^{quote}{inside}]|{quote}{quote})*{quote})"
            self.quoted = rf"{quote}(?:[^{quote}]|{quote}{quote})*{quote}"
        self.record = rf"^{field}(?:{delimiter}{field})*(?:\r\n|\n|\r)?$"

    def assemble(self, block: Block, *, is_last: bool = False) -> tuple[Block, Block | None]:
        """
        Join lines to records where a quoted value spans them. A record that is not whole yet is the second result.

        A line with an odd number of quotes opens a value that the next such line closes. Where what results is no
        well-formed record, the first of the lines alone is bad: the others are looked at anew, so that a stray quote
        swallows nothing.
        """
        quote = str(self.source.quote)
        odd = np.flatnonzero(pc.count_substring(block.records(), quote).to_numpy() % 2)
        is_start, at, n_records = np.ones(block.n_records, dtype=bool), 0, block.n_records
        while at < len(odd):
            first = int(odd[at])
            if at + 1 == len(odd):
                is_open = not is_last and not block.is_cut and block.bounds[-1] - block.bounds[first] <= MOST_BYTES
                n_records = first if is_open else n_records
                break
            last = int(odd[at + 1])
            is_joined = self._is_record(block, first, last + 1)
            if is_joined:
                is_start[first + 1 : last + 1] = False
            at += 2 if is_joined else 1
        done = block.part(0, n_records).merged(is_start[:n_records])
        return done, block.part(n_records, block.n_records) if n_records < block.n_records else None

    def _is_record(self, block: Block, first: int, end: int) -> bool:
        start, stop = int(block.bounds[first]), int(block.bounds[end])
        if stop - start > MOST_BYTES or any(first <= position < end for position in block.errors):
            return False
        return bool(
            pc.match_substring_regex(binary_array(block.text[start:stop], np.array([0, stop - start])), self.record)[
                0
            ].as_py()
        )


@dataclass(frozen=True, kw_only=True)
class _Header:
    """The file's columns: `positions` of the declared ones among them (None: the file lacks an optional one)."""

    width: int
    positions: tuple[int | None, ...]


def _read_header(block: Block, form: _Form, name: str) -> _Header:
    first = block.part(0, 1)
    if first.is_cut:
        raise UnreadableFileError(
            name, "it ends within its header: the file was cut", byte_offset=block.offset + len(block.raw)
        )
    if block.errors.get(0):
        raise SourceQueryError(f"{name}: the header: {block.errors[0]}; is source.encoding right?")
    if b"\0" in first.text or not pc.match_substring_regex(first.records(), form.record)[0].as_py():
        raise SourceQueryError(
            f"{name}: the header is no line of names with {form.source.delimiter!r} between: is source.delimiter right?"
        )
    width = int(_widths(first.records(), form)[0])
    names = [column[0].as_py() for column in _parse(first.text, form, width=width, wanted=range(width))]
    return _Header(width=width, positions=place_columns(names, form.source, file=name))


def _read_block(block: Block, header: _Header, form: _Form, *, name: str) -> Chunk:
    records = block.records()
    blank = _blank_lines(block, records, header)
    errors = _errors_of(block, records, header, form)
    _check_end(block, errors, form, name=name)
    is_good = ~blank
    is_good[list(errors)] = False
    text = block.text if is_good.all() else _joined(records.filter(pa.array(is_good)))
    wanted = sorted({position for position in header.positions if position is not None})
    parsed = dict(zip(wanted, _parse(text, form, width=header.width, wanted=wanted), strict=True))
    if len(parsed[wanted[0]]) != is_good.sum():
        raise UnreadableFileError(name, "its records can't be told apart", byte_offset=block.offset)
    kept = np.flatnonzero(~blank)
    source_rows = pa.array(np.cumsum(is_good) - 1, mask=~is_good).take(pa.array(kept))
    texts = [
        pa.nulls(len(kept), pa.string()) if at is None else _with_nulls(parsed[at], form.source).take(source_rows)
        for at in header.positions
    ]
    rows, wrong = cast_rows(texts, form.source, errors=errors_array(block.n_records, errors).take(pa.array(kept)))
    return Chunk(rows=rows, errors=wrong, locate=lambda position: locate_line(block, int(kept[position])))


def locate_line(block: Block, position: int) -> Location:
    """Tell where a record stood."""
    offset, length = block.place(position)
    data = block.raw_record(position)
    return Location(data=data[:KEPT_BYTES] if length > MOST_BYTES else data, byte_offset=offset, byte_length=length)


def _blank_lines(block: Block, records: pa.Array, header: _Header) -> np.ndarray:
    """Lines without a byte hold no record; of a single column they hold an empty value."""
    if header.width == 1 or not pc.less_equal(pc.binary_length(records), 2).true_count:
        return np.zeros(len(records), dtype=bool)
    is_blank = np.array(pc.is_in(records, value_set=pa.array([b"\n", b"\r\n", b"\r"])).to_numpy(zero_copy_only=False))
    # What could not be decoded looks blank.
    is_blank[list(block.errors)] = False
    return is_blank


def _errors_of(block: Block, records: pa.Array, header: _Header, form: _Form) -> dict[int, str]:
    """What keeps a line from being a record, by its position."""
    is_formed = _is_formed(block, records, form)
    widths = _widths(records, form)
    errors = {}
    blank = _blank_lines(block, records, header)
    for position in np.flatnonzero((~is_formed | (widths != header.width)) & ~blank).tolist():
        errors[position] = (
            f"line has {widths[position]} {'field' if widths[position] == 1 else 'fields'}, the header has "
            f"{header.width}"
            if is_formed[position]
            else _explain(records[position].as_py(), form)
        )
    return errors | block.errors


def _is_formed(block: Block, records: pa.Array, form: _Form) -> np.ndarray:
    """Which lines are well-formed records, of whatever width: ndarray of bool, of shape (n_records,)."""
    is_formed = np.ones(len(records), dtype=bool)
    doubtful = _holds(records, form.source.quote)
    n_breaks = block.text.count(b"\r")
    if n_breaks and n_breaks != block.text.count(b"\r\n"):
        doubtful = doubtful | _holds(records, "\r")
    if doubtful.any():
        looked_at = np.flatnonzero(doubtful)
        is_formed[looked_at] = pc.match_substring_regex(records.take(pa.array(looked_at)), form.record).to_numpy(
            zero_copy_only=False
        )
    if b"\0" in block.text:
        is_formed &= ~_holds(records, "\0")
    return is_formed


def _holds(records: pa.Array, character: str | None) -> np.ndarray:
    if character is None:
        return np.zeros(len(records), dtype=bool)
    return np.asarray(pc.match_substring(records, character).to_numpy(zero_copy_only=False))


def _widths(records: pa.Array, form: _Form) -> np.ndarray:
    """Count the fields of well-formed records: ndarray of int, of shape (n_records,)."""
    widths = pc.count_substring(records, form.source.delimiter).to_numpy() + 1
    quoted = np.flatnonzero(_holds(records, form.source.quote))
    if len(quoted):
        bare = pc.replace_substring_regex(records.take(pa.array(quoted)), pattern=form.quoted, replacement=b"")
        widths[quoted] = pc.count_substring(bare, form.source.delimiter).to_numpy() + 1
    return np.asarray(widths)


def _explain(record: bytes, form: _Form) -> str:
    quote = (form.source.quote or "").encode()
    if b"\0" in record:
        return "line holds a NUL byte"
    if quote and record.count(quote) % 2:
        return _OPEN_QUOTE
    return "quote stands where none may" if quote and quote in record else "carriage return stands outside quotes"


def _check_end(block: Block, errors: dict[int, str], form: _Form, *, name: str) -> None:
    """
    A last line without a break is where a file was cut, if it isn't whole; even if it looks whole, its last value may
    be a part.
    """
    if not block.is_cut:
        return
    last = block.n_records - 1
    if last in errors:
        raise UnreadableFileError(
            name,
            f"the last line does not end, and {errors[last]}: the file was cut",
            byte_offset=block.offset + len(block.raw),
        )
    if form.source.final_newline == "required":
        errors[last] = _CUT_SHORT


def _joined(records: pa.Array) -> bytes:
    return b"".join(records.to_pylist())


def _parse(text: bytes, form: _Form, *, width: int, wanted: Iterable[int]) -> list[pa.Array]:
    """Take well-formed records of one width apart: for each wanted column an array of string."""
    names = [f"c{i}" for i in range(width)]
    # The names come as a first line: else the parser would take a mark of byte order off the first value.
    data = pa.py_buffer(b"".join([form.source.delimiter.join(names).encode(), b"\n", text]))
    chosen = [names[i] for i in wanted]
    table = pacsv.read_csv(
        pa.BufferReader(data),
        read_options=pacsv.ReadOptions(use_threads=False, block_size=data.size + 1),
        parse_options=pacsv.ParseOptions(
            delimiter=form.source.delimiter,
            quote_char=form.source.quote or False,
            newlines_in_values=form.may_span_lines,
            ignore_empty_lines=False,
        ),
        convert_options=pacsv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=chosen,
            strings_can_be_null=False,
            check_utf8=False,
        ),
    )
    return [table.column(name).combine_chunks() for name in chosen]


def _with_nulls(texts: pa.Array, source: FileSource) -> pa.Array:
    if not source.null_values:
        return texts
    return pc.if_else(
        pc.is_in(texts, value_set=pa.array(source.null_values, pa.string())), pa.scalar(None, pa.string()), texts
    )
