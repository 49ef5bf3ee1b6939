"""
What one image file shows: its size, its digests, when it was taken; or what is wrong with it.

Each file is decoded whole: opening one reads its header, and a file cut in half has a fine header. Only the first frame
of an animated image is decoded.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import imagehash
import numpy as np
from PIL import Image, UnidentifiedImageError

from include.lake.digests import digest_bytes
from include.sources.images.folders import Entry, FileFaultError, Folder, read_file
from include.workflow import ImageSource

# Formats that are decoded, and the names their files have. Every other decoder stays closed.
SUFFIXES = {
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jfif"),
    "MPO": (".jpg", ".jpeg"),  # several JPEGs in one file, as phones write them
    "PNG": (".png",),
    "WEBP": (".webp",),
    "GIF": (".gif",),
    "BMP": (".bmp",),
    "TIFF": (".tif", ".tiff"),
}
FORMATS = [name for name in SUFFIXES if name != "MPO"]  # the decoder of JPEG finds it
Image.init()  # registers all decoders: naming one that is not registered is an error
KNOWN_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)
_PNG_END = b"IEND\xaeB`\x82"
_DEEP_MODES = ("I", "F")
_EXIF_FOLDER, _TAKEN_AT, _OFFSET, _CHANGED_AT = 0x8769, 0x9003, 0x9011, 0x0132
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8", b"GIF8", b"RIFF", b"BM", b"II*\0", b"MM\0*")
_TAIL_BYTES = 65_536  # some programs write notes behind the picture
TRUNCATED = "image_uri: the file is truncated"
UNDECODABLE = "image_uri: the file can't be decoded"
TOO_LARGE = "width: the picture has more pixels than declared"
WRONG_EXTENSION = "image_uri: the name's extension is not the content's format"
UNSUPPORTED = "image_uri: the file is of no supported format"


@dataclass(frozen=True, kw_only=True)
class Picture:
    """
    What was read of one image, as far as it could be.

    `sha256` is the digest of the file's bytes, of a frame that of its pixels; `perceptual_hash` is the 64 bits of a
    difference hash.
    """

    sha256: str | None = None
    n_bytes: int | None = None
    width: int | None = None
    height: int | None = None
    format: str | None = None
    mode: str | None = None
    perceptual_hash: str | None = None
    taken_at: datetime | None = None
    frame_seconds: float | None = None
    fault: str | None = None


def inspect_file(folder: Folder, entry: Entry, source: ImageSource) -> Picture:
    """Read and decode one listed file; whatever is wrong with it becomes the picture's `fault`."""
    if entry.fault:
        return Picture(n_bytes=entry.size, fault=entry.fault)
    if entry.size == 0:
        return Picture(n_bytes=0, fault="n_bytes: the file is empty")
    if entry.suffix not in KNOWN_SUFFIXES:
        return Picture(n_bytes=entry.size, fault=UNSUPPORTED)
    try:
        data = read_file(folder, entry, max_bytes=source.max_file_mb * 2**20)
    except FileFaultError as error:
        return Picture(n_bytes=entry.size, fault=str(error))
    return inspect_bytes(data, suffix=entry.suffix, source=source)


def inspect_bytes(data: bytes, *, suffix: str, source: ImageSource) -> Picture:
    """Decode an image from its bytes; `suffix` is what its name says it is."""
    known: dict[str, Any] = {"sha256": digest_bytes(data), "n_bytes": len(data)}
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            known |= {"width": image.width, "height": image.height, "format": image.format, "mode": image.mode}
            fault = (
                _header_fault(image, suffix=suffix)
                or size_fault(image.width, image.height, source)
                or _end_fault(image, data)
            )
            if fault is None:
                image.load()
                known |= {"perceptual_hash": hash_picture(image), "taken_at": _taken_at(image)}
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        fault = TOO_LARGE
    except UnidentifiedImageError:
        fault = UNDECODABLE if data.startswith(_BEGINNINGS) else UNSUPPORTED
    # on damaged bytes decoders raise whatever they like: OSError, SyntaxError, struct.error, ValueError ...
    except Exception as error:
        fault = TRUNCATED if "truncated" in str(error).lower() else UNDECODABLE
    return Picture(**known, fault=fault)


def size_fault(width: int, height: int, source: ImageSource) -> str | None:
    """What is wrong with a picture's size, known before anything is decoded."""
    if width * height > source.max_pixels:
        return TOO_LARGE
    return "width: the picture is smaller than the declared minimum" if min(width, height) < source.min_size else None


def hash_picture(image: Image.Image) -> str:
    """
    64-bit difference hash as 16 hex digits: pictures that look alike differ in few bits.

    Method: https://www.hackerfactor.com/blog/index.php?/archives/529-Kind-of-Like-That.html
    """
    bits = imagehash.dhash(_as_grey(image) if image.mode.startswith(_DEEP_MODES) else image).hash
    return np.packbits(bits).tobytes().hex()


def _as_grey(image: Image.Image) -> Image.Image:
    """
    Fit values of more than 8 bits into 8: Pillow would cut them off at 255, and all such pictures would
    look alike.
    """
    values = np.nan_to_num(np.asarray(image, dtype=np.float64), posinf=0, neginf=0)
    low, high = float(values.min()), float(values.max())
    return Image.fromarray(((values - low) * (255 / (high - low or 1))).round().astype(np.uint8))


def _header_fault(image: Image.Image, *, suffix: str) -> str | None:
    return None if suffix in SUFFIXES.get(image.format or "", ()) else WRONG_EXTENSION


def _end_fault(image: Image.Image, data: bytes) -> str | None:
    """The decoders of PNG and GIF take files whose end is missing."""
    is_cut = image.format == "PNG" and _PNG_END not in data[-_TAIL_BYTES:]
    return TRUNCATED if is_cut or (image.format == "GIF" and not data.rstrip(b"\0").endswith(b";")) else None


def _taken_at(image: Image.Image) -> datetime | None:
    """When the camera says that it took the picture; UTC unless it names an offset. A clock's nonsense is no time."""
    exif = image.getexif()
    details = exif.get_ifd(_EXIF_FOLDER)
    text = details.get(_TAKEN_AT) or exif.get(_CHANGED_AT)
    if text is None:
        return None
    try:
        moment = datetime.strptime(str(text).strip("\0 "), "%Y:%m:%d %H:%M:%S").replace(tzinfo=UTC)
        offset = re.fullmatch(r"([+-])(\d\d):(\d\d)", str(details.get(_OFFSET, "")).strip("\0 "))
        if not offset:
            return moment
        distance = timedelta(hours=int(offset[2]), minutes=int(offset[3]))
        return moment - distance if offset[1] == "+" else moment + distance
    except (ValueError, OverflowError):
        return None
