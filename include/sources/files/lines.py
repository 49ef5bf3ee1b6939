"""
Cut a stream of bytes into lines, in any encoding, and remember of each where it stood.

A line ends with LF, CRLF or (where a file's first line does) CR. Lines come in blocks: one buffer of UTF-8 and the
bounds of its lines. A line whose bytes are not in the declared encoding, and one that is longer than a mebibyte, keeps
its place and its bytes, and has an error.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import pyarrow as pa

from include.errors import UnreadableFileError
from include.sources.files.packing import PIECE_BYTES, Stream

MOST_BYTES = 2**20
KEPT_BYTES = 65_536
_TOO_LONG = f"line is longer than {MOST_BYTES} bytes"
_WIDE = ("utf-16", "utf-32")


@dataclass(frozen=True, kw_only=True)
class Block:
    """
    Some records that follow each other in a file.

    Attributes
    ----------
    text : bytes
        Their UTF-8, each with its line break.
    bounds : ndarray of int, of shape (n_records + 1,)
        Where in `text` each starts.
    raw, raw_bounds
        The same for the bytes as they stand in the (unpacked) file; of UTF-16 and UTF-32, as they are in UTF-8.
    offset : int
        Where `raw` starts in the file.
    errors : dict of int to str
        What is wrong with a record, by its position.
    is_cut : bool
        Whether the file ends here without a line break.
    full_length : int, optional
        Of a line that is too long to be kept: its length. Then it is the only one.

    """

    text: bytes
    bounds: np.ndarray
    raw: bytes
    raw_bounds: np.ndarray
    offset: int
    errors: dict[int, str] = field(default_factory=dict)
    is_cut: bool = False
    full_length: int | None = None

    @property
    def is_whole(self) -> bool:
        """Whether all its bytes are here."""
        return self.full_length is None

    @property
    def n_records(self) -> int:
        """Number of records."""
        return len(self.bounds) - 1

    def records(self) -> pa.Array:
        """Return the records as an array of binary, without a copy."""
        return binary_array(self.text, self.bounds)

    def part(self, start: int, end: int) -> Block:
        """Some of the records."""
        return replace(
            self,
            text=self.text[self.bounds[start] : self.bounds[end]],
            bounds=self.bounds[start : end + 1] - self.bounds[start],
            raw=self.raw[self.raw_bounds[start] : self.raw_bounds[end]],
            raw_bounds=self.raw_bounds[start : end + 1] - self.raw_bounds[start],
            offset=self.offset + int(self.raw_bounds[start]),
            errors={position - start: error for position, error in self.errors.items() if start <= position < end},
            is_cut=self.is_cut and end == self.n_records,
        )

    def followed_by(self, other: Block) -> Block:
        """These records and those of the block that comes next in the file."""
        return replace(
            self,
            text=self.text + other.text,
            bounds=np.concatenate((self.bounds[:-1], other.bounds + len(self.text))),
            raw=self.raw + other.raw,
            raw_bounds=np.concatenate((self.raw_bounds[:-1], other.raw_bounds + len(self.raw))),
            errors=self.errors | {position + self.n_records: error for position, error in other.errors.items()},
            is_cut=other.is_cut,
        )

    def merged(self, is_start: np.ndarray) -> Block:
        """The same bytes in fewer records: a record that is no start becomes a part of the one before it."""
        new = np.cumsum(is_start) - 1
        return replace(
            self,
            bounds=self.bounds[np.append(is_start, True)],
            raw_bounds=self.raw_bounds[np.append(is_start, True)],
            errors={int(new[position]): error for position, error in self.errors.items()},
        )

    def raw_record(self, position: int) -> bytes:
        """Return a record's bytes as they stand in the file."""
        return self.raw[self.raw_bounds[position] : self.raw_bounds[position + 1]]

    def place(self, position: int) -> tuple[int, int]:
        """Return where in the file a record starts, and how long it is."""
        start, end = int(self.raw_bounds[position]), int(self.raw_bounds[position + 1])
        return self.offset + start, end - start if self.full_length is None else self.full_length


def binary_array(data: bytes, bounds: np.ndarray) -> pa.Array:
    """Return the pieces of a buffer as an array, without a copy."""
    offsets = pa.py_buffer(bounds.astype(np.int32))
    return pa.Array.from_buffers(pa.binary(), len(bounds) - 1, [None, offsets, pa.py_buffer(data)])


def read_blocks(stream: Stream, *, encoding: str, name: str) -> Iterator[Block]:
    """
    Cut a stream into blocks of lines.

    Raises
    ------
    UnreadableFileError
        If UTF-16 or UTF-32 is broken: then no later byte can be read either.

    """
    plain = codecs.lookup(encoding).name
    is_wide = plain.startswith(_WIDE)
    cutter = _Cutter(
        _Transcoder(stream, plain, name) if is_wide else stream, has_bom=plain in ("utf-8", "utf-8-sig") or is_wide
    )
    line_encoding = "utf-8" if is_wide or plain == "utf-8-sig" else plain
    for block in cutter.blocks():
        yield _decoded(block, line_encoding)


