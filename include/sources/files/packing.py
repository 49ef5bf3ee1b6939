"""
Unpack gzip and zip as a stream, within bounds: no byte is unpacked that was not asked for, and none is written
anywhere.

A packed file is refused as a whole if it ends early, fails its checksum, unpacks to more than `max_bytes` or more than
`max_ratio` bytes for each packed one, or (a zip) holds what has no place in it: a link, a path that leads out, a
further archive, a locked member.
"""

from __future__ import annotations

import contextlib
import logging
import stat
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

import pyarrow as pa

from include.errors import UnreadableFileError
from include.sources.files.storage import FoundFile, explained
from include.workflow import FileSource

log = logging.getLogger(__name__)

PIECE_BYTES = 2**20
_RATIO_COUNTS_FROM = 2**20  # a small file may be packed as well as it likes
_MOST_MEMBERS = 10_000
GZIP, ZIP = b"\x1f\x8b", b"PK\x03\x04"
_EMPTY_ZIP = b"PK\x05\x06"
_ARCHIVES = (".zip", ".gz", ".tar", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".zst", ".jar")
_MEMBERS = {"csv": ("*.csv", "*.tsv", "*.txt"), "json_lines": ("*.json", "*.jsonl", "*.ndjson")}


class Stream(Protocol):
    """Bytes, read once from their start; an empty answer is their end."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """One readable stream of a file: the file itself, or a member of a zip. `name` is what people see."""

    name: str
    stream: Stream


def open_parts(file: FoundFile, source: FileSource) -> Iterator[Part]:
    """
    Open a file's streams one after the other, unpacked, within bounds.

    Raises
    ------
    UnreadableFileError
        If the bytes are not what the name says, or no archive that may be unpacked.

    """
    kind = _packing(file)
    bounds = _Bounds(file.name, source)
    if kind == "zip":
        yield from _members(file, source, bounds)
        return
    with explained(file.name), file.open_stream() as raw:
        plain = _Plain(raw, file.name)
        yield Part(name=file.name, stream=_Gunzip(plain, bounds) if kind == "gzip" else _Bounded(plain, bounds))


def _packing(file: FoundFile) -> str | None:
    """How a file is packed: its name and its first bytes have to agree."""
    with explained(file.name):
        head = file.head()[:4]
    found = "gzip" if head[:2] == GZIP else "zip" if head in (ZIP, _EMPTY_ZIP) else None
    named = "gzip" if file.name.endswith(".gz") else "zip" if file.name.endswith(".zip") else None
    if not file.size:
        raise UnreadableFileError(file.name, "the file is empty: not even a header came", byte_offset=0)
    if found != named:
        raise UnreadableFileError(
            file.name,
            f"its name says {named or 'plain bytes'}, its first bytes say {found or 'something else'}",
            byte_offset=0,
        )
    return named


class _Bounds:
    """How much a file may unpack to, in all its members together."""

    def __init__(self, name: str, source: FileSource) -> None:
        self._name, self._source = name, source
        self._unpacked = 0

    def count(self, n_bytes: int, *, packed: int | None) -> None:
        self._unpacked += n_bytes
        if self._unpacked > self._source.max_bytes:
            raise UnreadableFileError(
                self._name,
                f"it unpacks to more than {self._source.max_bytes} bytes (source.max_bytes)",
                byte_offset=packed,
            )
        if packed is not None and self._unpacked > max(_RATIO_COUNTS_FROM, packed * self._source.max_ratio):
            raise UnreadableFileError(
                self._name,
                f"it unpacks to more than {self._source.max_ratio:g} times its size (source.max_ratio)",
                byte_offset=packed,
            )


class _Plain:
    """Raw bytes, with their storage's errors explained."""

    def __init__(self, raw: Any, name: str) -> None:
        self._raw, self.name = raw, name
        self.n_read = 0

    def read(self, size: int) -> bytes:
        with explained(self.name):
            piece = bytes(self._raw.read(size))
        self.n_read += len(piece)
        return piece


class _Bounded:
    """A stream whose bytes are counted."""

    def __init__(self, inner: Stream, bounds: _Bounds) -> None:
        self._inner, self._bounds = inner, bounds

    def read(self, size: int) -> bytes:
        piece = self._inner.read(size)
        self._bounds.count(len(piece), packed=None)
        return piece


