"""A folder of files at rest, and a plain way to read them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.sources.files import read_files
from include.workflow import FileSource
from include.workflow.partitions import window_of_key
from tests.factories import START

DAY = window_of_key("day", "2026-01-05")
AT_REST = START.timestamp() + 3600
COLUMNS = {"id": "integer", "sent_at": "timestamp", "name": "text", "amount": "number"}
HEADER = "id,sent_at,name,amount\n"

Put = Callable[..., Path]


def declare(folder: Path | str, **changes: Any) -> FileSource:
    parts: dict[str, Any] = {
        "path": f"{folder}/{{partition_key}}.csv",
        "format": "csv",
        "columns": COLUMNS,
        "event_time": "sent_at",
        "known_time": "modified_at",
        "key": ("id",),
    }
    return FileSource(**{**parts, **changes})


def read(source: FileSource, **options: Any) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return rows and dead letters of the day."""
    letters: list[dict[str, Any]] = []
    options = {"window": DAY, "connection_uri": None, **options}
    with read_files(
        source, on_dead_letters=lambda reader: letters.extend(reader.read_all().to_pylist()), **options
    ) as reader:
        return reader.read_all().to_pylist(), letters


def values(rows: list[dict[str, Any]], column: str) -> list[Any]:
    return [row[column] for row in rows]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "data"
    path.mkdir()
    return path


@pytest.fixture
def put(folder: Path) -> Put:
    """Write a file that has been at rest since an hour after the day began."""

    def write(data: bytes | str, name: str = "2026-01-05.csv", *, modified: float = AT_REST) -> Path:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        os.utime(path, (modified, modified))
        return path

    return write
