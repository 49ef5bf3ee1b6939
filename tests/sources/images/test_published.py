"""
Image rows through extraction, validation and publication, in every layout: every image is in one place, no image's
bytes are in any.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from PIL import Image

from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.quality.validation import validate_partition
from include.rehearsal import ingest
from include.sources.extraction import extract_partition
from include.workflow import ImageSource, Partition, Quality, Videos, Workflow
from tests.seaweedfs import BUCKET
from tests.sources.images.pictures import KEY, SUITE, declare, encoded, picture, put
from tests.sources.images.test_layouts import choice, rectangle, task, voc
from tests.sources.images.test_videos import film

SIZE = (40, 30)
NO_DIGEST = "sha256: key is missing"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A partition's folder with six good images in `images`, or in the class folders `cat` and `dog`."""
    return tmp_path / "photos" / KEY


def source(root: Path, **changes: Any) -> ImageSource:
    declared = {
        "root": f"{root.parent}/{{partition_key}}",
        "event_time": "partition_start",
        "known_time": "partition_start",
    }
    return ImageSource(**{**declared, **changes})


def outcome(lake: Lake) -> tuple[Counter[str], dict[str, tuple[str, ...]]]:
    """Names of the published rows, and the reasons of the quarantined ones."""
    validated, quarantine = (
        read_partition(lake, f"photos/{table}", KEY).to_pylist() for table in ("validated", "quarantine")
    )
    return Counter(row["source_name"] for row in validated), {
        row["source_name"]: tuple(row["reasons"]) for row in quarantine
    }


def put_pictures(root: Path, folder: str, n_pictures: int, *, first: int = 0) -> None:
    for number in range(first, first + n_pictures):
        put(root / folder / f"{number}.png", encoded(picture(number, size=SIZE)))


def test_class_folders_are_published_or_quarantined_image_by_image(root, lake, tmp_path):
    put_pictures(root, "cat", 3)
    put_pictures(root, "dog", 3, first=3)
    data = (root / "cat" / "1.png").read_bytes()
    put(root / "cat" / "copy.png", data)
    put(root / "dog" / "cut.png", data[:-30])
    put(root / "dog" / "notes.txt", b"remember the milk")
    with Image.open(root / "dog" / "3.png") as image:
        put(root / "dog" / "again.png", encoded(image.resize((39, 29))))
    line = ingest(declare(tmp_path / "w", source(root, near_duplicates=6)), KEY, connection_uri=None, lake=lake)
    published, quarantined = outcome(lake)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (10, 6, 3, 1)
    assert published == Counter(["cat/0.png", "cat/1.png", "cat/2.png", "dog/3.png", "dog/4.png", "dog/5.png"])
    assert quarantined == {
        "dog/again.png": ("source: perceptual_hash: looks like an earlier image",),
        "dog/cut.png": ("source: image_uri: the file is truncated",),
        "dog/notes.txt": (NO_DIGEST, "source: image_uri: the file is of no supported format"),
    }
    rows = read_partition(lake, "photos/validated", KEY).to_pylist()
    assert {row["image_uri"]: row["sha256"] for row in rows} == {
        str(root / name): hashlib.sha256((root / name).read_bytes()).hexdigest() for name in published
    }


def coco(root: Path) -> dict[str, Any]:
    content = {
        "images": [{"id": n, "file_name": f"{n}.png"} for n in (0, 1, 9)],
        "annotations": [
            {"image_id": n, "category_id": c, "bbox": box}
            for n, c, box in [(0, 1, [1, 1, 9, 9]), (0, 2, [2, 2, 9, 9]), (1, 1, [35, 1, 9, 9]), (9, 1, [1, 1, 9, 9])]
        ],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
    }
    put(root / "labels.json", json.dumps(content).encode())
    return {"layout": "coco", "annotations": "labels.json"}


def pascal_voc(root: Path) -> dict[str, Any]:
    put(root / "labels" / "0.xml", voc("0.png", [("cat", 1, 1, 10, 10), ("dog", 2, 2, 11, 11)]))
    put(root / "labels" / "1.xml", voc("1.png", [("cat", 35, 1, 44, 10)]))
    put(root / "labels" / "9.xml", voc("9.png", [("cat", 1, 1, 10, 10)]))
    return {"layout": "pascal_voc", "annotations": "labels/*.xml"}