class _Gunzip:
    """The unpacked bytes of one or more gzip members; at most what is asked for is unpacked at a time."""

    def __init__(self, packed: _Plain, bounds: _Bounds) -> None:
        self._packed, self._bounds = packed, bounds
        self._unpacker: Any = None
        self._rest = b""

    def read(self, size: int) -> bytes:
        while True:
            if not self._rest:
                self._rest = self._packed.read(PIECE_BYTES // 4)
            if not self._rest:
                return self._end()
            piece = self._unpack(size)
            if piece:
                self._bounds.count(len(piece), packed=self._packed.n_read)
                return piece

    def _unpack(self, size: int) -> bytes:
        if self._unpacker is None:
            # Zeros after the last member are padding, anything else has to be a further member.
            self._rest = self._rest.lstrip(b"\0")
            if not self._rest:
                return b""
            self._unpacker = zlib.decompressobj(wbits=31)
        try:
            piece: bytes = self._unpacker.decompress(self._rest, size)
        except zlib.error:
            raise UnreadableFileError(
                self._packed.name, "its gzip stream is damaged", byte_offset=self._packed.n_read - len(self._rest)
            ) from None
        if self._unpacker.eof:
            self._rest, self._unpacker = self._unpacker.unused_data, None
        else:
            self._rest = self._unpacker.unconsumed_tail
        return piece

    def _end(self) -> bytes:
        if self._unpacker is None:
            return b""
        # The last bytes may wait in the unpacker although all the packed ones are consumed.
        piece: bytes = self._unpacker.decompress(b"", PIECE_BYTES)
        if piece:
            self._bounds.count(len(piece), packed=self._packed.n_read)
            return piece
        raise UnreadableFileError(
            self._packed.name, "the gzip stream ends early: the file was cut", byte_offset=self._packed.n_read
        )


def _members(file: FoundFile, source: FileSource, bounds: _Bounds) -> Iterator[Part]:
    with (
        explained(file.name),
        file.open_random() as raw,
        damage_named(file, "the zip is cut or damaged"),
        zipfile.ZipFile(raw) as archive,
    ):
        wanted = _wanted(archive, file, source)
        for number, member in enumerate(wanted):
            packed = sum(info.compress_size for info in wanted[: number + 1])
            with archive.open(member) as stream:
                yield Part(
                    name=f"{file.name}!{member.filename}", stream=_Member(stream, bounds, packed=packed, file=file.name)
                )


@contextlib.contextmanager
def damage_named(file: FoundFile, reason: str) -> Iterator[None]:
    """
    Turn what a damaged zip raises into our error: a wrong place in it may lie outside the file.

    Raises
    ------
    UnreadableFileError
        Instead of any of these.

    """
    try:
        yield
    except (zipfile.BadZipFile, NotImplementedError, EOFError, zlib.error, pa.ArrowInvalid):
        raise UnreadableFileError(file.name, reason, byte_offset=file.size) from None


class _Member:
    """A zip's member, counted against its packed size."""

    def __init__(self, stream: Any, bounds: _Bounds, *, packed: int, file: str) -> None:
        self._stream, self._bounds, self._packed, self._file = stream, bounds, packed, file

    def read(self, size: int) -> bytes:
        try:
            piece: bytes = self._stream.read(min(size, PIECE_BYTES))
        except (zlib.error, zipfile.BadZipFile, EOFError):
            raise UnreadableFileError(self._file, "a member of the zip is cut or damaged") from None
        self._bounds.count(len(piece), packed=self._packed)
        return piece


def _wanted(archive: zipfile.ZipFile, file: FoundFile, source: FileSource) -> list[zipfile.ZipInfo]:
    infos = archive.infolist()
    if len(infos) > _MOST_MEMBERS:
        raise UnreadableFileError(file.name, f"the zip has more than {_MOST_MEMBERS} members")
    for info in infos:
        check_member(file.name, info)
    names = [info.filename for info in infos]
    if len(set(names)) < len(names):
        raise UnreadableFileError(file.name, "the zip holds two members of one name")
    patterns = (source.member,) if source.member else _MEMBERS[source.format]
    # macOS puts a shadow of each file beside it.
    files = [info for info in infos if not info.is_dir() and not info.filename.startswith("__MACOSX/")]
    wanted = [info for info in files if any(fnmatchcase(info.filename, pattern) for pattern in patterns)]
    if not wanted:
        raise UnreadableFileError(
            file.name, f"the zip has no member that matches {' or '.join(patterns)} (source.member)"
        )
    if len(wanted) < len(files):
        log.warning(
            "%s: %d of its %d members are not read: they do not match %s",
            file.name,
            len(files) - len(wanted),
            len(files),
            patterns,
        )
    return sorted(wanted, key=lambda info: info.filename)


def check_member(file: str, info: zipfile.ZipInfo) -> None:
    """
    Refuse what has no place in a zip of data.

    Raises
    ------
    UnreadableFileError
        If a member is locked, is a link or a further archive, has a path that leads out, or is packed in a way that has
        no bound.

    """
    name = info.orig_filename
    segments = name.replace("\\", "/").split("/")
    if name.startswith(("/", "\\")) or ".." in segments or ":" in segments[0] or not name.isprintable():
        raise UnreadableFileError(file, "the zip has a member whose path leads out of it")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise UnreadableFileError(file, "the zip has a member that is a link")
    if name.lower().endswith(_ARCHIVES):
        raise UnreadableFileError(file, "the zip holds a further archive")
    if info.flag_bits & 0x1:
        raise UnreadableFileError(file, "the zip is locked with a password")
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise UnreadableFileError(file, "the zip is packed in a way other than 'deflate'")
