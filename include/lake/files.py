"""
Small immutable files below the lake's root: splits, trials, evidence.

A file appears whole or not at all, and never changes until it is removed: the same bytes may be written again, other
bytes under a taken name are refused. A log is the one exception: it grows line by line.
"""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Literal, cast

from include.errors import LakeError
from include.lake.digests import digest_bytes
from include.lake.store import Lake

FILE_SEGMENT = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=-]{0,199}")


def put_file(lake: Lake, path: str, data: bytes, *, is_flushed: bool = True) -> str:
    """
    Write a file, if it is not there yet.

    Parameters
    ----------
    lake : Lake
        Where.
    path : str
        Below the lake's root, with `/` between segments `^[A-Za-z0-9_][A-Za-z0-9._=-]*$`.
    data : bytes
        The whole content.
    is_flushed : bool
        Whether a local file is on the disk before this returns. Of one that can be worked out again it need not be: it
        survives the process that wrote it, and after a power failure its content may be cut, which its reader has to
        bear.

    Returns
    -------
    str
        The file's URI.

    Raises
    ------
    LakeError
        If the path leaves the lake or enters a table's log, or the name is taken by other bytes.

    """
    is_new = (
        _put_object(lake, _checked(path), data)
        if lake.is_remote
        else _put_local(f"{lake.uri}/{_checked(path)}", data, is_flushed)
    )
    if not is_new and get_file(lake, path) != data:
        raise LakeError(
            f"file {path!r} exists in the lake with other content, and files there never change: write it under a new "
            "name"
        )
    return f"{lake.uri}/{path}"


def append_line(lake: Lake, path: str, line: bytes) -> None:
    """
    Add a line to a log. It survives the process that wrote it; after a power failure the last lines may be cut or gone.

    In a folder a log is one file: to make one for each line would take a hundred times as long. On S3, where nothing
    grows, each line is an object of its own, whose name begins with `path`; so who reads a log reads all files of its
    folder.
    """
    if lake.is_remote:
        put_file(lake, f"{path}-{digest_bytes(line)[:32]}", line)
        return
    target = f"{lake.uri}/{_checked(path)}"
    with _opened(target, "ab") as file:
        file.write(line + b"\n")  # it goes in one piece when the file is closed: whole beside those of other threads


def get_file(lake: Lake, path: str) -> bytes:
    """
    Read a file.

    Raises
    ------
    LakeError
        If there is none, or the path leaves the lake.

    """
    checked = _checked(path)
    try:
        return _get_object(lake, checked) if lake.is_remote else (Path(lake.uri) / checked).read_bytes()
    except FileNotFoundError as error:
        raise LakeError(f"the lake {lake.uri} has no file {path!r}: run the task that writes it first") from error


def list_files(lake: Lake, prefix: str) -> list[str]:
    """Return the paths of all files in a folder and below it, sorted; of none, if there is no such folder."""
    folder = _checked(prefix.rstrip("/"))
    if lake.is_remote:
        return sorted(_object_names(lake, f"{folder}/"))
    below = len(lake.uri) + 1
    # A leading dot marks a file that is still being written, or whose writer was killed.
    return sorted(
        f"{parent}/{name}"[below:]
        for parent, _, names in os.walk(f"{lake.uri}/{folder}")
        for name in names
        if not name.startswith(".")
    )


def delete_files(lake: Lake, paths: Sequence[str]) -> None:
    """Remove files that nothing refers to any more; one that is gone already is none."""
    checked = [_checked(path) for path in paths]
    if lake.is_remote:
        client = _client(lake)
        for path in checked:
            bucket, key = _object_address(lake, path)
            client.delete_object(Bucket=bucket, Key=key)
        return
    for path in checked:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{lake.uri}/{path}")
    for folder in {path.rpartition("/")[0] for path in checked}:
        with contextlib.suppress(OSError):  # not empty, or gone
            os.rmdir(f"{lake.uri}/{folder}")


def _checked(path: str) -> str:
    segments = path.split("/")
    if "_delta_log" in segments or not all(FILE_SEGMENT.fullmatch(segment) for segment in segments):
        raise LakeError(
            f"{path[:200]!r} is no path of a file in the lake: use segments of letters, digits and . _ = - that don't "
            "begin with a dot"
        )
    return path


def _put_local(target: str, data: bytes, is_flushed: bool) -> bool:
    if os.path.exists(target):
        return False
    folder = os.path.dirname(target)
    temporary = f"{folder}/.{secrets.token_hex(8)}.tmp"
    try:
        with _opened(temporary, "xb") as file:
            file.write(data)
            if is_flushed:
                file.flush()
                os.fsync(file.fileno())
        # A hard link, unlike a rename, fails if another writer has taken the name.
        os.link(temporary, target)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)
    if is_flushed:
        with _open_folder(folder) as descriptor:
            os.fsync(descriptor)
    return True


def _opened(path: str, mode: Literal["xb", "ab"]) -> BinaryIO:
    # Buffered: a bare write() may take a part of the bytes and say so to nobody, as on a disk that is nearly full.
    try:
        return cast(BinaryIO, open(path, mode))
    except FileNotFoundError:  # the first in its folder
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return cast(BinaryIO, open(path, mode))


@contextlib.contextmanager
def _open_folder(folder: str) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _put_object(lake: Lake, path: str, data: bytes) -> bool:
    from botocore.exceptions import ClientError

    bucket, key = _object_address(lake, path)
    try:
        # "IfNoneMatch: *" makes the store refuse a name that is taken.
        _client(lake).put_object(Bucket=bucket, Key=key, Body=data, IfNoneMatch="*")
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] in {409, 412}:
            return False
        raise
    return True


def _get_object(lake: Lake, path: str) -> bytes:
    bucket, key = _object_address(lake, path)
    client = _client(lake)
    try:
        return bytes(client.get_object(Bucket=bucket, Key=key)["Body"].read())
    except client.exceptions.NoSuchKey as error:
        raise FileNotFoundError(path) from error


def _object_names(lake: Lake, prefix: str) -> Iterator[str]:
    bucket, key = _object_address(lake, prefix)
    root = key.removesuffix(prefix)
    for page in _client(lake).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=key):
        for entry in page.get("Contents", ()):
            yield entry["Key"].removeprefix(root)


def _object_address(lake: Lake, path: str) -> tuple[str, str]:
    bucket, _, root = lake.uri.removeprefix("s3://").partition("/")
    return bucket, f"{root}/{path}" if root else path


def _client(lake: Lake) -> Any:
    import boto3  # only where the lake is on S3: it takes a third of a second

    options = lake.storage_options
    return boto3.client(
        "s3",
        endpoint_url=options.get("AWS_ENDPOINT_URL"),
        aws_access_key_id=options.get("AWS_ACCESS_KEY_ID"),
        aws_secret_access_key=options.get("AWS_SECRET_ACCESS_KEY"),
        region_name=options.get("AWS_REGION"),
    )
