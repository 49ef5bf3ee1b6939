"""From a declared root to the folder or prefix of one partition."""

from __future__ import annotations

from include.lake.store import Lake
from include.sources.images.bucket import Bucket, s3_filesystem
from include.sources.images.folders import Folder
from include.sources.images.local_folder import LocalFolder
from include.workflow import ImageSource
from include.workflow.sources.images import PARTITION_KEY


def open_folder(source: ImageSource, *, partition_key: str, connection_uri: str | None, lake: Lake) -> Folder:
    """
    Root of a source, for one partition.

    Parameters
    ----------
    source : ImageSource
        Its `root`.
    partition_key : str
        The partition; in a folder, the part of the root from the name that holds it is not followed through links.
    connection_uri : str, optional
        For S3: without it the lake's own keys and endpoint serve.
    lake : Lake
        Whose keys these are.

    """
    root = source.root_of(partition_key)
    if root.startswith("s3://"):
        return Bucket(root.removeprefix("s3://"), s3_filesystem(connection_uri, lake.storage_options))
    names = source.root.split("/")
    n_trusted = next((position for position, name in enumerate(names) if PARTITION_KEY in name), len(names))
    return LocalFolder("/".join(names[:n_trusted]) or "/", "/".join(root.split("/")[n_trusted:]))
