"""The page about images does what it says."""

from __future__ import annotations

import json
import re
import runpy
from pathlib import Path

import pytest

from include.lake.partitions import read_partition
from include.lake.store import open_lake
from include.modeling.features import builder_of_workflow
from include.rehearsal import ingest
from include.settings import PROJECT_ROOT
from include.workflow import ImageSource, Videos
from tests.docs.pages import type_in
from tests.sources.images.pictures import KEY, encoded, picture, put, read
from tests.sources.images.test_layouts import rectangle, task, voc
from tests.sources.images.test_videos import film

PAGE = (PROJECT_ROOT / "docs" / "sources" / "images.md").read_text(encoding="utf-8")
SIZE = (40, 30)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def declared_sources(root: Path) -> dict[str, ImageSource]:
    """The page's short declarations, over a folder of the test."""
    names: dict[str, object] = {"ImageSource": ImageSource, "Videos": Videos}
    for block in re.findall(r"^```python\n(\w+ = ImageSource.*?)^```", PAGE, re.MULTILINE | re.DOTALL):
        exec(block.replace("/data/photos", str(root)).replace("/data/films", str(root)), names)
    return {name: value for name, value in names.items() if isinstance(value, ImageSource)}


def test_the_workflow_publishes_its_photographs_and_reads_them_as_features(tmp_path, home):
    type_in("sources/images.md", tmp_path)
    workflow = runpy.run_path(str(tmp_path / "include" / "workflows" / "photos" / "workflow.py"))["workflow"]
    folder = home / "photos" / KEY
    for number in range(6):
        label = "cat" if number % 2 else "dog/garden"
        put(folder / label / f"{number}.png", encoded(picture(number, size=SIZE)))
    put(folder / "cat" / "copy.png", (folder / "cat" / "1.png").read_bytes())
    put(folder / "beside.png", encoded(picture(50, size=SIZE)))
    put(folder / "cat" / "tiny.png", encoded(picture(51, size=(8, 8))))
    line = ingest(workflow, KEY, connection_uri=None, lake=open_lake())
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (9, 6, 2, 1)
    quarantined = read_partition(open_lake(), "photos/quarantine", KEY)["source_name"].to_pylist()
    assert quarantined == ["beside.png", "cat/tiny.png"]
    rows = read_partition(open_lake(), "photos/validated", KEY)
    features = builder_of_workflow(workflow, rows.schema).build_table(rows)
    assert [len(row) for row in features] == [64] * 6


@pytest.mark.parametrize("name", ["coco", "pascal_voc", "label_studio"])
def test_the_declarations_with_boxes_read_their_layout(tmp_path, name):
    source = declared_sources(tmp_path / "photos")[name]
    root = tmp_path / "photos" / KEY
    put(root / "a.png", encoded(picture(1, size=SIZE)))
    content = {
        "images": [{"id": 1, "file_name": "a.png"}],
        "annotations": [{"image_id": 1, "category_id": 1, "bbox": [4, 3, 8, 6]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    put(root / "instances_day.json", json.dumps(content).encode())
    put(root / "Annotations" / "a.xml", voc("a.png", [("cat", 4, 3, 12, 9)]))
    put(root / "export.json", json.dumps([task("a.png", [rectangle("cat", 10, 10, 20, 20)])]).encode())
    rows = [row for row in read(source, folder=tmp_path).to_pylist() if row["image_uri"] == str(root / "a.png")]
    assert [(row["label"], row["box_x"], row["box_y"], row["box_width"], row["box_height"]) for row in rows] == [
        ("cat", 4, 3, 8, 6)
    ]


def test_the_declared_film_gives_a_frame_every_two_seconds(tmp_path):
    film(tmp_path / "films" / KEY / "cat" / "a.mp4", seconds=5)
    rows = read(declared_sources(tmp_path / "films")["films"], folder=tmp_path)
    assert rows["frame_seconds"].to_pylist() == [0, 2, 4]
