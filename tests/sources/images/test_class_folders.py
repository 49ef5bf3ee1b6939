"""Class folders: what is read of each image, and each thing that can be wrong with one, on real files."""

from __future__ import annotations

import hashlib
import io
import os
import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from include.errors import ImageFolderError, SourceUnavailableError
from include.lake.digests import digest_table
from include.workflow import ImageSource
from tests.sources.images.pictures import KEY, NOON, bomb, encoded, errors_by_name, picture, put, read


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


def read_error(root: Path, name: str, data: bytes, **changes: object) -> str | None:
    """What the source says of one file."""
    put(root / "cat" / name, data)
    return errors_by_name(read(ImageSource(root=str(root), **changes), folder=root.parent))[name]


def test_a_row_tells_what_an_image_is_and_holds_none_of_its_bytes(root):
    data = encoded(picture(1, size=(31, 17)))
    path = put(root / "cat" / "my tom.png", data)
    (row,) = read(ImageSource(root=str(root)), folder=root.parent).to_pylist()
    assert row["image_uri"] == str(path)
    assert row["sha256"] == hashlib.sha256(data).hexdigest()
    assert (row["label"], row["width"], row["height"], row["format"], row["mode"]) == ("cat", 31, 17, "PNG", "RGB")
    assert (row["n_bytes"], row["source_name"], row["source_error"]) == (len(data), "cat/my tom.png", None)
    assert row["modified_at"] == NOON
    assert all(not isinstance(value, bytes) for value in row.values())


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
def test_every_supported_format_is_read(root, form):
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
    assert read_error(root, f"a.{suffix}", encoded(picture(1, size=(40, 40)), form)) is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"])
def test_every_mode_is_read(root, mode):
    image = (
        picture(1, size=(20, 20)).convert("L").convert(mode)
        if mode == "I;16"
        else picture(1, size=(20, 20)).convert(mode)
    )
    assert read_error(root, "a.png", encoded(image)) is None


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF"])
@pytest.mark.parametrize("share", [0.5, 0.9, 1.0])
def test_a_truncated_file_is_refused(root, form, share):
    """Cut in half, after nine tenths, and by its last byte alone."""
    data = encoded(picture(1, size=(64, 64)), form)
    suffix = {"JPEG": "jpg", "TIFF": "tif"}.get(form, form.lower())
    cut = data[: min(int(len(data) * share), len(data) - 1)]
    assert read_error(root, f"a.{suffix}", cut) in {
        "image_uri: the file is truncated",
        "image_uri: the file can't be decoded",
    }


