"""
The same picture twice in one partition.

| what | what becomes of it |
|---|---|
| exact copies (the same digest) with the same labels | if the key holds the digest duplicates: one stays. Else the later ones are refused |
| exact copies with different labels | all are refused: one of them is wrong, and nobody can tell which |
| a picture that looks like an earlier one (near_duplicates) | refused |

A picture that is refused for another reason is no "earlier" one: else neither it nor the good one would be published.
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.sources.placement import ERROR_COLUMN
from include.workflow import ImageSource

CONFLICT = "label: exact copies of the image carry different labels"
COPY = "sha256: an exact copy of an earlier image"
NEAR = "perceptual_hash: looks like an earlier image"
_LABEL_COLUMNS = ("label", "box_x", "box_y", "box_width", "box_height")


@dataclass(frozen=True, kw_only=True)
class _Picture:
    """The rows `start` to `stop` of one decoded image."""

    start: int
    stop: int
    sha256: str
    bits: int
    labels: tuple[Any, ...]
    is_good: bool


def refuse_duplicates(rows: pa.Table, source: ImageSource) -> pa.Table:
    """
    Say of each row that its picture is there twice, in `source_error`, unless that says something already.

    Parameters
    ----------
    rows : Table of shape (n_rows, n_columns)
        The rows of one partition, those of one image together, in the order in which "earlier" is meant.
    source : ImageSource
        Its `key` and `near_duplicates`.

    """
    copies: dict[str, list[_Picture]] = defaultdict(list)
    for picture in _pictures(rows):
        copies[picture.sha256].append(picture)
    faults: list[str | None] = [None] * rows.num_rows
    for same in copies.values():
        if len({picture.labels for picture in same}) > 1:
            _mark(faults, same, CONFLICT)
        elif "sha256" not in source.key:
            first = next((picture for picture in same if picture.is_good), same[0])
            _mark(faults, [picture for picture in same if picture is not first], COPY)
    if source.near_duplicates is not None:
        kept = [
            same
            for same in copies.values()
            if any(picture.is_good and faults[picture.start] is None for picture in same)
        ]
        for index in _look_alikes([same[0].bits for same in kept], source.near_duplicates):
            _mark(faults, kept[index], NEAR)
    errors = pc.coalesce(rows[ERROR_COLUMN], pa.chunked_array([faults], pa.string()))
    return rows.set_column(rows.column_names.index(ERROR_COLUMN), ERROR_COLUMN, errors)


def _pictures(rows: pa.Table) -> Iterator[_Picture]:
    columns = [rows[name].to_pylist() for name in _LABEL_COLUMNS if name in rows.column_names]
    labels = list(zip(*columns, strict=True))
    errors = rows[ERROR_COLUMN].to_pylist()
    names = ("image_uri", "sha256", "perceptual_hash")
    found = zip(range(rows.num_rows), *(rows[name].to_pylist() for name in names), strict=True)
    for (_, sha256, bits), group in groupby(found, key=lambda row: row[1:]):
        numbers = [row[0] for row in group]
        start, stop = numbers[0], numbers[-1] + 1
        if sha256 is not None and bits is not None:
            yield _Picture(
                start=start,
                stop=stop,
                sha256=sha256,
                bits=int(bits, 16),
                labels=tuple(labels[start:stop]),
                is_good=any(error is None for error in errors[start:stop]),
            )


def _look_alikes(bits: list[int], distance: int) -> Iterator[int]:
    """Positions of the hashes that differ in at most `distance` bits from an earlier one that is kept."""
    kept = np.zeros(len(bits), dtype=np.uint64)
    n_kept = 0
    for index, value in enumerate(bits):
        if n_kept and int(np.bitwise_count(kept[:n_kept] ^ np.uint64(value)).min()) <= distance:
            yield index
        else:
            kept[n_kept] = value
            n_kept += 1


def _mark(faults: list[str | None], pictures: list[_Picture], fault: str) -> None:
    for picture in pictures:
        faults[picture.start : picture.stop] = [fault] * (picture.stop - picture.start)
