"""What a feature function may open: an image below the root, and nothing else, whatever a request names."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from include.errors import DataError
from include.sources.images.pixels import read_grey
from tests.memory import watched_memory
from tests.sources.images.pictures import bomb, encoded, picture, put

BELOW = "names no file below the folder of images"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    put(tmp_path / "secret.png", encoded(picture(9)))
    put(tmp_path / "photos" / "cat" / "a.png", encoded(Image.fromarray(np.repeat(np.uint8([[0, 255]]), 2, axis=0))))
    return tmp_path / "photos"


def test_an_image_comes_in_shades_of_grey_fitted_into_a_square(root):
    assert read_grey(f"{root}/cat/a.png", root=str(root), side=2).tolist() == [[0, 1], [0, 1]]
    assert read_grey(f"{root}/cat/a.png", root=str(root), side=1).tolist() == [[128 / 255]]


def test_the_file_has_to_be_the_one_that_was_published(root):
    digest = hashlib.sha256((root / "cat" / "a.png").read_bytes()).hexdigest()
    assert read_grey(f"{root}/cat/a.png", root=str(root), side=2, sha256=digest).shape == (2, 2)
    put(root / "cat" / "a.png", encoded(picture(2)))
    with pytest.raises(DataError, match="not the one that was published"):
        read_grey(f"{root}/cat/a.png", root=str(root), side=2, sha256=digest)


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        (None, BELOW),
        ("", BELOW),
        ("cat/a.png", BELOW),
        ("/etc/passwd", BELOW),
        ("{root}", BELOW),
        ("{root}/", BELOW),
        ("{root}x/a.png", BELOW),
        ("file://{root}/cat/a.png", BELOW),
        ("http://127.0.0.1/a.png", BELOW),
        ("s3://bucket/a.png", BELOW),
        ("{root}/cat/a.png\0", BELOW),
        ("{root}/../secret.png", "symbolic link"),
        ("{root}/cat/../../secret.png", "symbolic link"),
        ("{root}/cat/./a.png", "symbolic link"),
        ("{root}/link.png", "symbolic link"),
        ("{root}/folder/secret.png", "symbolic link"),
        ("{root}/cat/gone.png", "gone"),
        ("{root}/cat", "no regular file"),
        ("{root}/pipe", "no regular file"),
        ("{root}//etc/passwd", "gone"),
    ],
)
def test_what_lies_elsewhere_is_not_opened_and_not_named(root, uri, message):
    (root / "link.png").symlink_to(root.parent / "secret.png")
    (root / "folder").symlink_to(root.parent)
    os.mkfifo(root / "pipe")
    named = None if uri is None else uri.format(root=root)
    with pytest.raises(DataError, match=message) as caught:
        read_grey(named, root=str(root), side=2)
    assert not named or named not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "can't be decoded"),
        (b"<svg/>", "can't be decoded"),
        (encoded(picture(1, size=(40, 40)))[:900], "can't be decoded"),
        (encoded(picture(1, size=(16, 16)), "ICO"), "can't be decoded"),
        (bomb(10_000, 10_000), "more than 16,000,000 pixels"),
        (bytes(17 * 2**20), "more than 16,777,216 bytes"),
    ],
    ids=["empty", "no image", "cut", "closed format", "bomb", "large"],
)
def test_what_is_no_whole_image_is_refused_within_bounds(root, data, message):
    put(root / "cat" / "b.png", data)
    with watched_memory() as growth_kib:
        with pytest.raises(DataError, match=message):
            read_grey(f"{root}/cat/b.png", root=str(root), side=2)
        assert growth_kib() < 60_000