def test_control_opening_alone_takes_the_truncated_file():
    data = encoded(picture(1, size=(64, 64)), "JPEG")
    with Image.open(io.BytesIO(data[: len(data) // 2])) as image:
        image.verify()
        assert image.size == (64, 64)


@pytest.mark.parametrize("position", [70, 400, 900])
def test_a_png_with_a_flipped_bit_is_refused(root, position):
    data = bytearray(encoded(picture(1, size=(20, 20))))
    data[position] ^= 1
    assert read_error(root, "a.png", bytes(data)) == "image_uri: the file can't be decoded"


@pytest.mark.parametrize(
    ("name", "data", "expected"),
    [
        ("a.png", b"", "n_bytes: the file is empty"),
        ("a.png", bytes(range(256)), "image_uri: the file is of no supported format"),
        ("a.png", b"\x89PNG\r\n\x1a\n" + bytes(500), "image_uri: the file can't be decoded"),
        ("a.jpg", b"<html>no such photo</html>", "image_uri: the file is of no supported format"),
        ("notes.txt", b"remember the milk", "image_uri: the file is of no supported format"),
        ("a.ico", encoded(picture(1, size=(16, 16)), "ICO"), "image_uri: the file is of no supported format"),
        ("a.jpg", encoded(picture(1)), "image_uri: the name's extension is not the content's format"),
        ("a.png", encoded(picture(1), "JPEG"), "image_uri: the name's extension is not the content's format"),
    ],
)
def test_each_fault_of_a_file_is_named(root, name, data, expected):
    assert read_error(root, name, data) == expected


def test_a_picture_larger_or_smaller_than_declared_is_refused(root):
    data = encoded(picture(1, size=(30, 20)))
    assert read_error(root, "a.png", data, max_pixels=599) == "width: the picture has more pixels than declared"
    assert read_error(root, "a.png", data, min_size=21) == "width: the picture is smaller than the declared minimum"
    assert read_error(root, "a.png", data, max_file_mb=0.001) == "n_bytes: the file is larger than the declared limit"
    assert read_error(root, "a.png", data, max_pixels=600, min_size=20) is None


def test_an_image_in_no_class_folder_or_of_an_undeclared_class_is_refused(root):
    put(root / "stray.png", encoded(picture(1)))
    put(root / "ship" / "a.png", encoded(picture(2)))
    put(root / "cat" / "indoors" / "b.png", encoded(picture(3)))
    found = errors_by_name(read(ImageSource(root=str(root), classes=("cat", "dog")), folder=root.parent))
    assert found == {
        "stray.png": "label: the file lies in no class folder",
        "a.png": "label: is none of the declared classes",
        "b.png": None,
    }


def test_files_of_the_system_are_no_images(root):
    for name in (".DS_Store", "Thumbs.db", "desktop.ini", "._a.png"):
        put(root / "cat" / name, b"x")
    assert read(ImageSource(root=str(root)), folder=root.parent).num_rows == 0


def test_links_pipes_and_sockets_are_not_followed(root, tmp_path):
    secret, top = put(tmp_path / "elsewhere" / "secret.png", encoded(picture(9))), root
    root = root / KEY
    put(root / "cat" / "a.png", encoded(picture(1)))
    (root / "cat" / "link.png").symlink_to(secret)
    (root / "cat" / "loop").symlink_to(root)
    (root / "cat" / "folder").symlink_to(secret.parent)
    os.mkfifo(root / "cat" / "pipe.png")
    # bind() takes 107 bytes of path at most, and a test's folder may be longer
    os.mknod(root / "cat" / "s.png", stat.S_IFSOCK | 0o600)
    rows = read(ImageSource(root=f"{top}/{{partition_key}}", event_time="partition_start"), folder=tmp_path)
    link, irregular = "image_uri: a symbolic link is not followed", "image_uri: no regular file"
    assert errors_by_name(rows) == {
        "a.png": None,
        "folder": link,
        "link.png": link,
        "loop": link,
        "pipe.png": irregular,
        "s.png": irregular,
    }
    assert hashlib.sha256(secret.read_bytes()).hexdigest() not in rows["sha256"].to_pylist()


def test_a_name_that_is_no_utf8_is_a_row(root):
    (root / "cat").mkdir()
    Path(os.fsdecode(os.fsencode(root) + b"/cat/\xff.png")).write_bytes(encoded(picture(1)))
    os.utime(os.fsencode(root) + b"/cat/\xff.png", (NOON.timestamp(),) * 2)
    (row,) = read(ImageSource(root=str(root)), folder=root.parent).to_pylist()
    assert row["source_error"] == "image_uri: the file's name is no UTF-8"


@pytest.mark.claim("hostile")
def test_a_hundred_megapixels_in_a_small_file_stay_packed(root):
    """Refused by its header: nothing is decoded."""
    data = bomb(10_000, 10_000)
    assert len(data) < 400_000
    assert read_error(root, "bomb.png", data) == "width: the picture has more pixels than declared"


def test_rows_are_sorted_by_path_and_the_same_files_give_the_same_digest(root):
    for seed in np.random.default_rng(0).permutation(40):
        put(root / ("cat" if seed % 2 else "dog") / f"{seed}.png", encoded(picture(int(seed))))
    first = read(ImageSource(root=str(root), workers=1), folder=root.parent)
    second = read(ImageSource(root=str(root), workers=8), folder=root.parent)
    assert first["source_name"].to_pylist() == sorted(first["source_name"].to_pylist())
    assert digest_table(first) == digest_table(second)


def test_a_partition_is_the_files_of_its_day(root):
    for number, at in enumerate([NOON - timedelta(days=1), NOON, NOON + timedelta(days=1)]):
        put(root / "cat" / f"{number}.png", encoded(picture(number)), at=at)
    assert list(errors_by_name(read(ImageSource(root=str(root)), folder=root.parent))) == ["1.png"]


def test_a_partition_may_have_a_folder_of_its_own(root):
    put(root / KEY / "cat" / "a.png", encoded(picture(1)), at=datetime(2030, 1, 1, tzinfo=UTC))
    put(root / "2026-01-06" / "cat" / "b.png", encoded(picture(2)))
    source = ImageSource(root=f"{root}/{{partition_key}}", event_time="partition_start", known_time="partition_start")
    (row,) = read(source, folder=root.parent).to_pylist()
    assert (row["label"], row["partition_start"], row["source_name"]) == (
        "cat",
        datetime(2026, 1, 5, tzinfo=UTC),
        "cat/a.png",
    )


def test_a_time_outside_its_folders_partition_is_refused(root):
    put(root / KEY / "cat" / "a.png", encoded(picture(1)), at=NOON + timedelta(days=3))
    put(root / KEY / "cat" / "b.png", encoded(picture(2)))
    found = errors_by_name(read(ImageSource(root=f"{root}/{{partition_key}}"), folder=root.parent))
    assert found == {"a.png": "modified_at: lies outside the partition of its folder", "b.png": None}


def with_exif(seed: int, text: str, offset: str | None = None) -> bytes:
    exif = Image.Exif()
    exif.get_ifd(0x8769).update({0x9003: text} | ({0x9011: offset} if offset else {}))
    return encoded(picture(seed, size=(16, 16)), "JPEG", exif=exif)


def test_the_cameras_time_may_place_an_image(root):
    """One with no time comes with its file's, and is quarantined there; one that lies likewise, with the reason."""
    put(root / "cat" / "day.jpg", with_exif(1, "2026:01:05 08:30:00"), at=NOON + timedelta(days=2))
    put(root / "cat" / "zone.jpg", with_exif(2, "2026:01:06 01:00:00", "+02:00"), at=NOON + timedelta(days=2))
    put(root / "cat" / "next.jpg", with_exif(3, "2026:01:06 08:30:00"), at=NOON + timedelta(days=2))
    put(root / "cat" / "none.jpg", encoded(picture(4), "JPEG"))
    put(root / "cat" / "nonsense.jpg", with_exif(5, "0000:00:00 00:00:00"))
    put(root / "cat" / "future.jpg", with_exif(6, "2031:01:06 08:30:00"))
    put(root / "cat" / "old.jpg", with_exif(7, "1999:01:06 08:30:00"))
    rows = read(ImageSource(root=str(root), event_time="taken_at"), folder=root.parent)
    assert errors_by_name(rows) == {
        "day.jpg": None,
        "zone.jpg": None,
        "none.jpg": None,  # no fault of the file: validation refuses the missing event time
        "nonsense.jpg": None,
        "future.jpg": "taken_at: lies after the row's arrival",
        "old.jpg": "taken_at: lies before the workflow's start",
    }
    assert {row["source_name"]: row["taken_at"] for row in rows.to_pylist()}["cat/zone.jpg"] == datetime(
        2026, 1, 5, 23, tzinfo=UTC
    )


def test_an_image_older_than_the_workflow_is_in_its_first_partition(root):
    put(root / "cat" / "a.jpg", encoded(picture(1), "JPEG"), at=datetime(2020, 1, 1, tzinfo=UTC))
    assert read(ImageSource(root=str(root), event_time="taken_at"), folder=root.parent).num_rows == 1


def test_a_missing_folder_and_too_many_files_stop_the_partition(root):
    with pytest.raises(ImageFolderError, match="there is no folder"):
        read(ImageSource(root=f"{root}/nowhere"), folder=root.parent)
    for number in range(3):
        put(root / "cat" / f"{number}.png", encoded(picture(number)))
    with pytest.raises(ImageFolderError, match=r"holds more than 2 files \(source.max_images\)"):
        read(ImageSource(root=str(root), max_images=2), folder=root.parent)


def test_the_deadline_ends_a_long_reading(root):
    put(root / "cat" / "a.png", encoded(picture(1)))
    with pytest.raises(SourceUnavailableError, match="timeout_seconds"):
        read(ImageSource(root=str(root), timeout_seconds=1e-9), folder=root.parent)
