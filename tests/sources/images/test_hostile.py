"""Files that were made to reach, to wait or to mislead: each is a row, and reaches nothing."""

from __future__ import annotations

import http.server
import logging
import os
import stat
import threading
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from include.errors import DeclarationError, ImageFolderError, SourceUnavailableError
from include.lake.store import Lake
from include.sources.images.folders import FileFaultError, list_entries, read_file
from include.sources.images.local_folder import LocalFolder
from include.sources.images.roots import open_folder
from include.workflow import ImageSource, Videos
from tests.sources.images.pictures import KEY, encoded, errors_by_name, picture, put, read
from tests.sources.images.test_videos import film

UNDECODABLE = "image_uri: the file can't be decoded"


@pytest.fixture
def address() -> Iterator[tuple[str, list[str]]]:
    """A web server, and the paths that were asked of it."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", asked
    server.shutdown()
    thread.join()
    server.server_close()


def play_lists(url: str, film: str) -> dict[str, str]:
    """Texts that FFmpeg reads as a video whose parts lie elsewhere."""
    hls = "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10.0,\n{}\n#EXT-X-ENDLIST\n"
    return {
        "concat": f"ffconcat version 1.0\nfile {film}\n",
        "concat_url": f"ffconcat version 1.0\nfile {url}/a.mp4\n",
        "hls": hls.format(film),
        "hls_url": hls.format(f"{url}/a.ts"),
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 "
        "H264/90000\n",
    }


@pytest.mark.parametrize("suffix", ["mp4", "avi", "mkv"])
def test_a_play_list_opens_nothing(tmp_path, address, suffix):
    url, asked = address
    folder = tmp_path / "films" / KEY / "cat"
    texts = play_lists(url, "target.mp4")
    for name, text in texts.items():
        put(folder / f"{name}.{suffix}", text.encode())
    (folder / "target.mp4").symlink_to(film(tmp_path / "elsewhere" / "target.mp4"))
    source = ImageSource(
        root=f"{tmp_path}/films/{{partition_key}}",
        videos=Videos(),
        event_time="partition_start",
        known_time="partition_start",
    )
    found = errors_by_name(read(source, folder=tmp_path))
    assert {name: found[f"{name}.{suffix}"] for name in texts} == dict.fromkeys(texts, UNDECODABLE)
    assert found["target.mp4"] == "image_uri: a symbolic link is not followed"
    assert asked == []


def test_control_ffmpeg_by_itself_follows_the_play_list(tmp_path):
    """Through the link, too."""
    film(tmp_path / "elsewhere" / "secret.mp4")
    (tmp_path / "target.mp4").symlink_to(tmp_path / "elsewhere" / "secret.mp4")
    path = put(tmp_path / "list.mp4", b"ffconcat version 1.0\nfile target.mp4\n")
    with path.open("rb") as file, av.open(file, metadata_errors="ignore") as container:
        assert sum(1 for _ in container.decode(video=0)) == 40


def test_a_video_under_another_formats_name_is_refused(tmp_path):
    film(tmp_path / "films" / "cat" / "a.mkv").rename(tmp_path / "films" / "cat" / "a.mp4")
    rows = read(ImageSource(root=str(tmp_path / "films"), videos=Videos()), folder=tmp_path)
    assert errors_by_name(rows) == {"a.mp4": "image_uri: the name's extension is not the content's format"}


def test_a_link_put_in_a_folders_place_after_the_listing_leads_nowhere(tmp_path):
    put(tmp_path / "photos" / "cat" / "a.png", encoded(picture(1)))
    put(tmp_path / "elsewhere" / "a.png", encoded(picture(1)))
    folder = LocalFolder(str(tmp_path / "photos"))
    (entry,) = list_entries(folder, limit=9)
    (tmp_path / "photos" / "cat").rename(tmp_path / "photos" / "dog")
    (tmp_path / "photos" / "cat").symlink_to(tmp_path / "elsewhere")
    assert (tmp_path / "photos" / entry.path).read_bytes() == encoded(picture(1))  # by its path alone it would be read
    with pytest.raises(FileFaultError, match="a symbolic link is not followed"):
        read_file(folder, entry, max_bytes=10_000)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_was_put_in_a_files_place_is_no_file(tmp_path, make):
    path = put(tmp_path / "photos" / "cat" / "a.png", encoded(picture(1)))
    folder = LocalFolder(str(tmp_path / "photos"))
    (entry,) = list_entries(folder, limit=9)
    path.unlink()
    make(path)
    with pytest.raises(FileFaultError, match="no regular file"):
        read_file(folder, entry, max_bytes=10_000)


def test_a_partitions_folder_that_is_a_link_is_not_entered(tmp_path):
    put(tmp_path / "elsewhere" / "cat" / "a.png", encoded(picture(1)))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / KEY).symlink_to(tmp_path / "elsewhere")
    source = ImageSource(
        root=f"{tmp_path}/photos/{{partition_key}}", event_time="partition_start", known_time="partition_start"
    )
    with pytest.raises(ImageFolderError, match=f"{KEY} is a link, or no folder"):
        read(source, folder=tmp_path)


def test_the_declared_part_of_the_root_may_be_a_link(tmp_path):
    """It is the declaration's own: many machines keep their data behind one."""
    put(tmp_path / "disk" / KEY / "cat" / "a.png", encoded(picture(1)))
    (tmp_path / "photos").symlink_to(tmp_path / "disk")
    source = ImageSource(
        root=f"{tmp_path}/photos/{{partition_key}}", event_time="partition_start", known_time="partition_start"
    )
    assert read(source, folder=tmp_path).num_rows == 1


