"""Class folders and annotations on a real S3 server."""

from __future__ import annotations

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.postgres import free_port
from include.errors import ImageFolderError, SourceUnavailableError
from include.lake.store import Lake
from include.sources.images.folders import Entry, FileFaultError, read_file
from include.sources.images.roots import open_folder
from include.sources.kinds import open_rows
from include.workflow import ImageSource
from include.workflow.partitions import window_of_key
from tests.seaweedfs import BUCKET
from tests.sources.images.conftest import connection_uri
from tests.sources.images.pictures import KEY, declare, encoded, errors_by_name, picture, put, read

pytestmark = pytest.mark.claim("s3")


def source(root: str, **changes: object) -> ImageSource:
    return ImageSource(
        **{
            "root": root,
            "conn_id": "photos",
            "event_time": "partition_start",
            "known_time": "partition_start",
            **changes,
        }
    )


def test_the_rows_of_a_bucket_are_those_of_a_folder(bucket, tmp_path):
    """The same files in both: the same rows, but for where and when they are."""
    for name, data in {
        "cat/a b ü.png": encoded(picture(1)),
        "dog/inner/b.jpg": encoded(picture(2), "JPEG"),
        "dog/cut.png": encoded(picture(3))[:-20],
        "dog/empty.png": b"",
        "stray.png": encoded(picture(4)),
        "cat/.hidden.png": encoded(picture(5)),
    }.items():
        bucket.put(f"{KEY}/{name}", data)
        put(tmp_path / "photos" / KEY / name, data)
    there = read(source(f"{bucket.root}/{{partition_key}}"), folder=tmp_path, connection_uri=bucket.uri)
    here = read(source(f"{tmp_path}/photos/{{partition_key}}", conn_id=None), folder=tmp_path)
    apart = ["image_uri", "modified_at"]
    assert there.num_rows == 5
    assert there.drop_columns(apart).equals(here.drop_columns(apart))
    assert there["image_uri"].to_pylist()[0] == f"{bucket.root}/{KEY}/cat/a b ü.png"
    assert all(abs(at - datetime.now(UTC)) < timedelta(hours=1) for at in there["modified_at"].to_pylist())


def test_annotations_in_a_bucket_name_images_below_the_prefix(bucket, tmp_path):
    data = encoded(picture(1, size=(40, 30)))
    bucket.put(f"{KEY}/images/a.png", data)
    images = [{"id": 1, "file_name": "images/a.png"}, {"id": 2, "file_name": "../other/b.png"}]
    boxes = [{"image_id": n, "category_id": 1, "bbox": [1, 1, 5, 5]} for n in (1, 2)]
    content = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    bucket.put(f"{KEY}/coco.json", json.dumps(content).encode())
    rows = read(
        source(f"{bucket.root}/{{partition_key}}", layout="coco", annotations="coco.json"),
        folder=tmp_path,
        connection_uri=bucket.uri,
    )
    assert errors_by_name(rows) == {"a.png": None, "coco.json": "annotation: the file name leaves the root"}
    assert rows["sha256"].to_pylist() == [hashlib.sha256(data).hexdigest(), None]


def test_without_a_connection_the_lakes_keys_serve(bucket, tmp_path):
    bucket.put(f"{KEY}/cat/a.png", encoded(picture(1)))
    declared = source(f"{bucket.root}/{{partition_key}}", conn_id=None)
    lake = Lake(uri=f"s3://{BUCKET}/lake", storage_options=bucket.server.storage_options)
    workflow = declare(tmp_path / "w", declared)
    with open_rows(
        declared, workflow=workflow, window=window_of_key("day", KEY), connection_uri=None, lake=lake
    ) as reader:
        assert reader.read_all()["label"].to_pylist() == ["cat"]


def test_a_wrong_key_bucket_or_prefix_is_named_and_never_retried(bucket, tmp_path):
    bucket.put("cat/a.png", encoded(picture(1)))
    where = {"event_time": "modified_at", "known_time": "modified_at"}
    wrong_secret = connection_uri(bucket.server.endpoint_url, bucket.server.access_key, "wrong")
    wrong_key = connection_uri(bucket.server.endpoint_url, "wrong", bucket.server.secret_key)
    for root, uri in [
        (bucket.root, wrong_secret),
        (bucket.root, wrong_key),
        ("s3://no-such-bucket/x", bucket.uri),
        (f"{bucket.root}/none", bucket.uri),
    ]:
        with pytest.raises(
            ImageFolderError, match=rf"^{root} can't be read: check bucket, prefix, keys and rights of source.conn_id$"
        ):
            read(source(root, **where), folder=tmp_path, connection_uri=uri)


def test_a_store_that_does_not_answer_is_asked_again_later(tmp_path):
    uri = connection_uri(f"http://127.0.0.1:{free_port()}", "key", "secret")
    with pytest.raises(SourceUnavailableError, match="retry once the store answers"):
        read(
            source("s3://lake/photos", event_time="modified_at", known_time="modified_at"),
            folder=tmp_path,
            connection_uri=uri,
        )


def test_an_object_that_has_gone_or_changed_since_the_listing(bucket, tmp_path):
    bucket.put("cat/a.png", encoded(picture(1)))
    lake = Lake(uri=str(tmp_path / "lake"))
    folder = open_folder(
        source(f"{bucket.root}/{{partition_key}}"), partition_key="cat", connection_uri=bucket.uri, lake=lake
    )
    (entry,) = folder.entries()
    bucket.put("cat/a.png", encoded(picture(1)) + b"more")
    with pytest.raises(SourceUnavailableError, match="changed while it was read"):
        read_file(folder, entry, max_bytes=10_000)
    bucket.delete("cat/a.png")
    with pytest.raises(FileFaultError, match="gone since it was listed"):
        read_file(folder, entry, max_bytes=10_000)
    with pytest.raises(FileFaultError, match="larger than the declared limit"):
        read_file(folder, Entry(path="a.png", size=11_000, modified_at=entry.modified_at), max_bytes=10_000)


def test_a_hostile_video_in_a_bucket_is_a_row_and_no_fault_of_the_store(bucket, tmp_path):
    """PyAV's errors are OSErrors too."""
    from include.workflow import Videos

    bucket.put(f"{KEY}/cat/a.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n")
    rows = read(source(f"{bucket.root}/{{partition_key}}", videos=Videos()), folder=tmp_path, connection_uri=bucket.uri)
    assert rows["source_error"].to_pylist() == ["image_uri: the file can't be decoded"]


def test_a_film_in_a_bucket_is_cut_like_one_in_a_folder(bucket, tmp_path: Path):
    from include.workflow import Videos
    from tests.sources.images.test_videos import film

    bucket.put(f"{KEY}/cat/a.mp4", film(tmp_path / "films" / "a.mp4").read_bytes())
    rows = read(source(f"{bucket.root}/{{partition_key}}", videos=Videos()), folder=tmp_path, connection_uri=bucket.uri)
    assert rows["frame_seconds"].to_pylist() == [0, 1, 2, 3]
