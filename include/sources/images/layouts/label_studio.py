"""
Label Studio's JSON export: rectangles (in per cent of the image's size) and choices. https://labelstud.io/guide/export

Of several annotations of one task the one changed last counts, cancelled ones never do. A task that nobody has
annotated says nothing of its image.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

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
    """Read all exports; one that can't be read is one fault, a task whose image is not there is one a label."""
    found = Annotations()
    for entry in files:
        try:
            tasks = require(read_json(folder, entry), list)
        except FileFaultError as error:
            found.add_loose(entry, str(error))
            continue
        for task in tasks:
            _add(found, entry, task, names, root=folder.uri_of(""))
    return found


def _add(found: Annotations, entry: Entry, task: Any, names: ImageNames, *, root: str) -> None:
    annotation = Annotation()
    try:
        if not isinstance(task, dict):
            raise FileFaultError("annotation: the entry is no object")
        latest = _latest(task)
        if latest is None:
            return
        annotation = _annotation(latest)
        path = names.find(_image_name(task.get("data"), root))
        if path in found.by_path:
            raise FileFaultError("annotation: the image is listed twice")
    except FileFaultError as error:
        found.add_loose(entry, str(error), labels=annotation.labels)
        return
    found.by_path[path] = annotation


def _latest(task: dict[str, Any]) -> dict[str, Any] | None:
    """The annotation that counts, if there is one."""
    made = [
        item
        for item in require(task.get("annotations") or [], list)
        if isinstance(item, dict) and not item.get("was_cancelled")
    ]
    return max(
        made,
        key=lambda item: (str(item.get("updated_at") or item.get("created_at") or ""), str(item.get("id"))),
        default=None,
    )


def _annotation(latest: dict[str, Any]) -> Annotation:
    results = latest.get("result")
    if not isinstance(results, list):
        raise FileFaultError("annotation: the entry has no list of results")
    annotation = Annotation(annotated_at=moment_of(latest.get("updated_at") or latest.get("created_at")))
    for result in results:
        annotation.labels.append(_label(result))
        size = _size(result)
        annotation.size = annotation.size or size
    return annotation


def _label(result: Any) -> Label:
    value = result.get("value") if isinstance(result, dict) else None
    if not isinstance(value, dict):
        return Label(fault="annotation: the entry is no object")
    kind = result.get("type")
    names = value.get("choices" if kind == "choices" else "rectanglelabels")
    if kind not in ("choices", "rectanglelabels"):
        return Label(fault="annotation: only rectangles and choices are read")
    if not isinstance(names, list) or len(names) != 1 or not isinstance(names[0], str):
        return Label(fault="label: the entry has no single name")
    return Label(name=names[0]) if kind == "choices" else _rectangle(names[0], value, _size(result))


def _rectangle(name: str, value: dict[str, Any], size: tuple[int, int] | None) -> Label:
    shares = box_of([value.get(part) for part in ("x", "y", "width", "height")])
    if shares is None or size is None:
        return Label(name=name, fault="box: is not four numbers and the image's size")
    if value.get("rotation"):
        return Label(name=name, fault="box: is rotated, which is not read")
    x, y, width, height = shares
    return Label(name=name, box=(x * size[0] / 100, y * size[1] / 100, width * size[0] / 100, height * size[1] / 100))


def _size(result: Any) -> tuple[int, int] | None:
    return size_of(result, "original_width", "original_height") if isinstance(result, dict) else None


def _image_name(data: Any, root: str) -> Any:
    """
    Path of a task's image below the root.

    Label Studio writes `/data/upload/<project>/<name>`, `/data/local-files/?d=<path>`, or the URI that it read from.
    """
    name = data.get("image") if isinstance(data, dict) else None
    if not isinstance(name, str):
        return None
    if name.startswith("/data/local-files/"):
        return next(iter(parse_qs(urlsplit(name).query).get("d", [])), None)
    if name.startswith("/data/upload/"):
        return unquote(name.removeprefix("/data/upload/").partition("/")[2])
    return name.removeprefix(f"{root}/")
