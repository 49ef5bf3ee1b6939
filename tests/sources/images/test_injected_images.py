"""
10,000 bad images and annotations among 2,000 good ones: each is quarantined with the right reasons, and a mended suite
heals its own.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from include.lake.fencing import new_token
from include.lake.ledger import latest_run
from include.lake.store import Lake
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.workflow import ImageSource, Quality, Workflow
from tests.injected import Expected, assert_accounted
from tests.sources.images.pictures import KEY, SUITE, declare, encoded

pytestmark = pytest.mark.claim("accounts")

N_OF_A_KIND = 500  # of 20 kinds
N_GOOD, N_COPIES = 2_000, 100
UNREAD = "sha256: key is missing"
UNLABELLED = "label: expect_column_values_to_not_be_null"
NARROW = "width: expect_column_values_to_be_between"
GONE = "source: annotation: the image that the entry names is not there"
WHOLE, BOX = (6, 6), [1, 1, 3, 3]


def suite(*, min_width: int) -> list[dict[str, Any]]:
    return [
        *SUITE,
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "width", "min_value": min_width}},
    ]


@dataclass
class Album:
    """One partition's folder under construction: its files, its COCO file, and what has to become of each."""

    root: Path
    images: list[dict[str, Any]] = field(default_factory=list)
    boxes: list[dict[str, Any]] = field(default_factory=list)
    bad: dict[str, tuple[str, ...]] = field(default_factory=dict)
    noise: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def data(self, *, size: tuple[int, int] = WHOLE, form: str = "PNG") -> bytes:
        """Bytes of a picture like no other."""
        return encoded(Image.frombytes("RGB", size, self.noise.bytes(3 * size[0] * size[1])), form)

    def add(
        self, name: str, data: bytes | None, *reasons: str, category: int = 1, box: Any = BOX, **stated: int
    ) -> str:
        """Write an image (None: it is there already) and its annotation."""
        if data is not None:
            (self.root / "images" / name).write_bytes(data)
        self.images.append({"id": len(self.images), "file_name": name, **stated})
        self.boxes.append({"image_id": len(self.images) - 1, "category_id": category, "bbox": box})
        if reasons:
            self.bad[f"images/{name}"] = reasons
        return f"images/{name}"

    def write_annotations(self) -> None:
        content = {
            "images": self.images,
            "annotations": self.boxes,
            "categories": [{"id": n, "name": c} for n, c in enumerate("xcds")],
        }
        (self.root / "labels" / "all.json").write_text(json.dumps(content))


def no_annotation(album: Album, name: str) -> None:
    (album.root / "images" / name).write_bytes(album.data())
    album.bad[f"images/{name}"] = ("source: annotation: the image has none", UNLABELLED)


