"""
COCO, Pascal VOC and Label Studio: what an independent reader counts is what comes in, and each fault of an annotation
is named.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import ImageFolderError
from include.workflow import ImageSource
from tests.memory import watched_memory
from tests.sources.images.pictures import NOON, encoded, picture, put, read

SIZE = (40, 30)
GONE = "annotation: the image that the entry names is not there"
LEAVES = "annotation: the file name leaves the root"
UNREADABLE = "annotation: the file can't be read as its layout"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(6):
        put(tmp_path / "photos" / "images" / f"photo {number}.png", encoded(picture(number, size=SIZE)))
    return tmp_path / "photos"


def read_with(root: Path, layout: str, pattern: str, **changes: Any) -> pa.Table:
    return read(ImageSource(root=str(root), layout=layout, annotations=pattern, **changes), folder=root.parent)


def faults(rows: pa.Table) -> list[tuple[str, str | None]]:
    return list(
        zip(
            (name.rpartition("/")[2] for name in rows["source_name"].to_pylist()),
            rows["source_error"].to_pylist(),
            strict=True,
        )
    )


def coco(**changes: Any) -> dict[str, Any]:
    """Six images, of which the first has two boxes, the second one, the others none."""
    images = [
        {
            "id": n,
            "file_name": f"images/photo {n}.png",
            "width": 40,
            "height": 30,
            "date_captured": "2026-01-05 09:00:00",
        }
        for n in range(6)
    ]
    boxes = [(0, 1, [1, 2, 10, 10]), (0, 2, [0, 0, 40, 30]), (1, 1, [5.5, 5, 4, 4])]
    annotations = [{"id": n, "image_id": i, "category_id": c, "bbox": box} for n, (i, c, box) in enumerate(boxes)]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        **changes,
    }


def put_coco(root: Path, content: Any) -> pa.Table:
    put(root / "instances.json", content if isinstance(content, bytes) else json.dumps(content).encode())
    return read_with(root, "coco", "instances.json")


def test_coco_gives_a_row_a_box_and_one_for_an_image_without(root):
    rows = put_coco(root, coco()).to_pylist()
    assert [
        (row["image_uri"].rpartition("/")[2], row["label"], row["box"], row["box_x"], row["box_width"])
        for row in rows[:4]
    ] == [
        ("photo 0.png", "cat", 1, 1.0, 10.0),
        ("photo 0.png", "dog", 2, 0.0, 40.0),
        ("photo 1.png", "cat", 1, 5.5, 4.0),
        ("photo 2.png", None, 0, None, None),
    ]
    assert len(rows) == 3 + 4
    assert {row["source_error"] for row in rows} == {None}


def test_coco_says_when_a_picture_was_taken_and_the_files_time_when_it_was_annotated(root):
    """A label can't be known before somebody wrote it down."""
    put(root / "instances.json", json.dumps(coco()).encode(), at=NOON)
    rows = read_with(root, "coco", "instances.json").to_pylist()
    assert {(row["taken_at"], row["annotated_at"]) for row in rows} == {(datetime(2026, 1, 5, 9, tzinfo=UTC), NOON)}


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ({"image_id": 0, "category_id": 9, "bbox": [1, 1, 2, 2]}, "label: the category is unknown"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, 1, 40, 2]}, "box: lies outside the image"),
        ({"image_id": 0, "category_id": 1, "bbox": [-1, 1, 4, 2]}, "box: lies outside the image"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, 1, 0, 2]}, "box: has no area"),
        ({"image_id": 0, "category_id": 1, "bbox": [9, 9, -4, 2]}, "box: has no area"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, 1, 2]}, "box: is not four numbers"),
        ({"image_id": 0, "category_id": 1, "bbox": [1, "1", 2, 2]}, "box: is not four numbers"),
        ({"image_id": 0, "category_id": 1, "bbox": [1e400, 1, 2, 2]}, "box: is not four numbers"),
        ({"image_id": 0, "category_id": 1}, "box: is not four numbers"),
        ({"image_id": 77, "category_id": 1, "bbox": [1, 1, 2, 2]}, "annotation: the entry names no listed image"),
        ({"image_id": [], "category_id": {}, "bbox": [1, 1, 2, 2]}, "annotation: the entry names no listed image"),
        ("nonsense", "annotation: the entry names no listed image"),
    ],
)
def test_each_fault_of_a_coco_entry_is_named(root, entry, expected):
    content = json.dumps(coco(annotations=[entry])).replace("Infinity", "1e400").encode()
    if b"1e400" in content:  # no JSON number: the whole file is refused
        expected = UNREADABLE
    found = faults(put_coco(root, content))
    assert expected in {error for _, error in found}
    assert len(found) in {6, 7}


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("images/gone.png", GONE),
        ("../../etc/passwd", LEAVES),
        ("images/../../secret.png", LEAVES),
        ("/etc/passwd", LEAVES),
        ("C:\\photo.png", LEAVES),
        ("s3://bucket/photo.png", LEAVES),
        ("images/photo 0.png\0.txt", LEAVES),
        ("", "annotation: the entry names no image"),
        (7, "annotation: the entry names no image"),
        ("%2e%2e/photo.png", GONE),
        ("a" * 5000, GONE),
    ],
)
def test_a_file_name_reaches_listed_images_only(root, name, expected):
    put(root.parent / "secret.png", encoded(picture(99)))
    content = coco()
    content["images"][0]["file_name"] = name
    rows = put_coco(root, content)
    assert [error for file, error in faults(rows) if file == "instances.json"] == [expected] * 2  # its two boxes
    assert "annotation: the image has none" in dict(faults(rows)).values()
    assert all(uri is None or uri.startswith(f"{root}/images/photo") for uri in rows["image_uri"].to_pylist())


