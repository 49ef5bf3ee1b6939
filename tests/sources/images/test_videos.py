"""Videos cut into frames: their times, their rate, and the files that are no whole video."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from include.lake.digests import digest_table
from include.workflow import ImageSource, Videos
from tests.memory import watched_memory
from tests.sources.images.pictures import encoded, errors_by_name, picture, put, read


def film(
    path: Path, *, seconds: float = 4, rate: int = 10, codec: str = "mpeg4", size: tuple[int, int] = (64, 48)
) -> Path:
    """Write a video whose frames differ."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for number in range(int(seconds * rate)):
            pixels = np.random.default_rng(number).integers(0, 256, (size[1] // 8, size[0] // 8, 3), dtype=np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels.repeat(8, 0).repeat(8, 1), format="rgb24")))
        container.mux(stream.encode())
    return put(path, path.read_bytes())


def source(root: Path, **videos: Any) -> ImageSource:
    return ImageSource(root=str(root), videos=Videos(**videos))


def error_of(root: Path, **videos: Any) -> str | None:
    """What the source says of the only file."""
    (row,) = read(source(root, **videos), folder=root.parent).to_pylist()
    return row["source_error"]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi", "a.mov"])
@pytest.mark.parametrize(
    ("rate", "times"), [(1.0, [0, 1, 2, 3]), (2.0, [0, 0.5, 1, 1.5, 2, 2.5, 3, 3.5]), (0.4, [0, 2.5])]
)
def test_frames_come_at_the_declared_rate_with_their_times(tmp_path, name, rate, times):
    path = film(tmp_path / "films" / "cat" / name)
    rows = read(source(tmp_path / "films", frames_per_second=rate), folder=tmp_path).to_pylist()
    assert [row["frame_seconds"] for row in rows] == pytest.approx(times)
    assert [row["image_uri"] for row in rows] == [f"{path}#t={time:g}" for time in times]
    assert {(row["label"], row["width"], row["height"], row["source_error"]) for row in rows} == {("cat", 64, 48, None)}
    assert len({row["sha256"] for row in rows}) == len(times)


def test_a_frames_digest_is_that_of_its_pixels(tmp_path):
    path = film(tmp_path / "films" / "cat" / "a.mp4")
    (first, *_) = read(source(tmp_path / "films"), folder=tmp_path).to_pylist()
    with av.open(str(path)) as container:
        pixels = next(container.decode(video=0)).to_ndarray(format="rgb24")
    assert first["sha256"] == hashlib.sha256(b"64x48:" + pixels.tobytes()).hexdigest()


def test_the_same_videos_give_the_same_rows(tmp_path):
    for number in range(4):
        film(tmp_path / "films" / "cat" / f"{number}.mp4", rate=5 + number)
    put(tmp_path / "films" / "cat" / "still.png", encoded(picture(1)))
    first, second = (read(source(tmp_path / "films"), folder=tmp_path) for _ in range(2))
    assert first.num_rows == 17
    assert digest_table(first) == digest_table(second)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.avi"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.8])
def test_a_truncated_video_is_one_row(tmp_path, name, share):
    path = film(tmp_path / "films" / "cat" / name)
    put(path, path.read_bytes()[: int(path.stat().st_size * share)])
    assert error_of(tmp_path / "films") in {"image_uri: the file is truncated", "image_uri: the file can't be decoded"}


def test_control_decoding_alone_takes_the_truncated_video(tmp_path):
    """It gives the frames up to the cut, and says nothing."""
    path = film(tmp_path / "films" / "cat" / "a.mkv")
    put(path, path.read_bytes()[: path.stat().st_size // 2])
    with av.open(str(path)) as container:
        assert 0 < sum(1 for _ in container.decode(video=0)) < 40


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"", "n_bytes: the file is empty"),
        (b"no video at all" * 100, "image_uri: the file can't be decoded"),
        (bytes(10_000), "image_uri: the file can't be decoded"),
    ],
)
def test_a_file_that_is_no_video_is_one_row(tmp_path, data, expected):
    put(tmp_path / "films" / "cat" / "a.mp4", data)
    assert error_of(tmp_path / "films") == expected


def test_sound_alone_is_no_video(tmp_path):
    path = tmp_path / "films" / "cat" / "a.mkv"
    path.parent.mkdir(parents=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 8000), dtype=np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    put(path, path.read_bytes())
    assert error_of(tmp_path / "films") == "image_uri: the file holds no video"


def test_more_frames_or_pixels_than_declared_refuse_the_video(tmp_path):
    film(tmp_path / "films" / "cat" / "a.mp4")
    assert error_of(tmp_path / "films", max_frames=3) == "frame_seconds: the video gives more frames than declared"
    small = ImageSource(root=str(tmp_path / "films"), videos=Videos(), max_pixels=1000)
    assert set(errors_by_name(read(small, folder=tmp_path)).values()) == {
        "width: the picture has more pixels than declared"
    }


def test_without_the_declaration_a_video_is_no_image(tmp_path):
    film(tmp_path / "films" / "cat" / "a.mp4")
    rows = read(ImageSource(root=str(tmp_path / "films")), folder=tmp_path)
    assert rows["source_error"].to_pylist() == ["image_uri: the file is of no supported format"]


@pytest.mark.claim("memory")
def test_memory_does_not_grow_with_the_video(tmp_path):
    """A minute of 640 x 480, 553 MB when decoded."""
    film(tmp_path / "films" / "cat" / "a.mp4", seconds=60, size=(640, 480))
    with watched_memory() as growth_kib:
        assert read(source(tmp_path / "films"), folder=tmp_path).num_rows == 60
        assert growth_kib() < 100_000
