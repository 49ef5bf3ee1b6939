"""
Where files lie: a folder or an object store, behind Arrow's file systems; and whether a file is still the one that was
found.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import pyarrow as pa
from pyarrow import fs

from include.errors import SourceError, SourceQueryError, SourceUnavailableError

_CONNECT_SECONDS, _REQUEST_SECONDS = 10, 60
_HEAD_BYTES = 65_536
_REFUSALS = (
    "ACCESS_DENIED",
    "AccessDenied",
    "SIGNATURE_DOES_NOT_MATCH",
    "INVALID_ACCESS_KEY_ID",
    "InvalidAccessKeyId",
    "status: 403",
)


@dataclass(frozen=True, kw_only=True)
class FoundFile:
    """
    One file as it was when it was found.

    `name` is its path below the fixed root of the declared path: what people see. `path` is what the file system opens.
    """

    filesystem: fs.FileSystem
    path: str
    name: str
    size: int
    modified_ns: int

    @property
    def modified_at(self) -> datetime:
        """Moment of its last change, UTC, to the microsecond."""
        return datetime.fromtimestamp(self.modified_ns // 1_000_000_000, tz=UTC).replace(
            microsecond=self.modified_ns // 1000 % 1_000_000
        )

    def open_stream(self) -> Any:
        """Open it to be read from its start to its end."""
        return self.filesystem.open_input_stream(self.path, compression=None)

    def open_random(self) -> Any:
        """Open it to be read anywhere."""
        return self.filesystem.open_input_file(self.path)

    def head(self) -> bytes:
        """Return its first 64 KiB."""
        with self.open_stream() as stream:
            return bytes(stream.read(_HEAD_BYTES))

    def digest(self) -> str:
        """SHA-256 of its bytes."""
        digest = hashlib.sha256()
        with self.open_stream() as stream:
            while piece := stream.read(2**20):
                digest.update(piece)
        return digest.hexdigest()

    def is_unchanged(self) -> bool:
        """Whether size and moment of change are what they were."""
        info = self.filesystem.get_file_info(self.path)
        if info.type != fs.FileType.File:
            raise SourceUnavailableError(f"{self.name}: the file vanished while it was read: run again once it is back")
        return bool((info.size, info.mtime_ns) == (self.size, self.modified_ns))

    def require_unchanged(self) -> None:
        """
        Refuse a file that was written to while it was read.

        Raises
        ------
        SourceUnavailableError
            If it has changed, or is gone.

        """
        if not self.is_unchanged():
            raise SourceUnavailableError(
                f"{self.name}: the file changed while it was read: it is read again once it rests"
            )


def open_filesystem(path: str, connection_uri: str | None) -> tuple[fs.FileSystem, str]:
    """
    Return the file system of a declared path, and the path within it.

    Parameters
    ----------
    path : str
        `/folder/…` or `s3://bucket/…`.
    connection_uri : str, optional
        `aws://key:secret@/?endpoint_url=…&region_name=…`; without it S3's keys and endpoint are those of the
        environment or the machine.

    Raises
    ------
    SourceQueryError
        If the URI is no `aws` one.

    """
    if not path.startswith("s3://"):
        return fs.LocalFileSystem(), path
    return fs.S3FileSystem(**_s3_options(connection_uri)), path.removeprefix("s3://")


def _s3_options(uri: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {
        "connect_timeout": _CONNECT_SECONDS,
        "request_timeout": _REQUEST_SECONDS,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=3),
    }
    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", "")
    if uri is not None:
        parts = urlsplit(uri)
        if parts.scheme != "aws":
            raise SourceQueryError("the connection of a file source on S3 has to be of type 'aws'")
        given = {name: values[0] for name, values in parse_qs(parts.query).items()}
        endpoint = given.get("endpoint_url", "")
        keys = {
            "access_key": unquote(parts.username or "") or given.get("aws_access_key_id"),
            "secret_key": unquote(parts.password or "") or given.get("aws_secret_access_key"),
            "session_token": given.get("aws_session_token"),
            "region": given.get("region_name") or ("us-east-1" if endpoint else None),
        }
        options |= {name: value for name, value in keys.items() if value}
    if endpoint:
        scheme, _, place = endpoint.rpartition("://")
        options |= {"endpoint_override": place.rstrip("/"), "scheme": scheme or "https"}
    return options


@contextlib.contextmanager
def explained(what: str) -> Iterator[None]:
    """
    Turn a file system's error into ours.

    Raises
    ------
    SourceQueryError
        If the file may not be read, or there is no such bucket.
    SourceUnavailableError
        If it is gone, or the store does not answer.

    """
    try:
        yield
    except SourceError:
        raise
    except FileNotFoundError:
        raise SourceUnavailableError(f"{what}: not there, or no longer: run again once it is back") from None
    except OSError as error:
        # Arrow raises plain OSErrors for all that S3 answers; their text holds the request's names, but no key.
        if error.errno in (errno.EACCES, errno.EPERM) or any(word in str(error) for word in _REFUSALS):
            raise SourceQueryError(f"{what}: may not be read: grant the reading user or key access to it") from None
        if "NO_SUCH_BUCKET" in str(error) or "NoSuchBucket" in str(error):
            raise SourceQueryError(f"{what}: there is no such bucket") from None
        raise SourceUnavailableError(
            f"{what}: its storage does not answer: {type(error).__name__}: {_first_line(error)}"
        ) from None
    except pa.ArrowException as error:
        raise SourceUnavailableError(f"{what}: its storage does not answer: {_first_line(error)}") from None


def is_of_storage(error: Exception) -> bool:
    """
    Whether it is a disk or a store that does not answer, rather than a damaged file: Arrow raises
    OSError for both.
    """
    return isinstance(error, OSError) and (
        error.errno is not None or any(word in str(error) for word in ("AWS Error", "curlCode"))
    )


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:300] if str(error) else type(error).__name__