def label_studio(root: Path) -> dict[str, Any]:
    tasks = [
        task("/data/upload/1/0.png", [rectangle("cat", 2.5, 5, 20, 30), rectangle("dog", 5, 10, 20, 30)]),
        task("/data/upload/1/1.png", [rectangle("cat", 90, 5, 20, 30)]),
        task("/data/upload/1/9.png", [choice("cat")]),
    ]
    put(root / "labels.json", json.dumps(tasks).encode())
    return {"layout": "label_studio", "annotations": "labels.json"}


@pytest.mark.parametrize("write", [coco, pascal_voc, label_studio])
def test_boxes_are_published_or_quarantined_one_by_one(root, lake, tmp_path, write):
    """Two good boxes of an image, one that sticks out, one without an image, and one image without a box."""
    put_pictures(root, "images", 3)
    workflow = declare(tmp_path / "w", source(root, **write(root)), quality=Quality(max_quarantined=0.7))
    line = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (5, 2, 3, 0)
    published, quarantined = outcome(lake)
    assert published == Counter({"images/0.png": 2})
    unlabelled = "label: expect_column_values_to_not_be_null"
    (loose,) = quarantined.keys() - {"images/1.png", "images/2.png"}
    assert Path(loose).stem in {"labels", "9"}
    gone = ("box: key is missing", NO_DIGEST, "source: annotation: the image that the entry names is not there")
    assert quarantined == {
        "images/1.png": ("source: box: lies outside the image",),
        "images/2.png": (unlabelled, "source: annotation: the image has none"),
        loose: gone,
    }
    rows = read_partition(lake, "photos/validated", KEY).to_pylist()
    assert [(row["label"], row["box"], row["box_x"], row["box_y"]) for row in rows] == [
        ("cat", 1, pytest.approx(1, abs=0.6), pytest.approx(1, abs=0.6)),
        ("dog", 2, pytest.approx(2, abs=1.1), pytest.approx(2, abs=1.1)),
    ]


def test_the_frames_of_a_video_are_rows(root, lake, tmp_path):
    path = film(root / "cat" / "a.mp4")
    put(root / "cat" / "b.mp4", path.read_bytes()[:2000])
    put(root / "cat" / "still.png", encoded(picture(1)))
    line = ingest(
        declare(tmp_path / "w", source(root, videos=Videos(frames_per_second=1))), KEY, connection_uri=None, lake=lake
    )
    assert (line.rows_in, line.rows_published, line.rows_quarantined) == (6, 5, 1)
    published, quarantined = outcome(lake)
    assert published == Counter(["cat/a.mp4#t=0", "cat/a.mp4#t=1", "cat/a.mp4#t=2", "cat/a.mp4#t=3", "cat/still.png"])
    assert list(quarantined) == ["cat/b.mp4"]


def test_the_lake_holds_digest_and_place_and_nothing_that_could_hold_a_picture(root, lake, tmp_path):
    put_pictures(root, "cat", 4)
    ingest(declare(tmp_path / "w", source(root)), KEY, connection_uri=None, lake=lake)
    for table in ("raw", "validated"):
        rows = read_partition(lake, f"photos/{table}", KEY)
        assert not any(pa.types.is_binary(field.type) or pa.types.is_nested(field.type) for field in rows.schema)
        assert max(len(str(value)) for row in rows.to_pylist() for value in row.values()) < 600
    chunks = [path.read_bytes()[60:100] for path in (root / "cat").iterdir()]
    stored = b"".join(path.read_bytes() for path in Path(lake.uri).rglob("*") if path.is_file())
    assert not any(chunk in stored for chunk in chunks)


BALANCE = {"values": ["cat", "dog"], "weights": [0.5, 0.5]}


def balanced(severity: str) -> list[dict[str, Any]]:
    kwargs = {"column": "label", "partition_object": BALANCE, "threshold": 0.05}
    return [
        *SUITE,
        {"type": "expect_column_kl_divergence_to_be_less_than", "kwargs": kwargs, "meta": {"severity": severity}},
    ]


