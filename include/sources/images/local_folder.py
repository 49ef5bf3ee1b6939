"""
A local folder of images. No symbolic link below it is followed, neither one that is listed nor one put in a file's or a
folder's place.

Each name on the way to a file is opened by itself, from the open folder above it, with O_NOFOLLOW: between a check of a
path and its use there is no moment in which it could be changed.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import IO

from include.errors import ImageFolderError, SourceUnavailableError
from include.sources.images.folders import GONE, Entry, FileFaultError

LINK_FAULT = "image_uri: a symbolic link is not followed"
IRREGULAR = "image_uri: no regular file"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe put in a file's place must not make us wait
_IS_LINK = (errno.ELOOP, errno.ENOTDIR)  # opening a link as a folder gives the latter


class LocalFolder:
    """
    What lies below a root.

    Parameters
    ----------
    trusted : str
        The part of the root that was declared: it may be reached through links.
    inner : str
        The rest, which may be somebody else's doing (`2026-01-05`): it may not.

    """

    def __init__(self, trusted: str, inner: str = "") -> None:
        self._trusted, self._inner = trusted, inner
        self._root = f"{trusted.rstrip('/')}/{inner}" if inner else trusted

    def uri_of(self, path: str) -> str:
        """Absolute path of a file."""
        return f"{self._root}/{path}" if path else self._root

    def entries(self) -> Iterator[Entry]:
        """All that is no folder."""
        try:
            waiting, files = self._scan("")
        except FileNotFoundError:
            raise ImageFolderError(f"there is no folder {self._root}: create it, or correct source.root") from None
        except OSError as error:
            if error.errno in _IS_LINK:
                raise ImageFolderError(f"{self._root} is a link, or no folder: put the folder itself there") from None
            raise self.refusal(error) from error
        yield from files
        while waiting:
            try:
                folders, files = self._scan(waiting.pop())
            except OSError as error:
                raise self.refusal(error) from error
            waiting += folders
            yield from files

    def _scan(self, folder: str) -> tuple[list[str], list[Entry]]:
        """List one folder: its folders, and what else it holds."""
        folders, files = [], []
        number = open_beneath(self._trusted, f"{self._inner}/{folder}", flags=_FOLDER)
        try:
            with os.scandir(number) as found:
                for item in found:
                    path = f"{folder}/{item.name}" if folder else item.name
                    if item.is_dir(follow_symlinks=False):
                        folders.append(path)
                    else:
                        files.append(_entry(path, item.stat(follow_symlinks=False)))
        finally:
            os.close(number)
        return folders, files

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[IO[bytes]]:
        """Open a listed file, if it is one still."""
        try:
            number = open_beneath(self._trusted, f"{self._inner}/{path}", flags=_FILE)
        except FileNotFoundError:
            raise FileFaultError(GONE) from None
        except PermissionError:
            raise FileFaultError("image_uri: no permission to read the file") from None
        except OSError as error:
            if error.errno in _IS_LINK:
                raise FileFaultError(LINK_FAULT) from None
            raise self.refusal(error) from error
        if not stat.S_ISREG(os.fstat(number).st_mode):
            os.close(number)
            raise FileFaultError(IRREGULAR)
        with open(number, "rb") as file:
            yield file

    def refusal(self, error: OSError) -> Exception:
        """Without the names below the root: a folder may be named after a person."""
        if isinstance(error, PermissionError):
            return ImageFolderError(
                f"{self._root}: no permission to list all of the folder: grant it to Airflow's user"
            )
        if isinstance(error, FileNotFoundError | NotADirectoryError) or error.errno == errno.ELOOP:
            return SourceUnavailableError(
                f"{self._root}: the folder changed while it was listed: it is read again once it rests"
            )
        return SourceUnavailableError(
            f"{self._root}: the files can't be read ({type(error).__name__}): retry once the disk answers"
        )


def open_beneath(root: str, path: str, *, flags: int) -> int:
    """
    Open what lies below a root, and give its file descriptor.

    Raises
    ------
    OSError
        If it is not there, or a name on the way below the root is a link (ELOOP or ENOTDIR) or leads upwards (ELOOP).

    """
    names = [name for name in path.split("/") if name]
    if {".", ".."}.intersection(names):
        raise OSError(errno.ELOOP, "leads upwards")
    number = os.open(root or "/", _FOLDER if names else flags)
    for position, name in enumerate(names, start=1):
        above = number
        try:
            number = os.open(name, (flags if position == len(names) else _FOLDER) | os.O_NOFOLLOW, dir_fd=above)
        finally:
            os.close(above)
    return number


def _entry(path: str, facts: os.stat_result) -> Entry:
    fault = None
    if stat.S_ISLNK(facts.st_mode):
        fault = LINK_FAULT
    elif not stat.S_ISREG(facts.st_mode):
        fault = IRREGULAR
    readable = path.encode("utf-8", "backslashreplace").decode()
    if readable != path:
        fault = fault or "image_uri: the file's name is no UTF-8"
    return Entry(
        path=readable, size=facts.st_size, modified_at=datetime.fromtimestamp(facts.st_mtime, UTC), fault=fault
    )
