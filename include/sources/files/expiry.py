"""Remove files of partitions that are over: where a declaration says that they may not be kept longer."""

from __future__ import annotations

import re
from datetime import datetime
from fnmatch import fnmatchcase

from pyarrow import fs

from include.errors import PartitionError
from include.sources.files.listing import expand, fixed_root, marker_of
from include.sources.files.storage import explained, open_filesystem
from include.workflow import FileSource
from include.workflow.partitions import Every, PartitionWindow, window_of_key
from include.workflow.sources.files import PARTITION_KEY

_KEYS: dict[Every, str] = {
    "hour": r"\d{4}-\d\d-\d\dT\d\d",
    "day": r"\d{4}-\d\d-\d\d",
    "week": r"\d{4}-\d\d-\d\d",
    "month": r"\d{4}-\d\d",
}


def remove_old_files(
    source: FileSource, *, every: Every, cutoff: datetime, connection_uri: str | None, dry_run: bool = False
) -> list[str]:
    """
    Remove each file, with its marker, whose name says that it belongs to partitions that ended at or before a moment.

    Returns
    -------
    list of str
        Their paths, sorted. A file whose name holds no partition key of the workflow stays.

    Raises
    ------
    SourceError
        If the folder can't be listed, or a file may not be removed.

    """
    with explained(source.path):
        filesystem, pattern = open_filesystem(source.path, connection_uri)
        root = fixed_root(pattern)
        infos = expand(filesystem, root, pattern.replace(PARTITION_KEY, "*")[len(root) :].strip("/").split("/"))
        old = sorted(info.path for info in infos if _is_over(info.path, pattern=pattern, every=every, cutoff=cutoff))
        for path in old if not dry_run else []:
            marker = (
                None
                if source.done_marker is None or "{file}" not in source.done_marker
                else marker_of(path, source.done_marker)
            )
            for name in (path, marker):
                if name is not None and filesystem.get_file_info(name).type == fs.FileType.File:
                    filesystem.delete_file(name)
    return old


def _is_over(path: str, *, pattern: str, every: Every, cutoff: datetime) -> bool:
    """Whether all partitions that a name may belong to are over: a name may hold two dates."""
    keys = {match[1] for match in re.finditer(f"(?=({_KEYS[every]}))", path)}
    ends = [
        window.end
        for key in keys
        if fnmatchcase(path, pattern.replace(PARTITION_KEY, key)) and (window := _window(every, key))
    ]
    return bool(ends) and max(ends) <= cutoff


def _window(every: Every, key: str) -> PartitionWindow | None:
    try:
        return window_of_key(every, key)
    except PartitionError:
        return None
