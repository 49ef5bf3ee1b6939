"""
Kill an ingest of images at every named point, again and again: nothing is lost, nothing counts twice, and the ledger
never lies.
"""

from __future__ import annotations

import json
import random
import shutil
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from include.lake.digests import digest_table
from include.lake.ledger import latest_run, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake
from tests.injected import Expected, assert_accounted
from tests.sources.images.killing import ends
from tests.sources.images.pictures import KEY, encoded, picture, put
from tests.sources.images.test_layouts import voc

SIZE = (8, 8)
# some sixty processes, on a machine that may be busy
pytestmark = [pytest.mark.claim("kills"), pytest.mark.timeout(900)]
CUT = ("source: image_uri: the file is truncated",)
WRITING = ["replace_partition.before_write", "replace_partition.before_commit", "replace_partition.after_commit"]
# In this order each run comes further than the one before: first `raw` is written, then the quarantine, then the
# accepted rows.
WAY = [
    *("images.after_listing", "images.after_batch", "images.after_decoding", *WRITING),
    *("publish.before_quarantine", *WRITING),
    *("publish.before_validated", *WRITING),
    *("publish.before_ledger", "append_ledger.before_commit", "append_ledger.after_commit", "publish.after_ledger"),
]


def lay_out(folder: Path, generation: int, *, layout: str = "class_folders") -> Expected:
    """
    Write the images of a generation: each has other good ones, and one bad one and one copy more than
    the one before.
    """
    root = folder / "photos" / KEY
    shutil.rmtree(root, ignore_errors=True)
    good = [f"cat/{generation}-{number}.png" for number in range(5)]
    bad = [f"dog/cut-{generation}-{number}.png" for number in range(generation + 1)]
    copies = [f"cat/zcopy-{number}.png" for number in range(generation + 1)]
    for number, name in enumerate(good):
        put(root / name, encoded(picture(1000 * generation + number, size=SIZE)))
    for number, name in enumerate(bad):
        put(root / name, encoded(picture(1000 * generation + 100 + number, size=SIZE))[:-12])
    for number, name in enumerate(copies):
        put(root / name, (root / good[number]).read_bytes())
    annotate(root, layout, [*good, *bad, *copies])
    n_in = len(good) + len(bad) + len(copies)
    return Expected(
        n_in=n_in,
        n_published=len(good),
        n_duplicate=len(copies),
        reasons_by_row=dict.fromkeys(bad, CUT),
        published=good,
    )


def annotate(root: Path, layout: str, names: list[str]) -> None:
    """One box an image."""
    if layout == "coco":
        images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
        boxes = [{"image_id": number, "category_id": 1, "bbox": [1, 1, 4, 4]} for number in range(len(names))]
        content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
        put(root / "labels" / "all.json", json.dumps(content).encode())
    for number, name in enumerate(names if layout == "pascal_voc" else ()):
        put(root / "labels" / f"{number}.xml", voc(name, [("cat", 1, 1, 5, 5)], size=SIZE))


def names(lake: Lake, table: str) -> set[str]:
    """Names in a table's live files, by Parquet alone; each may be there once."""
    folder = Path(lake.uri) / "photos" / table
    if not (folder / "_delta_log").is_dir():
        return set()
    files = pa.table(DeltaTable(str(folder)).get_add_actions(flatten=True))["path"].to_pylist()
    found = [
        name
        for path in files
        for name in pq.ParquetFile(folder / path).read(columns=["source_name"])["source_name"].to_pylist()
    ]
    assert len(found) == len(set(found)), f"rows of {table} are there twice"
    return set(found)


def assert_old_or_new(lake: Lake, generations: list[Expected]) -> None:
    """Whoever reads now finds whole generations, and the ledger's line describes rows that are there."""
    wholes = [set()] if len(generations) == 1 else []
    assert names(lake, "validated") in [*wholes, *(set(made.published or ()) for made in generations[-2:])]
    assert names(lake, "quarantine") in [*wholes, *(set(made.reasons_by_row) for made in generations[-2:])]
    line = latest_run(lake, "photos", KEY)
    if line is not None:
        rows = read_partition(lake, "photos/validated", KEY, version=line.table_version)
        assert (digest_table(rows), rows.num_rows) == (line.digest, line.rows_published)


@pytest.mark.parametrize("layout", ["class_folders", "coco", "pascal_voc"])
def test_killed_at_every_point_nothing_is_lost_or_doubled(tmp_path, layout):
    """18 kills while a published partition is replaced; every run takes up what the killed one before it left."""
    assert len(WAY) == 18
    lake, generations = Lake(uri=str(tmp_path / "lake")), [lay_out(tmp_path, 0, layout=layout)]
    assert not ends(tmp_path, layout)
    generations.append(lay_out(tmp_path, 1, layout=layout))
    for point in WAY:
        assert ends(tmp_path, layout, crash_at=point), f"{point} was not reached"
        assert_old_or_new(lake, generations)
    assert not ends(tmp_path, layout)
    assert_accounted(lake, "photos", generations[-1], marker_column="source_name")
    assert read_ledger(lake, "ledger/runs", workflow="photos").num_rows == 2


def test_killed_at_moments_of_chance_nothing_is_lost_or_doubled(tmp_path):
    """Also within decoding, validation and the writing of the split, where no point has a name."""
    lake, generations, chance = Lake(uri=str(tmp_path / "lake")), [], random.Random(7)
    for number in range(2):
        generations.append(lay_out(tmp_path, number))
        for _ in range(4):
            ends(tmp_path, after_seconds=chance.uniform(0.05, 1.0))
            assert_old_or_new(lake, generations)
        assert not ends(tmp_path)
        assert_accounted(lake, "photos", generations[-1], marker_column="source_name")


def test_control_a_run_that_appends_doubles_rows(tmp_path):
    lake, made = Lake(uri=str(tmp_path / "lake")), lay_out(tmp_path, 0)
    assert ends(tmp_path, crash_at="publish.before_ledger", is_naive=True)
    assert not ends(tmp_path, is_naive=True)
    with pytest.raises(AssertionError, match="rows of validated are there twice"):
        assert_old_or_new(lake, [made])
