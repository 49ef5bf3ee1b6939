"""
The prediction spool: answered predictions on this machine's disk, until the lake has them.

A file is written by one process, which holds a lock on it; when the process is gone, so is the lock, and another
process may collect the file. A line is one request. It is in the operating system's memory before the client is
answered: killing the process loses nothing. It is on the disk (fsync) when the file is closed, every few seconds: a
power cut may lose the lines since.
"""

from __future__ import annotations

import fcntl
import logging
import os
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from include.errors import LakeError

logger = logging.getLogger(__name__)

OPEN, CLOSED = "open-", "closed-"


class SpoolFullError(LakeError):
    """
    Raised when a prediction cannot be written down, so that it must not be answered. It passes when there is room
    again.
    """

    is_retryable = True


class SpoolWriter:
    """Appends lines to this process's own file. Safe to use from several threads."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._lock = threading.Lock()
        self._fd: int | None = None
        self._size = 0
        self.n_rows = 0  # since the last rotation

    def append(self, line: bytes, *, n_rows: int) -> None:
        """
        Write one line, all of it or nothing.

        Raises
        ------
        SpoolFullError
            If it cannot be written.

        """
        with self._lock:
            if self._fd is None:
                self._fd, self._size = self._create(), 0
            self._write(self._fd, line)
            self._size += len(line)
            self.n_rows += n_rows

    def rotate(self) -> None:
        """Close the current file, so that it may be collected; the next line opens a new one."""
        with self._lock:
            fd, self._fd, self.n_rows = self._fd, None, 0
        if fd is not None:
            os.fsync(fd)
            os.close(fd)  # gives the lock up: from here on the file may be collected

    def _create(self) -> int:
        name = uuid.uuid4().hex
        hidden, path = self._folder / f".{name}", self._folder / f"{OPEN}{name}.jsonl"
        try:
            fd = os.open(hidden, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            hidden.rename(path)  # visible only once it is locked
        except OSError as error:
            raise _full(self._folder, error) from error
        return fd

    def _write(self, fd: int, line: bytes) -> None:
        try:
            n_written = os.write(fd, line)
            if n_written != len(line):
                raise OSError(f"only {n_written} of {len(line)} bytes fit")
        except OSError as error:
            os.ftruncate(fd, self._size)
            raise _full(self._folder, error) from error


@contextmanager
def collecting(folder: Path) -> Iterator[None]:
    """Be the only process that collects from a spool."""
    fd = os.open(folder / ".collect", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def close_abandoned(folder: Path, *, after: int) -> None:
    """
    Number the files that no process writes any more (own rotated ones, and those of a killed process), oldest first.

    Numbers grow for ever, past `after` (the last one that the lake has): files reach the lake in their order.
    """
    number = max([after, *(number for number, _ in closed_files(folder))])
    for path in sorted(folder.glob(f"{OPEN}*.jsonl"), key=lambda path: path.stat().st_mtime_ns):
        if _is_abandoned(path):
            number += 1
            path.rename(folder / f"{CLOSED}{number:020d}.jsonl")


def closed_files(folder: Path) -> list[tuple[int, Path]]:
    """Files to collect, with their numbers, in order."""
    return sorted((int(path.stem.removeprefix(CLOSED)), path) for path in folder.glob(f"{CLOSED}*.jsonl"))


def complete_lines(path: Path) -> list[bytes]:
    """Lines of a file. A last line that was cut short by a kill was never answered, and is dropped."""
    *lines, rest = path.read_bytes().split(b"\n")
    if rest:
        logger.warning("%s ends with an incomplete line, whose request was never answered: dropped", path.name)
    return lines


def spool_id(folder: Path) -> str:
    """Identity of a spool, made once (call it inside `collecting`): the lake remembers by it which files it has."""
    path = folder / "id"
    if not path.exists():
        temporary = folder / ".id"
        temporary.write_text(uuid.uuid4().hex, encoding="ascii")
        temporary.rename(path)
    return path.read_text(encoding="ascii")


def _is_abandoned(path: Path) -> bool:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(fd)
    return True


def _full(folder: Path, error: OSError) -> SpoolFullError:
    return SpoolFullError(
        f"the prediction log {folder} can't be written ({error.strerror or error}): free some space, or fix its rights"
    )
