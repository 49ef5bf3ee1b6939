"""Real image files, made where they are needed; and a workflow that reads them."""

from __future__ import annotations

import io
import json
import os
import zlib
from collections.abc import Iterable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from include.lake.store import Lake
from include.sources.kinds import open_rows
from include.workflow import Features, ImageSource, Partition, Target, Workflow
from include.workflow.partitions import window_of_key

KEY = "2026-01-05"
NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)
SUITE = [{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "label"}}]


def picture(seed: int, *, size: tuple[int, int] = (4, 4)) -> Image.Image:
    """Return a picture of noise: another seed gives another."""
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, form: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, form, **options)
    return data.getvalue()


def put(path: Path, data: bytes, *, at: datetime = NOON) -> Path:
    """Write a file with a time of its own."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    os.utime(path, (at.timestamp(), at.timestamp()))
    return path


def bomb(width: int, height: int) -> bytes:
    """A PNG of zeros that is far larger in memory than on disk."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return len(data).to_bytes(4, "big") + kind + data + zlib.crc32(kind + data).to_bytes(4, "big")

    packer = zlib.compressobj(9)
    row = bytes(1 + width * 3)
    pixels = b"".join(packer.compress(row) for _ in range(height)) + packer.flush()
    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def declare(folder: Path, source: ImageSource, *, suite: Iterable[dict[str, Any]] = SUITE, **changes: Any) -> Workflow:
    """Declare the workflow "photos" over a source."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "expectations.json").write_text(json.dumps({"name": "photos", "expectations": list(suite), "meta": {}}))
    parts: dict[str, Any] = {
        "name": "photos",
        "description": "What does the picture show?",
        "source": source,
        "partition": Partition(every="day", start=date(2026, 1, 5)),
        "target": Target(column="label", positive="cat"),
        "features": Features(),
        "folder": folder,
    }
    return Workflow(**{**parts, **changes})


def read(source: ImageSource, *, folder: Path, key: str = KEY, connection_uri: str | None = None) -> pa.Table:
    """Read one partition through the kind's module, as extraction does."""
    workflow = declare(folder / "workflow", source)
    lake = Lake(uri=str(folder / "lake"))
    window = window_of_key("day", key)
    with open_rows(source, workflow=workflow, window=window, connection_uri=connection_uri, lake=lake) as reader:
        return reader.read_all()


def errors_by_name(rows: pa.Table) -> dict[str, str | None]:
    """What the source says is wrong, by the file's name without its folder."""
    names = [name.rpartition("/")[2] for name in rows["source_name"].to_pylist()]
    return dict(zip(names, rows["source_error"].to_pylist(), strict=True))