def orphan_annotation(album: Album, name: str) -> None:
    path = f"labels/{name}.json"
    content = {
        "images": [{"id": 1, "file_name": name}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": BOX}],
    }
    (album.root / path).write_text(json.dumps({**content, "categories": [{"id": 1, "name": "c"}]}))
    album.bad[path] = (GONE, UNREAD, "box: key is missing")


def unreadable_annotations(album: Album, name: str) -> None:
    path = f"labels/{name}.json"
    (album.root / path).write_text('{"images": [')
    album.bad[path] = (
        "source: annotation: the file can't be read as its layout",
        UNREAD,
        "box: key is missing",
        UNLABELLED,
    )


def link(album: Album, name: str) -> None:
    (album.root / "images" / name).symlink_to(album.root / "elsewhere.png")
    album.add(name, None, "source: image_uri: a symbolic link is not followed", UNREAD)


def no_utf8(album: Album, name: str) -> None:
    path = os.fsencode(album.root / "images") + b"/\xff" + name.encode()
    with open(path, "wb") as file:
        file.write(album.data())
    album.bad[f"images/\\udcff{name}"] = ("source: image_uri: the file's name is no UTF-8", UNREAD, UNLABELLED)


def two_labels(album: Album, name: str) -> None:
    """Half as often: it makes two rows."""
    if int(name.removesuffix(".png").rpartition("-")[2]) % 2 == 0:
        data, fault = album.data(), "source: label: exact copies of the image carry different labels"
        album.add(name, data, fault, category=1)
        album.add(f"b{name}", data, fault, category=2)


Inject = Callable[[Album, str], object]


def image(*reasons: str, data: Callable[[Album], bytes] = Album.data, suffix: str = "", **annotation: Any) -> Inject:
    """Add an image with its annotation, one of which is bad."""
    return lambda album, name: album.add(f"{name}{suffix}", data(album), *reasons, **annotation)


def flipped(data: bytes) -> bytes:
    """One byte of its pixels is another."""
    return data[:50] + bytes([data[50] ^ 255]) + data[51:]


KINDS: dict[str, Inject] = {
    "corrupt": image("source: image_uri: the file can't be decoded", data=lambda album: flipped(album.data())),
    "truncated": image("source: image_uri: the file is truncated", data=lambda album: album.data()[:-12]),
    "wrong_extension": image(
        "source: image_uri: the name's extension is not the content's format", data=lambda album: album.data(form="BMP")
    ),
    "no_image": image(
        "source: image_uri: the file is of no supported format", UNREAD, data=lambda _: b"milk", suffix=".txt"
    ),
    "empty": image("source: n_bytes: the file is empty", UNREAD, data=lambda _: b""),
    "too_small": image(
        "source: width: the picture is smaller than the declared minimum",
        NARROW,
        data=lambda album: album.data(size=(1, 6)),
    ),
    "too_large": image(
        "source: width: the picture has more pixels than declared", data=lambda album: album.data(size=(9, 8))
    ),
    "link": link,
    "no_utf8": no_utf8,
    "no_annotation": no_annotation,
    "orphan_annotation": orphan_annotation,
    "unreadable_annotations": unreadable_annotations,
    "undeclared_class": image("source: label: is none of the declared classes", category=3),
    "unknown_category": image("source: label: the category is unknown", UNLABELLED, category=9),
    "other_size": image("source: annotation: was made on an image of another size", width=9, height=6),
    "two_labels": two_labels,
    "box_outside": image("source: box: lies outside the image", box=[4, 1, 3, 3]),
    "no_area": image("source: box: has no area", box=[1, 1, 0, 3]),
    "no_box": image("source: box: is not four numbers", box=[1, 1, "3"]),
    # Breaks a rule of the suite alone.
    "narrow": image(NARROW, data=lambda album: album.data(size=(4, 6))),
}


def fill(root: Path) -> tuple[Album, list[str]]:
    """Write the good images, copies of some of them, and the bad ones of each kind; name the good ones."""
    for folder in ("images", "labels"):
        (root / folder).mkdir(parents=True)
    album = Album(root=root)
    good = [album.add(f"good-{number}.png", album.data()) for number in range(N_GOOD)]
    for number in range(N_COPIES):
        album.add(f"zcopy-{number}.png", (root / good[number]).read_bytes())
    for kind, inject in KINDS.items():
        for number in range(N_OF_A_KIND):
            inject(album, f"{kind}-{number}.png")
    album.write_annotations()
    return album, good


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    return Lake(uri=str(tmp_path / "lake"))


def declared(tmp_path: Path, *, min_width: int) -> Workflow:
    source = ImageSource(
        root=f"{tmp_path}/photos/{{partition_key}}",
        layout="coco",
        annotations="labels/*.json",
        event_time="partition_start",
        known_time="partition_start",
        classes=("c", "d"),
        min_size=2,
        max_pixels=64,
        workers=2,
    )
    return declare(tmp_path / "w", source, suite=suite(min_width=min_width), quality=Quality(max_quarantined=0.9))


@pytest.mark.timeout(900)  # 12,600 files, on a machine that may be busy
def test_ten_thousand_bad_images_and_annotations_are_each_accounted_for(tmp_path, lake):
    album, good = fill(tmp_path / "photos" / KEY)
    n_in = N_GOOD + N_COPIES + len(album.bad)
    expected = Expected(n_in=n_in, n_published=N_GOOD, n_duplicate=N_COPIES, reasons_by_row=album.bad, published=good)
    assert (expected.n_quarantined, len(KINDS)) == (10_000, 20)
    ingest(declared(tmp_path, min_width=5), KEY, connection_uri=None, lake=lake)
    assert_accounted(lake, "photos", expected, marker_column="source_name")

    # The rule was too strict. The images are gone, too: what is judged again has landed.
    shutil.rmtree(tmp_path / "photos")
    healed = [name for name, reasons in album.bad.items() if reasons == (NARROW,)]
    assert len(healed) == N_OF_A_KIND
    mended = replace(
        expected,
        n_published=N_GOOD + N_OF_A_KIND,
        reasons_by_row={name: reasons for name, reasons in album.bad.items() if reasons != (NARROW,)},
        published=[*good, *healed],
    )
    workflow = declared(tmp_path, min_width=3)
    replays = [
        replay_partition(workflow, KEY, lake=lake, token=new_token(), run_id=f"replay-{number}", try_id=f"try-{number}")
        for number in range(2)
    ]
    assert_accounted(lake, "photos", mended, marker_column="source_name")
    found = [
        (replay.rows_healed, replay.rows_still_quarantined, replay.rows_newly_quarantined, replay.is_changed)
        for replay in replays
    ]
    assert found == [(500, 9_500, 0, True), (0, 9_500, 0, False)]
    assert latest_run(lake, "photos", KEY).run_id == "replay-0"
