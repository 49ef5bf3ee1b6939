"""
What annotation files say, in one form for all layouts.

A name in an annotation is compared with the listed files. One that tries to leave the root (`..`, an absolute path, a
drive) is refused.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import orjson

from include.sources.images.folders import Entry, FileFaultError, Folder, read_file

MAX_ANNOTATION_BYTES = 256 * 2**20
UNREADABLE = "annotation: the file can't be read as its layout"
LEAVES_ROOT = "annotation: the file name leaves the root"


@dataclass(frozen=True, kw_only=True)
class Label:
    """
    One label of an image: with a box (pixels, from the upper left corner) or without, or what is wrong
    with the entry.
    """

    name: str | None = None
    box: tuple[float, float, float, float] | None = None  # x, y, width, height
    fault: str | None = None


@dataclass(kw_only=True)
class Annotation:
    """All that annotation files say of one image. `size` (width, height) and `taken_at` are what they state of it."""

    labels: list[Label] = field(default_factory=list)
    size: tuple[int, int] | None = None
    taken_at: datetime | None = None
    annotated_at: datetime | None = None


@dataclass(frozen=True, kw_only=True)
class LooseFault:
    """An entry, or a whole annotation file, that belongs to no image there is."""

    path: str
    modified_at: datetime
    fault: str
    label: str | None = None


@dataclass(kw_only=True)
class Annotations:
    """By the image's path; and what belongs to none, in the order of the annotation files."""

    by_path: dict[str, Annotation] = field(default_factory=dict)
    loose: list[LooseFault] = field(default_factory=list)

    def add_loose(self, entry: Entry, fault: str, *, labels: Sequence[Label] = (Label(),)) -> None:
        """Note entries of an annotation file that belong to no image: each counts."""
        self.loose += [
            LooseFault(path=entry.path, modified_at=entry.modified_at, fault=fault, label=label.name)
            for label in labels or (Label(),)
        ]


class ImageNames:
    """The listed images, found by the names that annotations give them."""

    def __init__(self, entries: Iterable[Entry]) -> None:
        self._paths: set[str] = set()
        self._by_name: dict[str, list[str]] = defaultdict(list)
        for entry in entries:
            self._paths.add(entry.path)
            self._by_name[entry.path.rpartition("/")[2]].append(entry.path)

    def find(self, name: Any) -> str:
        """
        Path of the image that an annotation names: by its path below the root, else by the end of its path where only
        one image ends so.

        Raises
        ------
        FileFaultError
            If there is none, or the name leaves the root.

        """
        if not isinstance(name, str) or not name:
            raise FileFaultError("annotation: the entry names no image")
        if name.startswith("/") or "\\" in name or "\0" in name or ":" in name[:3] or ".." in name.split("/"):
            raise FileFaultError(LEAVES_ROOT)
        if name in self._paths:
            return name
        found = [path for path in self._by_name.get(name.rpartition("/")[2], ()) if path.endswith(f"/{name}")]
        if len(found) == 1:
            return found[0]
        raise FileFaultError(
            "annotation: several images have the name"
            if found
            else "annotation: the image that the entry names is not there"
        )


def read_json(folder: Folder, entry: Entry) -> Any:
    """
    Read a JSON file of bounded size and depth (1,024 levels, by the parser).

    Raises
    ------
    FileFaultError
        If it is too large, too deep, or no JSON.

    """
    try:
        return orjson.loads(read_file(folder, entry, max_bytes=MAX_ANNOTATION_BYTES))
    except orjson.JSONDecodeError:
        raise FileFaultError(UNREADABLE) from None


def require(value: Any, kind: type) -> Any:
    """Hand through a value of the expected kind; anything else makes the file unreadable."""
    if not isinstance(value, kind):
        raise FileFaultError(UNREADABLE)
    return value


def box_of(values: Any) -> tuple[float, float, float, float] | None:
    """Four finite numbers (x, y, width, height), or None."""
    if not isinstance(values, list | tuple) or len(values) != 4:
        return None
    if any(
        isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) for value in values
    ):
        return None
    x, y, width, height = (float(value) for value in values)
    return x, y, width, height


def moment_of(text: Any) -> datetime | None:
    """ISO 8601 text as a moment; UTC unless it names an offset."""
    try:
        moment = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        return None


def size_of(record: Mapping[str, Any], width: str, height: str) -> tuple[int, int] | None:
    """Stated size of an image, if both numbers are there."""
    values = (record.get(width), record.get(height))
    return values if all(type(value) is int and value > 0 for value in values) else None  # type: ignore[return-value]
