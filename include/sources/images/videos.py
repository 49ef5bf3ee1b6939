"""
Frames of a video at a given rate, each with its time.

A video gives all its frames or none: one that is damaged, or shorter than it says, is one row that says so. Memory
holds one decoded frame at a time, whatever the video's length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import av
from av.container import InputContainer
from av.error import FFmpegError

from include.lake.digests import digest_bytes
from include.sources.images.decoding import TRUNCATED, UNDECODABLE, WRONG_EXTENSION, Picture, hash_picture, size_fault
from include.sources.images.folders import Entry, FileFaultError, Folder
from include.workflow import ImageSource, Videos

# The one reader that each name admits. Left to itself FFmpeg goes by the content, and some formats are play lists:
# texts that have it open other files, addresses and ports.
_READERS = {".mp4": "mov", ".m4v": "mov", ".mov": "mov", ".avi": "avi", ".mkv": "matroska", ".webm": "matroska"}
VIDEO_SUFFIXES = frozenset(_READERS)
_OPTIONS = {"protocol_whitelist": "none"}
_MARKS = {"mov": (4, b"ftyp"), "matroska": (0, b"\x1aE\xdf\xa3"), "avi": (0, b"RIFF")}
_HEAD_BYTES = 16
# Frames decoded for one that is kept: a hostile file may state a million frames a second.
_MAX_DECODED_FOR_ONE = 10_000


def inspect_video(
    folder: Folder, entry: Entry, source: ImageSource, *, check_time: Callable[[], object]
) -> list[Picture]:
    """Cut one listed video; whatever is wrong with it becomes the `fault` of its only picture."""
    if entry.fault or entry.size == 0:
        return [Picture(n_bytes=entry.size, fault=entry.fault or "n_bytes: the file is empty")]
    try:
        with folder.open(entry.path) as file:
            _check_content(file.read(_HEAD_BYTES), entry)
            file.seek(0)
            with av.open(
                file, mode="r", format=_READERS[entry.suffix], options=_OPTIONS, metadata_errors="ignore"
            ) as container:
                return list(_frames(container, source, check_time=check_time))
    except FileFaultError as error:
        fault = str(error)
    except (FFmpegError, ValueError, IndexError):  # PyAV's errors, and its own for files that state impossible things
        fault = UNDECODABLE
    except OSError as error:
        raise folder.refusal(error) from error
    return [Picture(n_bytes=entry.size, fault=fault)]


def _check_content(head: bytes, entry: Entry) -> None:
    """
    A name that promises another format than the content has. Where the content is of no known format the reader
    decides.
    """
    found = next((reader for reader, (start, mark) in _MARKS.items() if head[start : start + len(mark)] == mark), None)
    if found not in (None, _READERS[entry.suffix]):
        raise FileFaultError(WRONG_EXTENSION)


def _frames(container: InputContainer, source: ImageSource, *, check_time: Callable[[], object]) -> Iterator[Picture]:
    videos = source.videos or Videos()
    if not container.streams.video:
        raise FileFaultError("image_uri: the file holds no video")
    stream = container.streams.video[0]
    stream.thread_type = "NONE"  # the pool's threads are enough, and frames come one at a time
    start, last, n_kept, n_skipped = None, 0.0, 0, 0
    for frame in container.decode(stream):
        check_time()
        if frame.time is None:
            raise FileFaultError("frame_seconds: a frame has no time")
        start = frame.time if start is None else start
        last = frame.time - start
        n_skipped += 1
        if last + 1e-6 < n_kept / videos.frames_per_second:
            if n_skipped > _MAX_DECODED_FOR_ONE:
                raise FileFaultError("frame_seconds: the video holds more frames a second than are read")
            continue
        if n_kept == videos.max_frames:
            raise FileFaultError("frame_seconds: the video gives more frames than declared")
        yield _picture(frame, last, source, codec=stream.codec_context.name)
        n_kept, n_skipped = max(n_kept + 1, int((last + 1e-6) * videos.frames_per_second) + 1), 0
    _check_end(container, stream, last)


def _picture(frame: av.VideoFrame, seconds: float, source: ImageSource, *, codec: str) -> Picture:
    fault = size_fault(frame.width, frame.height, source)
    if fault:
        raise FileFaultError(fault)
    image = frame.to_image()
    return Picture(
        sha256=digest_bytes(f"{image.width}x{image.height}:".encode() + image.tobytes()),
        width=image.width,
        height=image.height,
        format=codec,
        mode=image.mode,
        perceptual_hash=hash_picture(image),
        frame_seconds=round(seconds, 3),
    )


def _check_end(container: InputContainer, stream: av.VideoStream, last: float) -> None:
    """A file that was cut may decode without a complaint, up to the cut: compare with the length that it states."""
    stated = float(container.duration) / 1_000_000 if container.duration else 0.0
    if stream.duration and stream.time_base:
        stated = float(stream.duration * stream.time_base)
    rate = float(stream.average_rate) if stream.average_rate else 1.0
    if stated and stated - last > max(2 / max(rate, 1e-3), 0.05 * stated):
        raise FileFaultError(TRUNCATED)
