"""A prefix of images on S3 or a server that speaks like it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from datetime import UTC
from typing import Any

from pyarrow import fs

from include.errors import ImageFolderError, SourceUnavailableError
from include.sources.files.storage import open_filesystem
from include.sources.images.folders import GONE, Entry, FileFaultError

# How Arrow's messages name what no retry mends.
_REFUSALS = (
    *(
        "ACCESS_DENIED",
        "AccessDenied",
        "NO_SUCH_BUCKET",
        "INVALID_ACCESS_KEY_ID",
        "INVALID_CLIENT_TOKEN_ID",
        "SIGNATURE_DOES_NOT_MATCH",
    ),
    "HTTP status 403",
)
_CONNECT_SECONDS, _REQUEST_SECONDS = 15, 60


class Bucket:
    """
    What lies below a prefix.

    Parameters
    ----------
    root : str
        `bucket/prefix`.
    filesystem : FileSystem
        Where it is.

    """

    def __init__(self, root: str, filesystem: fs.FileSystem) -> None:
        self._root, self._filesystem = root, filesystem

    def uri_of(self, path: str) -> str:
        """`s3://…` of an object."""
        return f"s3://{self._root}/{path}" if path else f"s3://{self._root}"

    def entries(self) -> Iterator[Entry]:
        """All objects below the prefix."""
        try:
            found = self._filesystem.get_file_info(fs.FileSelector(self._root, recursive=True))
        except OSError as error:
            raise self.refusal(error) from error
        for item in found:
            if item.type == fs.FileType.File:
                path = item.path.removeprefix(f"{self._root}/")
                yield Entry(path=path, size=item.size, modified_at=item.mtime.astimezone(UTC))

    @contextlib.contextmanager
    def open(self, path: str) -> Iterator[Any]:
        """Open an object; what it costs to read is what is asked for."""
        try:
            file = self._filesystem.open_input_file(f"{self._root}/{path}")
        except FileNotFoundError:
            raise FileFaultError(GONE) from None
        except OSError as error:
            raise self.refusal(error) from error
        with file:
            yield file

    def refusal(self, error: OSError) -> Exception:
        """Arrow's own message names the object, which may be named after a person: only its kind is handed on."""
        if isinstance(error, FileNotFoundError) or any(word in str(error) for word in _REFUSALS):
            return ImageFolderError(
                f"s3://{self._root} can't be read: check bucket, prefix, keys and rights of source.conn_id"
            )
        return SourceUnavailableError(
            f"s3://{self._root}: the files can't be read ({type(error).__name__}): retry once the store answers"
        )


def s3_filesystem(connection_uri: str | None, options: Mapping[str, str]) -> fs.FileSystem:
    """
    S3 as a connection says; without one, as the lake's storage options do.

    Parameters
    ----------
    connection_uri : str, optional
        `aws://key:secret@/?endpoint_url=…&region_name=…`.
    options : mapping of str
        A lake's `storage_options`. Empty, if the lake is a folder or on AWS itself: keys then come from the environment
        or the machine's role.

    """
    scheme, _, endpoint = options.get("AWS_ENDPOINT_URL", "").rpartition("://")
    if connection_uri is not None or not endpoint:
        return open_filesystem("s3://", connection_uri)[0]
    return fs.S3FileSystem(
        endpoint_override=endpoint.rstrip("/"),
        scheme=scheme,
        access_key=options["AWS_ACCESS_KEY_ID"],
        secret_key=options["AWS_SECRET_ACCESS_KEY"],
        region=options["AWS_REGION"],
        connect_timeout=_CONNECT_SECONDS,
        request_timeout=_REQUEST_SECONDS,
    )
