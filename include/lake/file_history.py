"""Which data file belongs to which versions of a table: read from the whole log, which the lake keeps for good."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote

from pyarrow import fs

from include.lake.store import Lake, native_filesystem

LOG = "_delta_log"


@dataclass(frozen=True, kw_only=True)
class FileSpan:
    """The versions `[added, removed)` that hold a file."""

    added: int
    removed: int | None = None
    removed_at: datetime | None = None

    def is_in(self, version: int) -> bool:
        """Whether a version holds the file."""
        return self.added <= version and (self.removed is None or version < self.removed)


@dataclass(frozen=True, kw_only=True)
class DataFile:
    """A Parquet file in a table's folder: its path there, when it was last written, its size."""

    path: str
    written_at: datetime
    size_bytes: int


def file_spans(lake: Lake, table: str) -> dict[str, FileSpan]:
    """Return the span of every file that a commit ever named, by path."""
    spans: dict[str, FileSpan] = {}
    for version, actions in _commits(lake, table):
        moment = datetime.fromtimestamp(0, UTC)
        for action in actions:
            if "commitInfo" in action:
                moment = datetime.fromtimestamp(action["commitInfo"].get("timestamp", 0) / 1000, UTC)
        # A commit removes before it adds, whatever the order of its lines.
        for removed in (action["remove"] for action in actions if "remove" in action):
            path = unquote(removed["path"])
            stamp = removed.get("deletionTimestamp")
            at = moment if stamp is None else datetime.fromtimestamp(stamp / 1000, UTC)
            spans[path] = replace(spans.get(path, FileSpan(added=0)), removed=version, removed_at=at)
        for added in (action["add"] for action in actions if "add" in action):
            spans[unquote(added["path"])] = FileSpan(added=version)
    return spans


def data_files(lake: Lake, table: str) -> list[DataFile]:
    """Return every Parquet file in a table's folder, whether a commit names it or not."""
    selector = fs.FileSelector("", recursive=True, allow_not_found=True)
    found = native_filesystem(lake, table).get_file_info(selector)
    return [
        DataFile(path=info.path.lstrip("/"), written_at=info.mtime, size_bytes=info.size)
        for info in found
        if info.type == fs.FileType.File and info.path.endswith(".parquet") and LOG not in info.path.split("/")
    ]


def delete_file(lake: Lake, table: str, path: str) -> None:
    """Remove a data file from storage, for good; one that is gone already is no fault."""
    filesystem = native_filesystem(lake, table)
    if filesystem.get_file_info(path).type == fs.FileType.File:
        filesystem.delete_file(path)


def _commits(lake: Lake, table: str) -> Iterator[tuple[int, list[dict[str, Any]]]]:
    filesystem = native_filesystem(lake, table)
    names = [
        info.path
        for info in filesystem.get_file_info(fs.FileSelector(LOG, allow_not_found=True))
        if info.path.endswith(".json")
    ]
    for name in sorted(names):
        stem = name.rpartition("/")[2].removesuffix(".json")
        if stem.isdigit():
            with filesystem.open_input_stream(name) as stream:
                yield int(stem), [json.loads(line) for line in stream.read().splitlines() if line]
