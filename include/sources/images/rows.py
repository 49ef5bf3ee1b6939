"""From pictures and labels to rows: one a box (or an image), each with the first thing that is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from include.sources.images.annotations import Annotation, Label, LooseFault
from include.sources.images.decoding import Picture
from include.sources.images.folders import Entry
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN
from include.sources.times import UTC_TIMESTAMP
from include.workflow import ImageSource

# Drawn by hand and kept in per cent: a box may stick out by what rounding makes of it, and no more.
TOLERANCE_PIXELS = 0.01
NO_FOLDER = "label: the file lies in no class folder"
NO_ANNOTATION = "annotation: the image has none"
_PICTURE = ("sha256", "perceptual_hash", "n_bytes", "width", "height", "format", "mode", "taken_at", "frame_seconds")
_BOX = ("box_x", "box_y", "box_width", "box_height")

Row = dict[str, Any]


def schema_of(source: ImageSource) -> pa.Schema:
    """Columns of a source's rows: they depend on its declaration alone."""
    text, whole, number = pa.string(), pa.int64(), pa.float64()
    fields = [("image_uri", text), ("label", text), ("sha256", text), ("perceptual_hash", text)]
    fields += [("n_bytes", whole), ("width", whole), ("height", whole), ("format", text), ("mode", text)]
    if not source.is_class_folders:
        fields += [("box", whole), *((name, number) for name in _BOX), ("annotated_at", UTC_TIMESTAMP)]
    if source.videos:
        fields += [("frame_seconds", number)]
    if source.is_cut_by_path:
        fields += [("partition_start", UTC_TIMESTAMP)]
    return pa.schema(
        [
            *fields,
            ("taken_at", UTC_TIMESTAMP),
            ("modified_at", UTC_TIMESTAMP),
            (NAME_COLUMN, text),
            (ERROR_COLUMN, text),
        ]
    )


def rows_in_class_folder(entry: Entry, picture: Picture, *, uri: str, source: ImageSource) -> Iterator[Row]:
    """Give the one row of an image whose folder is its label."""
    name, separator, _ = entry.path.partition("/")
    label = Label(name=name) if separator else Label(fault=NO_FOLDER)
    yield _row(entry, picture, uri=uri) | {
        "label": label.name,
        ERROR_COLUMN: picture.fault or label.fault or _class_fault(label, source),
    }


def rows_with_boxes(
    entry: Entry, picture: Picture, annotation: Annotation | None, *, uri: str, source: ImageSource
) -> Iterator[Row]:
    """Give a row a label of an annotated image, or one row if it has none."""
    about = _row(entry, picture, uri=uri)
    if annotation is None:
        fault = NO_ANNOTATION if source.orphans == "refuse" else None
        yield about | {"box": 0, ERROR_COLUMN: picture.fault or fault}
        return
    about |= {"annotated_at": annotation.annotated_at, "taken_at": about["taken_at"] or annotation.taken_at}
    shared = picture.fault or _size_fault(picture, annotation)
    if not annotation.labels:
        yield about | {"box": 0, ERROR_COLUMN: shared}
    repeated = Counter((label.name, label.box) for label in annotation.labels)
    for number, label in enumerate(annotation.labels, start=1):
        fault = shared or label.fault or _class_fault(label, source) or _box_fault(label, picture)
        if fault is None and repeated[label.name, label.box] > 1:
            fault = "box: repeats another one of the image"
        if fault is None and label.box is None and len(annotation.labels) > 1:
            fault = "label: the image has several"
        box = dict(zip(_BOX, label.box or (None,) * 4, strict=True))
        yield about | {
            "label": label.name,
            "box": 0 if label.box is None and not label.fault else number,
            **box,
            ERROR_COLUMN: fault,
        }


def row_of_loose_fault(loose: LooseFault) -> Row:
    """Give the row of an annotation without an image: it counts as a row in."""
    return {"label": loose.label, "modified_at": loose.modified_at, NAME_COLUMN: loose.path, ERROR_COLUMN: loose.fault}


def _row(entry: Entry, picture: Picture, *, uri: str) -> Row:
    facts = asdict(picture)
    moment = "" if picture.frame_seconds is None else f"#t={picture.frame_seconds:g}"
    return {
        "image_uri": f"{uri}{moment}",
        **{name: facts[name] for name in _PICTURE},
        "modified_at": entry.modified_at,
        NAME_COLUMN: f"{entry.path}{moment}",
    }


def _class_fault(label: Label, source: ImageSource) -> str | None:
    return "label: is none of the declared classes" if source.classes and label.name not in source.classes else None


def _size_fault(picture: Picture, annotation: Annotation) -> str | None:
    is_other = annotation.size is not None and annotation.size != (picture.width, picture.height)
    return "annotation: was made on an image of another size" if is_other else None


def _box_fault(label: Label, picture: Picture) -> str | None:
    if label.box is None:
        return None
    x, y, width, height = label.box
    if width <= 0 or height <= 0:
        return "box: has no area"
    right, bottom = (picture.width or 0) + TOLERANCE_PIXELS, (picture.height or 0) + TOLERANCE_PIXELS
    is_inside = min(x, y) >= -TOLERANCE_PIXELS and x + width <= right and y + height <= bottom
    return None if is_inside else "box: lies outside the image"