def test_an_image_listed_twice_or_without_its_own_id_is_refused(root):
    content = coco()
    content["images"][1]["id"] = 0
    content["images"].append({"id": 50, "file_name": "images/photo 2.png"})
    found = Counter(error for _, error in faults(put_coco(root, content)))
    assert found["annotation: the image has no id of its own"] == 2
    assert found["annotation: the image is listed twice"] == 1
    assert found["annotation: the entry names no listed image"] == 3
    assert found["annotation: the image has none"] == 2


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b"null",
        b'{"images": 1}',
        b'{"images": [NaN]}',
        b"[" * 100_000,
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_an_unreadable_coco_file_is_a_row_and_leaves_every_image_without_annotation(root, content):
    found = faults(put_coco(root, content))
    assert found[-1] == ("instances.json", UNREADABLE)
    assert [error for _, error in found[:-1]] == ["annotation: the image has none"] * 6


def test_an_image_of_another_size_than_annotated_is_refused(root):
    content = coco()
    content["images"][0]["width"] = 80
    found = faults(put_coco(root, content))
    assert found[:3] == [("photo 0.png", "annotation: was made on an image of another size")] * 2 + [
        ("photo 1.png", None)
    ]


def test_images_without_annotation_may_be_declared_good(root):
    put(root / "instances.json", json.dumps(coco(images=coco()["images"][:2])).encode())
    assert {error for _, error in faults(read_with(root, "coco", "instances.json", orphans="accept"))} == {None}


def test_no_annotation_file_at_all_stops_the_partition(root):
    with pytest.raises(ImageFolderError, match=r"no file matches source.annotations='labels/\*.xml'"):
        read_with(root, "pascal_voc", "labels/*.xml")


def voc(name: str, boxes: list[tuple[str, Any, Any, Any, Any]], *, size: tuple[int, int] | None = SIZE) -> bytes:
    stated = f"<size><width>{size[0]}</width><height>{size[1]}</height><depth>3</depth></size>" if size else ""
    objects = "".join(
        f"<object><name>{label}</name><bndbox><xmin>{left}</xmin><ymin>{top}</ymin><xmax>{right}</xmax><ymax>{bottom}</ymax></bndbox></object>"
        for label, left, top, right, bottom in boxes
    )
    return f"<annotation><folder>x</folder><filename>{name}</filename>{stated}{objects}</annotation>".encode()