def test_a_file_that_grows_while_it_is_read_is_read_again_later(tmp_path):
    path = put(tmp_path / "photos" / "cat" / "a.png", encoded(picture(1))[:50])
    folder = LocalFolder(str(tmp_path / "photos"))
    (entry,) = list_entries(folder, limit=9)
    path.write_bytes(encoded(picture(1)))
    with pytest.raises(
        SourceUnavailableError, match=r"photos: a file changed while it was read: all is read again once it rests$"
    ):
        read_file(folder, entry, max_bytes=10_000)


def test_a_folder_that_goes_while_it_is_listed_is_listed_again_later(tmp_path):
    """Not silently left out, nor said to be a wrong root."""
    for name in ("cat", "dog"):
        put(tmp_path / "photos" / name / "a.png", encoded(picture(1)))
    entries = LocalFolder(str(tmp_path / "photos")).entries()
    next(entries)
    for name in ("cat", "dog"):
        (tmp_path / "photos" / name).rename(tmp_path / f"{name}-gone")
    with pytest.raises(SourceUnavailableError, match="changed while it was listed"):
        list(entries)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_what_may_not_be_read_is_said(tmp_path):
    path = put(tmp_path / "photos" / "cat" / "a.png", encoded(picture(1)))
    path.chmod(0)
    assert errors_by_name(read(ImageSource(root=str(tmp_path / "photos")), folder=tmp_path)) == {
        "a.png": "image_uri: no permission to read the file"
    }
    path.parent.chmod(0)
    with pytest.raises(ImageFolderError, match="no permission to list all of the folder"):
        read(ImageSource(root=str(tmp_path / "photos")), folder=tmp_path)
    path.parent.chmod(stat.S_IRWXU)


def test_damaged_notes_leave_a_whole_picture_good(tmp_path):
    notes = b"Exif\0\0MM\0*\0\0\0\x08\xff\xff" + b"\x87\x69\0\4\0\0\0\1\xff\xff\xff\xff" * 20
    put(tmp_path / "photos" / "cat" / "a.jpg", encoded(picture(1), "JPEG", exif=notes))
    (row,) = read(ImageSource(root=str(tmp_path / "photos")), folder=tmp_path).to_pylist()
    assert (row["source_error"], row["taken_at"]) == (None, None)


@pytest.mark.parametrize("kind", ["uint16", "int32", "float32"])
def test_pictures_of_deep_values_do_not_all_look_alike(tmp_path, kind):
    """Pillow cuts their values off at 255: all of them would be white."""
    for seed in range(4):
        values = np.random.default_rng(seed).random((64, 64)) * 60_000 + 300
        name, form = (f"{seed}.png", "PNG") if kind == "uint16" else (f"{seed}.tif", "TIFF")
        put(tmp_path / "photos" / "cat" / name, encoded(Image.fromarray(values.astype(kind)), form))
    rows = read(ImageSource(root=str(tmp_path / "photos"), near_duplicates=8), folder=tmp_path)
    assert rows["source_error"].to_pylist() == [None] * 4
    assert len(set(rows["perceptual_hash"].to_pylist())) == 4


def test_the_log_names_no_class(tmp_path, caplog):
    """A class folder may be named after a person."""
    for name in ("Ann Smith", "Bob Jones"):
        put(tmp_path / "photos" / name / "a.png", encoded(picture(len(name) + ord(name[0]))))
    with caplog.at_level(logging.DEBUG):
        read(ImageSource(root=str(tmp_path / "photos")), folder=tmp_path)
    assert "2 rows, 0 refused; 2 classes, the smallest of 1 rows, the largest of 1" in caplog.text
    assert not any(word in caplog.text for word in ("Ann", "Smith", "Bob", "Jones"))


@pytest.mark.parametrize(
    "root", ["s3://", "s3:///photos", "s3://Bucket/x", "photos", "/data//photos", "s3://bucket//x", "/a/../b", "/{day}"]
)
def test_a_root_that_is_none_is_refused(root):
    with pytest.raises(DeclarationError, match="root"):
        ImageSource(root=root)


def test_the_root_of_a_partition_is_split_where_its_key_is(tmp_path):
    put(tmp_path / f"day-{KEY}" / "x" / "cat" / "a.png", encoded(picture(1)))
    source = ImageSource(root=f"{tmp_path}/day-{{partition_key}}/x")
    folder = open_folder(source, partition_key=KEY, connection_uri=None, lake=Lake(uri=str(tmp_path / "lake")))
    assert [entry.path for entry in list_entries(folder, limit=9)] == ["cat/a.png"]
    assert folder.uri_of("cat/a.png") == str(Path(tmp_path) / f"day-{KEY}" / "x" / "cat" / "a.png")
