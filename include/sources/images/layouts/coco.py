"""
COCO: one JSON file with `images`, `annotations` (boxes as x, y, width, height) and `categories`.
https://cocodataset.org/#format-data
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from include.sources.images.annotations import (
    Annotation,
    Annotations,
    ImageNames,
    Label,
    box_of,
    moment_of,
    read_json,
    require,
    size_of,
)
from include.sources.images.folders import Entry, FileFaultError, Folder


def read(folder: Folder, files: Sequence[Entry], names: ImageNames) -> Annotations:
    """
    Read all annotation files; one that can't be read is one fault. An image is annotated when its file was last
    changed.
    """
    found = Annotations()
    for entry in files:
        try:
            content = require(read_json(folder, entry), dict)
            parts = {name: require(content.get(name), list) for name in ("images", "annotations", "categories")}
            _add(found, entry, parts, names)
        except FileFaultError as error:
            found.add_loose(entry, str(error))
    return found


def _add(found: Annotations, entry: Entry, parts: dict[str, list[Any]], names: ImageNames) -> None:
    categories = {_key(record): record.get("name") for record in parts["categories"] if isinstance(record, dict)}
    labels = _labels_by_image(parts["annotations"], categories)
    repeated = {key for key, n in Counter(map(_key, parts["images"])).items() if n > 1}
    for record in parts["images"]:
        key = _key(record)
        own = [] if key is None or key in repeated else labels.pop(key, [])
        try:
            if key is None or key in repeated:
                raise FileFaultError("annotation: the image has no id of its own")
            path = names.find(record.get("file_name"))
            if path in found.by_path:
                raise FileFaultError("annotation: the image is listed twice")
        except FileFaultError as error:
            # The labels of a repeated id are nobody's: they are counted once, below.
            found.add_loose(entry, str(error), labels=own)
            continue
        found.by_path[path] = Annotation(
            labels=own,
            size=size_of(record, "width", "height"),
            taken_at=moment_of(record.get("date_captured")),
            annotated_at=entry.modified_at,
        )
    for own in labels.values():
        found.add_loose(entry, "annotation: the entry names no listed image", labels=own)


def _labels_by_image(records: list[Any], categories: dict[Any, Any]) -> dict[Any, list[Label]]:
    labels: dict[Any, list[Label]] = {}
    for record in records:
        image = record.get("image_id") if isinstance(record, dict) else None
        labels.setdefault(image if isinstance(image, int | str) else None, []).append(_label(record, categories))
    return labels


def _label(record: Any, categories: dict[Any, Any]) -> Label:
    if not isinstance(record, dict):
        return Label(fault="annotation: the entry is no object")
    category = record.get("category_id")
    name = categories.get(category) if isinstance(category, int | str) else None
    if not isinstance(name, str) or not name:
        return Label(fault="label: the category is unknown")
    box = box_of(record.get("bbox"))
    return Label(name=name, box=box) if box else Label(name=name, fault="box: is not four numbers")


def _key(record: Any) -> int | str | None:
    key = record.get("id") if isinstance(record, dict) else None
    return key if isinstance(key, int | str) else None