def test_voc_gives_a_row_a_box(root):
    """With the faults of a real package: a name with spaces is found, a wrong extension and a missing file are not."""
    put(root / "labels" / "0.xml", voc("photo 0.png", [("tree", 1, 1, 40, 30), ("tree", 5, 6, 7, 9)]))
    put(root / "labels" / "1.xml", voc("photo 1.jpg", [("tree", 1, 1, 4, 3)]))
    put(root / "labels" / "2.xml", voc("photo 2.png", [], size=None))
    put(
        root / "labels" / "3.xml",
        voc("photo 3.png", [("", 1, 1, 4, 3), ("tree", 4, 4, 2, 9), ("tree", 1, 1, 41, 3), ("tree", "x", 1, 2, 3)]),
    )
    put(root / "labels" / "4.xml", voc("photo 4.png", [("tree", 1, 1, 4, 3)] * 2))
    rows = read_with(root, "pascal_voc", "labels/*.xml")
    assert faults(rows) == [
        ("photo 0.png", None),
        ("photo 0.png", None),
        ("photo 1.png", "annotation: the image has none"),
        ("photo 2.png", None),
        ("photo 3.png", "label: the entry has no name"),
        ("photo 3.png", "box: has no area"),
        ("photo 3.png", "box: lies outside the image"),
        ("photo 3.png", "box: is not four numbers"),
        ("photo 4.png", "box: repeats another one of the image"),
        ("photo 4.png", "box: repeats another one of the image"),
        ("photo 5.png", "annotation: the image has none"),
        ("1.xml", GONE),
    ]


BOMB = (
    b'<!DOCTYPE a [<!ENTITY a "aaaaaaaaaa">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + n, b"&%c;" % (97 + n) * 10) for n in range(9))
    + b"]><annotation><filename>&j;</filename></annotation>"
)
OUTSIDE = b'<!DOCTYPE a [<!ENTITY x SYSTEM "file:///etc/passwd">]><annotation><filename>&x;</filename></annotation>'


@pytest.mark.parametrize(
    "document",
    [
        BOMB,
        OUTSIDE,
        b"",
        b"<annotation>",
        b"<other/>",
        b'<?xml version="1.0" encoding="x-none"?><annotation/>',
        b"<a>" * 300_000,
    ],
)
def test_a_hostile_or_broken_document_is_a_row_and_reaches_nothing(root, document):
    put(root / "labels" / "0.xml", document)
    with watched_memory() as growth_kib:
        rows = read_with(root, "pascal_voc", "labels/*.xml")
        assert growth_kib() < 300_000  # open elements weigh some 100 bytes each
    assert faults(rows)[-1] == ("0.xml", UNREADABLE)
    assert "root:" not in json.dumps(rows.to_pylist(), default=str)


