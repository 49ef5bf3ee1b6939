"""
The pixels of an image that a row names, for a feature function: the same in training and at the endpoint.

In training a row was published; at the endpoint its `image_uri` is a stranger's text. Whatever it says, only a regular
file below the root is opened, as by the source itself: no scheme, no way upwards, no link, no pipe, nothing that
unfolds to more than is declared.
"""

from __future__ import annotations

import io

import numpy as np
import numpy.typing as npt
from PIL import Image

from include.errors import DataError
from include.lake.digests import digest_bytes
from include.sources.images.decoding import FORMATS
from include.sources.images.folders import FileFaultError
from include.sources.images.local_folder import LocalFolder

_MAX_BYTES, _MAX_PIXELS = 16 * 2**20, 16_000_000
_TOO_MANY = f"image_uri: the picture has more than {_MAX_PIXELS:,} pixels: send a smaller one"


def read_grey(image_uri: str | None, *, root: str, side: int, sha256: str | None = None) -> npt.NDArray[np.float64]:
    """
    Read an image in shades of grey, fitted into a square.

    Parameters
    ----------
    image_uri : str or None
        A row's `image_uri`: an absolute path.
    root : str
        The folder below which it has to lie.
    side : int
        Pixels of the square's side.
    sha256 : str, optional
        A row's digest: then the file has to be the very one that was published.

    Returns
    -------
    ndarray of shape (side, side)
        0 is black, 1 is white.

    Raises
    ------
    DataError
        If it names no file below the root that is an image, or the file is another one by now. The message holds no
        name.

    """
    data = _read(image_uri, root=root)
    if sha256 is not None and digest_bytes(data) != sha256:
        raise DataError(
            "image_uri: the file is not the one that was published (sha256): put that one back, or ingest its "
            "partition again"
        )
    try:
        with Image.open(io.BytesIO(data), formats=FORMATS) as image:
            if image.width * image.height > _MAX_PIXELS:
                raise DataError(_TOO_MANY)
            grey = image.convert("L").resize((side, side), Image.Resampling.BOX)
    except DataError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise DataError(_TOO_MANY) from None
    except Exception:  # on damaged bytes decoders raise whatever they like; their texts quote the file's name
        raise DataError("image_uri: the file can't be decoded: send a whole picture") from None
    return np.asarray(grey, dtype=np.float64) / 255


def _read(image_uri: str | None, *, root: str) -> bytes:
    path = (image_uri or "").removeprefix(f"{root}/")
    if path == image_uri or not path or "\0" in path:
        raise DataError(
            "image_uri: names no file below the folder of images: send the absolute path of one that lies there"
        )
    try:
        with LocalFolder(root).open(path) as file:
            data = file.read(_MAX_BYTES + 1)
    except FileFaultError as error:
        raise DataError(f"{error}: send the path of an image file that is there") from None
    if len(data) > _MAX_BYTES:
        raise DataError(f"image_uri: the file has more than {_MAX_BYTES:,} bytes: send a smaller one")
    return data