@pytest.mark.parametrize(("n_dogs", "is_balanced"), [(9, True), (2, False)])
def test_classes_out_of_balance_are_told(root, lake, tmp_path, n_dogs, is_balanced):
    """By the suite: nine to two is refused, nine to nine is not."""
    put_pictures(root, "cat", 9)
    put_pictures(root, "dog", n_dogs, first=20)
    workflow = declare(tmp_path / "w", source(root), suite=balanced("warn"))
    extracted = extract_partition(workflow, KEY, connection_uri=None, lake=lake, token=1)
    report = validate_partition(workflow, KEY, lake=lake, raw_version=extracted.version, run_id="r")
    said = "label: expect_column_kl_divergence_to_be_less_than [warn]"
    assert report.failed == (() if is_balanced else (said,))
    assert report.rows_published == 9 + n_dogs


@pytest.mark.claim("accounts")
def test_a_share_of_classes_that_moves_is_held_against_the_past(root, lake, tmp_path):
    """Four days of as many cats as dogs, then one of dogs almost alone."""
    rule = {
        "type": "expect_column_distribution_to_match_history",
        "kwargs": {"column": "label", "max_psi": 0.25, "minimum_rows": 20},
    }
    workflow: Workflow = declare(
        tmp_path / "w",
        source(root),
        suite=[*SUITE, {**rule, "meta": {"severity": "warn"}}],
        partition=Partition(start="2026-01-05"),
    )
    for day, n_dogs in zip(range(5, 10), [20, 20, 20, 20, 21], strict=True):
        put_pictures(root.parent / f"2026-01-{day:02}", "cat", 20 if day < 9 else 2, first=100 * day)
        put_pictures(root.parent / f"2026-01-{day:02}", "dog", n_dogs, first=100 * day + 50)
        extracted = extract_partition(workflow, f"2026-01-{day:02}", connection_uri=None, lake=lake, token=1)
        ingest(workflow, f"2026-01-{day:02}", connection_uri=None, lake=lake)
    report = validate_partition(workflow, "2026-01-09", lake=lake, raw_version=extracted.version, run_id="r")
    assert report.failed == ("label: expect_column_distribution_to_match_history [warn]",)


def test_the_page_counts_copies_and_look_alikes_and_names_no_image(root, lake, tmp_path, home):
    put_pictures(root, "cat", 5)
    put(root / "cat" / "copy.png", (root / "cat" / "1.png").read_bytes())
    with Image.open(root / "cat" / "2.png") as image:
        put(root / "cat" / "secret-name.png", encoded(image.resize((39, 29))))
    ingest(declare(tmp_path / "w", source(root, near_duplicates=6)), KEY, connection_uri=None, lake=lake)
    (page,) = (path for path in (home / "data_docs").rglob("*.html") if path.parent.name == KEY)
    text = " ".join(re.sub(r"<[^>]+>", " ", page.read_text()).split())
    assert "7 rows in 5 accepted, 71.4% 1 quarantined, 14.3% 1 duplicates, 14.3%" in text
    assert "source: perceptual_hash: looks like an earlier image 1" in text
    assert "secret-name" not in text


@pytest.mark.claim("s3")
def test_the_same_over_s3_lake_and_images_alike(bucket, tmp_path):
    for number in range(4):
        bucket.put(f"{KEY}/cat/{number}.png", encoded(picture(number)))
    bucket.put(f"{KEY}/cat/copy.png", encoded(picture(0)))
    bucket.put(f"{KEY}/cat/cut.png", encoded(picture(9))[:-20])
    declared = ImageSource(
        root=f"{bucket.root}/{{partition_key}}", event_time="partition_start", known_time="partition_start"
    )
    workflow = declare(tmp_path / "w", declared)
    lake = Lake(uri=f"s3://{BUCKET}/lake-of-{bucket.prefix}", storage_options=bucket.server.storage_options)
    line = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (6, 4, 1, 1)
    again = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (again.digest, again.table_version) == (line.digest, line.table_version)
    assert set(read_partition(lake, "photos/validated", KEY)["image_uri"].to_pylist()) == {
        f"{bucket.root}/{KEY}/cat/{number}.png" for number in range(4)
    }
