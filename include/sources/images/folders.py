"""
The files below an image source's root, wherever it is: listed once, sorted by path; nothing else can be opened.

An annotation's file name is compared with this list and never handed to a file system, so that no name leads out of the
root.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatch
from typing import Any, Protocol

from include.errors import ImageFolderError, SourceUnavailableError

# What operating systems leave beside images.
_IGNORED = (".*", "Thumbs.db", "desktop.ini", "_SUCCESS")
_TOO_LARGE = "n_bytes: the file is larger than the declared limit"
GONE = "image_uri: the file has gone since it was listed"


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One file below the root: its relative path, and what cannot be read of it, if anything."""

    path: str
    size: int
    modified_at: datetime
    fault: str | None = None

    @property
    def suffix(self) -> str:
        """The name's extension, in lower case, with its dot."""
        return os.path.splitext(self.path)[1].lower()


class FileFaultError(Exception):
    """What is wrong with one file: the text becomes its row's `source_error`."""


class Folder(Protocol):
    """A root and the files below it."""

    def entries(self) -> Iterator[Entry]:
        """All files, in no particular order."""

    def uri_of(self, path: str) -> str:
        """Where a file is."""

    def open(self, path: str) -> Any:
        """
        Open a listed file: a context manager that gives a seekable binary file; a `FileFaultError` if it
        can't be.
        """

    def refusal(self, error: OSError) -> Exception:
        """What to raise where reading an opened file failed."""


def list_entries(folder: Folder, *, limit: int) -> list[Entry]:
    """
    List the files below a root, sorted by path; hidden files are left out.

    Raises
    ------
    ImageFolderError
        If there is no such root, or it holds more than `limit` files.
    SourceUnavailableError
        If the store does not answer, or the folder changes meanwhile.

    """
    found: list[Entry] = []
    for entry in folder.entries():
        if any(fnmatch(name, pattern) for name in entry.path.split("/") for pattern in _IGNORED):
            continue
        if len(found) == limit:
            raise ImageFolderError(
                f"{folder.uri_of('')}: holds more than {limit:,} files (source.max_images): cut it into partitions, or "
                "raise the limit"
            )
        found.append(entry)
    return sorted(found, key=lambda entry: entry.path)


def read_file(folder: Folder, entry: Entry, *, max_bytes: float) -> bytes:
    """
    Read a whole file.

    Raises
    ------
    FileFaultError
        If it is no plain file, larger than `max_bytes` (it is not read then), or has gone.
    SourceUnavailableError
        If the store does not answer, or the file is not as long as it was listed: somebody is writing it.

    """
    if entry.fault:
        raise FileFaultError(entry.fault)
    if entry.size > max_bytes:
        raise FileFaultError(_TOO_LARGE)
    with folder.open(entry.path) as file:
        try:
            data: bytes = file.read(int(max_bytes) + 1)
        except OSError as error:
            raise folder.refusal(error) from error
    if len(data) != entry.size:
        # Which file is not said: its name may be a person's.
        raise SourceUnavailableError(
            f"{folder.uri_of('')}: a file changed while it was read: all is read again once it rests"
        )
    return data