def task(image: str, results: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    annotation = {
        "id": 1,
        "created_at": "2026-01-05T10:00:00.123Z",
        "was_cancelled": False,
        "result": results,
        **changes,
    }
    return {"id": 1, "data": {"image": image}, "annotations": [annotation]}


def rectangle(label: str, x: float, y: float, width: float, height: float, **changes: Any) -> dict[str, Any]:
    value = {"x": x, "y": y, "width": width, "height": height, "rotation": 0, "rectanglelabels": [label], **changes}
    return {"type": "rectanglelabels", "original_width": 40, "original_height": 30, "value": value}


def choice(*labels: str) -> dict[str, Any]:
    return {"type": "choices", "original_width": 40, "original_height": 30, "value": {"choices": list(labels)}}


def test_label_studio_gives_boxes_in_pixels_and_choices(root):
    revised = task("photo 4.png", [choice("old")])
    revised["annotations"].append(
        {"id": 2, "updated_at": "2026-01-05T11:00:00Z", "created_at": "2026-01-05T09:00:00Z", "result": [choice("new")]}
    )
    tasks = [
        task("/data/upload/1/photo%200.png", [rectangle("cat", 50, 50, 50, 50), rectangle("dog", 0, 0, 100.00001, 10)]),
        task("/data/local-files/?d=images/photo%201.png", [choice("cat")]),
        task(f"{root}/images/photo 2.png", []),
        task("photo 3.png", [choice("cat")], was_cancelled=True),
        revised,
    ]
    put(root / "export.json", json.dumps(tasks).encode())
    rows = read_with(root, "label_studio", "export.json")
    assert [(row["label"], row["box"], row["box_x"], row["box_height"]) for row in rows.to_pylist()] == [
        ("cat", 1, 20.0, 15.0),
        ("dog", 2, 0.0, 3.0),
        ("cat", 0, None, None),
        (None, 0, None, None),
        (None, 0, None, None),
        ("new", 0, None, None),
        (None, 0, None, None),
    ]
    assert [error for _, error in faults(rows)] == [None] * 4 + [
        "annotation: the image has none",
        None,
        "annotation: the image has none",
    ]


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ([task("photo 0.png", [rectangle("cat", 60, 0, 50, 50)])], "box: lies outside the image"),
        ([task("photo 0.png", [rectangle("cat", 6, 0, 5, 5, rotation=30)])], "box: is rotated, which is not read"),
        (
            [task("photo 0.png", [rectangle("cat", 6, 0, 5, 5, rectanglelabels=[])])],
            "label: the entry has no single name",
        ),
        (
            [task("photo 0.png", [{"type": "polygonlabels", "value": {}}])],
            "annotation: only rectangles and choices are read",
        ),
        ([task("photo 0.png", [choice("cat"), choice("dog")])], "label: the image has several"),
        ([task("photo 0.png", [choice("cat", "dog")])], "label: the entry has no single name"),
        ([task("photo 0.png", "none")], "annotation: the entry has no list of results"),
        ([task("/data/local-files/?d=../../etc/passwd", [choice("cat")])], LEAVES),
        ([task("/data/upload/1/..%2f..%2fsecret.png", [choice("cat")])], LEAVES),
        ([task("https://example.org/photo.png", [choice("cat")])], GONE),
        ([7], "annotation: the entry is no object"),
        ([{"data": {"image": "photo 0.png"}, "annotations": 7}], UNREADABLE),
        ({"not": "a list"}, UNREADABLE),
    ],
)
def test_each_fault_of_a_label_studio_entry_is_named(root, tasks, expected):
    put(root / "export.json", json.dumps(tasks).encode())
    assert expected in {error for _, error in faults(read_with(root, "label_studio", "export.json"))}


@pytest.mark.parametrize("layout", ["coco", "pascal_voc", "label_studio"])
def test_rows_are_as_many_as_an_independent_reader_counts(root, layout):
    """Counted in the files' text: each box, and each image without one."""
    boxes = {n: [("cat", 1 + k, 1, 5 + k, 9) for k in range(n)] for n in range(6)}
    if layout == "coco":
        annotations = [
            {"image_id": n, "category_id": 1, "bbox": [a, b, c - a, d - b]}
            for n, own in boxes.items()
            for _, a, b, c, d in own
        ]
        put(root / "a.json", json.dumps(coco(annotations=annotations)).encode())
    for n, own in boxes.items() if layout == "pascal_voc" else ():
        put(root / f"{n}.xml", voc(f"photo {n}.png", own))
    if layout == "label_studio":
        tasks = [
            task(f"photo {n}.png", [rectangle("cat", a, b, c, d) for _, a, b, c, d in own]) for n, own in boxes.items()
        ]
        put(root / "a.json", json.dumps(tasks).encode())
    pattern = "*.xml" if layout == "pascal_voc" else "*.json"
    texts = "".join(path.read_text() for path in root.glob(pattern))
    n_boxes = len(
        re.findall({"coco": '"bbox"', "pascal_voc": "<bndbox>", "label_studio": '"rectanglelabels":'}[layout], texts)
    )
    rows = read_with(root, layout, pattern)
    assert n_boxes == 15
    assert rows.num_rows == n_boxes + 1
    assert rows["source_error"].null_count == rows.num_rows
    assert Counter(rows["image_uri"].to_pylist()) == {f"{root}/images/photo {n}.png": max(n, 1) for n in range(6)}