class _Cutter:
    """Cuts bytes at line breaks; holds back what has no break yet."""

    def __init__(self, stream: Stream, *, has_bom: bool) -> None:
        self._stream, self._has_bom = stream, has_bom
        self._rest, self._offset = b"", 0
        self._break = 0

    def blocks(self) -> Iterator[Block]:
        while piece := self._stream.read(PIECE_BYTES):
            data = self._rest + piece
            if not self._break:
                data = self._begin(data)
            end = data.rfind(self._break) + 1
            if end:
                yield self._block(data[:end])
            self._rest = data[end:]
            if len(self._rest) > MOST_BYTES:
                yield self._long_line()
        # After a line that was passed over whole lines may wait.
        end = self._rest.rfind(self._break) + 1 if self._break else 0
        if end:
            yield self._block(self._rest[:end])
        if self._rest[end:]:
            yield self._block(self._rest[end:], is_cut=True)

    def _begin(self, data: bytes) -> bytes:
        if self._has_bom and data.startswith(codecs.BOM_UTF8):
            data, self._offset = data[len(codecs.BOM_UTF8) :], len(codecs.BOM_UTF8)
        line_feed, carriage = data.find(b"\n"), data.find(b"\r")
        is_old_mac = (
            carriage >= 0 and (line_feed < 0 or carriage < line_feed - 1) and data[carriage + 1 : carriage + 2] != b"\n"
        )
        self._break = 13 if is_old_mac else 10
        return data

    def _block(self, data: bytes, *, is_cut: bool = False) -> Block:
        ends = np.flatnonzero(np.frombuffer(data, np.uint8) == self._break) + 1
        bounds = np.concatenate(([0], ends, [len(data)] if is_cut else [])).astype(np.int64)
        # The same rule wherever the stream happens to be cut into pieces.
        errors = {int(position): _TOO_LONG for position in np.flatnonzero(np.diff(bounds) > MOST_BYTES)}
        block = Block(
            text=data, bounds=bounds, raw=data, raw_bounds=bounds, offset=self._offset, errors=errors, is_cut=is_cut
        )
        self._offset += len(data)
        return block

    def _long_line(self) -> Block:
        """Pass over a line that is too long; only its start is kept."""
        kept, length, has_end = self._rest[:KEPT_BYTES], len(self._rest), False
        self._rest = b""
        while not has_end and (piece := self._stream.read(PIECE_BYTES)):
            end = piece.find(self._break) + 1
            has_end = end > 0
            length += end or len(piece)
            self._rest = piece[end:] if has_end else b""
        bounds = np.array([0, len(kept)])
        block = Block(
            text=b"\n",
            bounds=np.array([0, 1]),
            raw=kept,
            raw_bounds=bounds,
            offset=self._offset,
            errors={0: _TOO_LONG},
            is_cut=not has_end,
            full_length=length,
        )
        self._offset += length
        return block


class _Transcoder:
    """UTF-16 or UTF-32 as UTF-8."""

    def __init__(self, stream: Stream, encoding: str, name: str) -> None:
        self._stream, self._name, self._encoding = stream, name, encoding
        self._decoder = codecs.getincrementaldecoder(encoding)("strict")
        self._n_read = 0

    def read(self, size: int) -> bytes:
        while True:
            piece = self._stream.read(size)
            try:
                text = self._decoder.decode(piece, final=not piece)
            except UnicodeError:
                raise UnreadableFileError(
                    self._name, f"bytes are not {self._encoding}, or the file was cut", byte_offset=self._n_read
                ) from None
            self._n_read += len(piece)
            if text or not piece:
                return text.encode("utf-8")


def _decoded(block: Block, encoding: str) -> Block:
    """Turn a block into UTF-8, strictly."""
    if not block.is_whole:
        return block
    try:
        is_same = encoding == "utf-8" and block.raw.decode(encoding) is not None
    except UnicodeDecodeError:
        is_same = False
    return block if is_same or (encoding != "utf-8" and block.raw.isascii()) else _decoded_by_line(block, encoding)


def _decoded_by_line(block: Block, encoding: str) -> Block:
    texts, errors = [], dict(block.errors)
    for position in range(block.n_records):
        line = block.raw_record(position)
        try:
            texts.append(line.decode(encoding).encode("utf-8"))
        except UnicodeDecodeError:
            # A break alone keeps the line's place.
            texts.append(b"\n")
            errors[position] = errors.get(position) or f"bytes are not {encoding.upper()}"
    bounds = np.cumsum([0, *(len(text) for text in texts)])
    return replace(block, text=b"".join(texts), bounds=bounds, errors=errors)
