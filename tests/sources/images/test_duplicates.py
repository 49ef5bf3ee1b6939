"""The same picture twice: copies are counted, contradictions and look-alikes refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from include.workflow import ImageSource
from tests.sources.images.pictures import encoded, errors_by_name, picture, put, read

CONFLICT = "label: exact copies of the image carry different labels"
COPY = "sha256: an exact copy of an earlier image"
NEAR = "perceptual_hash: looks like an earlier image"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for number in range(3):
        put(tmp_path / "photos" / "cat" / f"{number}.png", encoded(picture(number, size=(64, 64))))
    return tmp_path / "photos"


def faults(root: Path, **changes: Any) -> dict[str, str | None]:
    return errors_by_name(read(ImageSource(root=str(root), **changes), folder=root.parent))


def test_a_copy_with_the_same_label_is_left_to_the_key(root):
    put(root / "cat" / "copy.png", (root / "cat" / "1.png").read_bytes())
    assert set(faults(root).values()) == {None}
    assert faults(root, key=("image_uri",)) == {"0.png": None, "1.png": None, "2.png": None, "copy.png": COPY}


def test_a_copy_with_another_label_refuses_both(root):
    put(root / "dog" / "copy.png", (root / "cat" / "1.png").read_bytes())
    assert faults(root) == {"0.png": None, "1.png": CONFLICT, "2.png": None, "copy.png": CONFLICT}


def test_a_look_alike_is_refused_if_asked_for(root):
    """The same picture, saved smaller and as JPEG: another digest, nearly the same hash."""
    with Image.open(root / "cat" / "1.png") as image:
        put(root / "cat" / "resaved.jpg", encoded(image.resize((60, 60)), "JPEG", quality=80))
    assert set(faults(root).values()) == {None}
    assert faults(root, near_duplicates=6) == {"0.png": None, "1.png": None, "2.png": None, "resaved.jpg": NEAR}


def test_a_look_alike_of_a_refused_picture_stays(root):
    """Else neither would be published."""
    with Image.open(root / "cat" / "1.png") as image:
        put(root / "bird" / "1.png", encoded(image))
        put(root / "cat" / "1.png", encoded(image.resize((60, 60)), "PNG"))
    changes = {"near_duplicates": 6, "classes": ("cat",)}
    rows = read(ImageSource(root=str(root), **changes), folder=root.parent)
    found = dict(zip(rows["source_name"].to_pylist(), rows["source_error"].to_pylist(), strict=True))
    assert (found["bird/1.png"], found["cat/1.png"]) == ("label: is none of the declared classes", None)


def test_every_copy_of_a_look_alike_is_refused(root):
    """Else the copy would be published in its place."""
    with Image.open(root / "cat" / "1.png") as image:
        data = encoded(image, "JPEG", quality=90)
    put(root / "cat" / "a.jpg", data)
    put(root / "cat" / "b.jpg", data)
    found = faults(root, near_duplicates=4)
    assert (found["1.png"], found["a.jpg"], found["b.jpg"]) == (None, NEAR, NEAR)


def test_the_hash_counts_bits_as_declared(root):
    """Against a count of our own: pairs of hashes at most so many bits apart."""
    for number in range(3, 60):
        put(root / "cat" / f"{number}.png", encoded(picture(number // 3, size=(64, 64)).rotate(number % 3)))
    rows = read(ImageSource(root=str(root)), folder=root.parent)
    kept: list[int] = []
    expected = []
    for text in dict(zip(rows["sha256"].to_pylist(), rows["perceptual_hash"].to_pylist(), strict=True)).values():
        is_near = any((int(text, 16) ^ other).bit_count() <= 10 for other in kept)
        expected.append(is_near)
        kept += [] if is_near else [int(text, 16)]
    rows = read(ImageSource(root=str(root), near_duplicates=10), folder=root.parent)
    found = dict(
        zip(rows["sha256"].to_pylist(), (error == NEAR for error in rows["source_error"].to_pylist()), strict=True)
    )
    assert list(found.values()) == expected
    assert 0 < sum(expected) < len(expected)


def test_copies_with_other_boxes_refuse_each_other(tmp_path):
    root = tmp_path / "photos"
    data = encoded(picture(1, size=(40, 30)))
    for name in "abcd":
        put(root / f"{name}.png", data if name != "d" else encoded(picture(2, size=(40, 30))))
    boxes = [(0, [1, 1, 5, 5]), (1, [1, 1, 5, 5]), (2, [2, 2, 5, 5]), (3, [1, 1, 5, 5])]
    content = {
        "images": [{"id": n, "file_name": f"{name}.png"} for n, name in enumerate("abcd")],
        "annotations": [{"image_id": n, "category_id": 1, "bbox": box} for n, box in boxes],
        "categories": [{"id": 1, "name": "cat"}],
    }
    put(root / "a.json", json.dumps(content).encode())
    assert faults(root, layout="coco", annotations="a.json") == {
        "a.png": CONFLICT,
        "b.png": CONFLICT,
        "c.png": CONFLICT,
        "d.png": None,
    }
