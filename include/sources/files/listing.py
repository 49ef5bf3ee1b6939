"""Find a partition's files: in the order of their names, at rest, and nowhere outside the declared folder."""

from __future__ import annotations

import logging
import os
import re
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import PurePosixPath

from pyarrow import fs

from include.errors import SourceQueryError, SourceUnavailableError, UnreadableFileError
from include.sources.files.storage import FoundFile, explained, open_filesystem
from include.workflow import FileSource
from include.workflow.durations import describe_duration
from include.workflow.partitions import PartitionWindow
from include.workflow.sources.files import PARTITION_KEY

log = logging.getLogger(__name__)

_WILD = re.compile(r"[*?\[]")
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def find_files(source: FileSource, *, window: PartitionWindow, connection_uri: str | None) -> list[FoundFile]:
    """
    Return the files that a partition reads, sorted by name.

    Raises
    ------
    SourceUnavailableError
        If there is none yet, one may still be growing, or its marker is not there: all pass by themselves.
    SourceQueryError
        If the folder does not exist, may not be listed, or holds a link that leads out of it.

    """
    with explained(source.path):
        filesystem, pattern = open_filesystem(source.path, connection_uri)
        root = fixed_root(pattern)
        if isinstance(filesystem, fs.LocalFileSystem) and not os.path.isdir(root):
            raise SourceQueryError(f"{source.path}: there is no folder {root}: create it, or correct source.path")
        # A key is [0-9T-]: it is no pattern.
        infos = expand(filesystem, root, pattern.replace(PARTITION_KEY, window.key)[len(root) :].strip("/").split("/"))
        files = [_found(filesystem, info, root) for info in infos]
    files = sorted((file for file in files if not _is_marker(file, source)), key=lambda file: file.name)
    if not files:
        raise SourceUnavailableError(
            f"{source.path.replace(PARTITION_KEY, window.key)}: no file is there for partition {window.key}: it may "
            "come late; if it never will, there is nothing to read"
        )
    for file in files:
        _require_rest(file, source)
    return files


def fixed_root(pattern: str) -> str:
    """Return the folder of a declared path down to which nothing in it varies."""
    segments = pattern.split("/")
    n_fixed = next(
        (i for i, segment in enumerate(segments) if _WILD.search(segment) or PARTITION_KEY in segment),
        len(segments) - 1,
    )
    return "/".join(segments[: min(n_fixed, len(segments) - 1)]) or "/"


def expand(filesystem: fs.FileSystem, folder: str, segments: list[str]) -> list[fs.FileInfo]:
    """Follow a path segment by segment; only the folders that match are listed."""
    segment, rest = segments[0], segments[1:]
    found = []
    for info in filesystem.get_file_info(fs.FileSelector(folder, allow_not_found=True)):
        if not fnmatchcase(info.base_name, segment):
            continue
        if rest and info.type == fs.FileType.Directory:
            found += expand(filesystem, info.path, rest)
        elif not rest and info.type == fs.FileType.File:
            found.append(info)
        elif not rest and info.type != fs.FileType.Directory:
            raise SourceQueryError(f"{info.path}: matches source.path, but is no regular file: take it away")
    return found


def _found(filesystem: fs.FileSystem, info: fs.FileInfo, root: str) -> FoundFile:
    name = str(PurePosixPath(info.path).relative_to(PurePosixPath(root)))
    if _UNPRINTABLE.search(name):
        raise SourceQueryError(
            f"{root}: a file's name holds characters that can't be shown ({_UNPRINTABLE.sub('?', name)!r}): rename it"
        )
    if isinstance(filesystem, fs.LocalFileSystem):
        home = os.path.realpath(root)
        if os.path.commonpath([home, os.path.realpath(info.path)]) != home:
            raise SourceQueryError(f"{name}: is a link that leads out of {root}: put the file itself there")
    return FoundFile(filesystem=filesystem, path=info.path, name=name, size=info.size, modified_ns=info.mtime_ns)


def _is_marker(file: FoundFile, source: FileSource) -> bool:
    if source.done_marker is None:
        return False
    return fnmatchcase(PurePosixPath(file.name).name, source.done_marker.replace("[", "[[]").replace("{file}", "*"))


def _require_rest(file: FoundFile, source: FileSource) -> None:
    age = datetime.now(UTC) - file.modified_at
    if age < source.settled:
        raise SourceUnavailableError(
            f"{file.name}: changed {max(0, int(age.total_seconds()))} s ago, so it may still be growing: it is read "
            f"once it has rested for {describe_duration(source.settled)} (source.settled)"
        )
    if source.done_marker is not None:
        marker = marker_of(file.path, source.done_marker)
        with explained(file.name):
            if file.filesystem.get_file_info(marker).type != fs.FileType.File:
                raise SourceUnavailableError(
                    f"{file.name}: its marker {PurePosixPath(marker).name!r} is not there yet (source.done_marker)"
                )


def marker_of(path: str, done_marker: str) -> str:
    """Return where the marker of a file lies."""
    folder, _, base = path.rpartition("/")
    return f"{folder}/{done_marker.replace('{file}', base)}"


def check_promise(file: FoundFile, source: FileSource) -> None:
    """
    Hold a file against its marker: one that holds a SHA-256, as `sha256sum` writes it, is a promise about the file's
    bytes.

    Raises
    ------
    UnreadableFileError
        If the file's bytes are others.

    """
    if source.done_marker is None:
        return
    marker = marker_of(file.path, source.done_marker)
    with explained(file.name), file.filesystem.open_input_stream(marker, compression=None) as stream:
        promise = re.match(rb"([0-9a-f]{64})(\s|$)", bytes(stream.read(200)))
        if promise and promise[1].decode() != file.digest():
            raise UnreadableFileError(
                file.name,
                f"its bytes are not those whose SHA-256 stands in {PurePosixPath(marker).name!r}: it was cut or "
                "changed",
            )
