"""Pascal VOC: one XML file an image, boxes as xmin, ymin, xmax, ymax. http://host.robots.ox.ac.uk/pascal/VOC/"""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from include.sources.images.annotations import UNREADABLE, Annotation, Annotations, ImageNames, Label, box_of
from include.sources.images.folders import Entry, FileFaultError, Folder, read_file

MAX_XML_BYTES = 2 * 2**20


def read(folder: Folder, files: Sequence[Entry], names: ImageNames) -> Annotations:
    """
    Read all annotation files; an image is annotated when its file was last changed.

    One file that can't be read is one fault, one whose image is not there is one a box.
    """
    found = Annotations()
    for entry in files:
        labels: list[Label] = []
        try:
            root = _parse(folder, entry)
            labels = [_label(item) for item in root.iterfind("object")]
            path = names.find(_text(root, "filename"))
            if path in found.by_path:
                raise FileFaultError("annotation: the image is listed twice")
        except FileFaultError as error:
            found.add_loose(entry, str(error), labels=labels)
            continue
        found.by_path[path] = Annotation(labels=labels, size=_size(root), annotated_at=entry.modified_at)
    return found


def _parse(folder: Folder, entry: Entry) -> Element:
    """Read one file. Documents that declare entities or a type are refused: bombs and foreign files come that way."""
    try:
        root: Element = fromstring(read_file(folder, entry, max_bytes=MAX_XML_BYTES), forbid_dtd=True)
    # LookupError: an encoding that Python does not know
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise FileFaultError(UNREADABLE) from None
    if root.tag != "annotation":
        raise FileFaultError(UNREADABLE)
    return root


def _label(item: Element) -> Label:
    name = _text(item, "name")
    if not name:
        return Label(fault="label: the entry has no name")
    corners = box_of([_number(item, f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")])
    if corners is None:
        return Label(name=name, fault="box: is not four numbers")
    left, top, right, bottom = corners
    return Label(name=name, box=(left, top, right - left, bottom - top))


def _size(root: Element) -> tuple[int, int] | None:
    width, height = _number(root, "size/width"), _number(root, "size/height")
    # Some tools write 0 where they do not know.
    return (int(width), int(height)) if width and height and width.is_integer() and height.is_integer() else None


def _text(item: Element, path: str) -> str:
    return (item.findtext(path) or "").strip()


def _number(item: Element, path: str) -> float | None:
    try:
        return float(_text(item, path))
    except ValueError:
        return None
