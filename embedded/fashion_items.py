"""
The demo's photographs: Fashion-MNIST (70,000 pictures of 28 x 28 in ten classes, MIT), laid out as class folders, a
folder a day.

They lie in Debian's package `dataset-fashion-mnist`. Where it is not installed it is downloaded by apt, without root,
and unpacked into a folder of its own; the files' hashes are checked.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from embedded.demo_data import DemoDataError

PACKAGE = "dataset-fashion-mnist"
INSTALLED = Path("/usr/share/datasets/fashion-mnist")
# In the order of the labels' numbers.
CLASSES = ("t_shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle_boot")
IMAGES_A_DAY, N_DAYS = 150, 49
_SHA256 = {
    "train-images-idx3-ubyte.gz": "b0564c3eedabfbf835052cff8503ea422014ce006caf5b757f851416ee8300c7",
    "train-labels-idx1-ubyte.gz": "0ae29f65d86684f32d1b9c85147786c547b9c6aebcaf235f0400a0cce308b056",
    "t10k-images-idx3-ubyte.gz": "cc1d090a38ace84dfa1aa66e3ada7c336ef481a96936906477e6dd344da56eaa",
    "t10k-labels-idx1-ubyte.gz": "8d3605d196f4be44669e46906da9733c8131fef761fdbfec72c424d5222f1a05",
}
_TIMEOUT_SECONDS = 300
_SIDE = 28


@dataclass(frozen=True, kw_only=True)
class Photographs:
    """Pictures of shape (n, height, width) in grey, and the number of each one's class, of shape (n,)."""

    pictures: npt.NDArray[np.uint8]
    labels: npt.NDArray[np.uint8]


class FashionItemsError(DemoDataError):
    """Raised when the photographs cannot be fetched, or are not the ones that are expected."""


def install_photographs(home: Path, *, progress: Callable[[str], None] = lambda _: None) -> Path:
    """
    Give the folder of the four files, fetching them into `<home>/demo-data` where they are nowhere yet.

    Raises
    ------
    FashionItemsError
        If apt does not give the package, or a file has another hash.

    """
    unpacked = home / "demo-data" / PACKAGE
    folder = next((path for path in (INSTALLED, unpacked / INSTALLED.relative_to("/")) if path.is_dir()), None)
    if folder is None:
        progress(f"fetching Debian's {PACKAGE} (31 MB)")
        _download(unpacked)
        folder = unpacked / INSTALLED.relative_to("/")
    for name, expected in _SHA256.items():
        digest = hashlib.sha256((folder / name).read_bytes()).hexdigest() if (folder / name).is_file() else "none"
        if digest != expected:
            raise FashionItemsError(
                f"{folder / name} has the SHA-256 {digest}, not {expected}: remove {folder}, and run again"
            )
    return folder


def read_photographs(folder: Path) -> Photographs:
    """Read the four files, in the form IDX: a head of 16 or 8 bytes, then plain bytes."""
    pictures, labels = [], []
    for part in ("train", "t10k"):
        pictures.append(_bytes_of(folder / f"{part}-images-idx3-ubyte.gz")[16:].reshape(-1, _SIDE, _SIDE))
        labels.append(_bytes_of(folder / f"{part}-labels-idx1-ubyte.gz")[8:])
    return Photographs(pictures=np.concatenate(pictures), labels=np.concatenate(labels))


def lay_out(
    photographs: Photographs, root: Path, *, today: date, n_days: int = N_DAYS, images_a_day: int = IMAGES_A_DAY
) -> int:
    """
    Write the days before `today` that are not there yet, and give their number.

    Parameters
    ----------
    photographs : Photographs
        What to choose from.
    root : Path
        Gets `<day>/<class>/<number>.png`: which pictures a day has depends on the day alone, and none is there twice
        within `len(labels) / images_a_day` days.
    today : date
        The first day that is not written.
    n_days, images_a_day : int
        How much.

    """
    days = [today - timedelta(days=number) for number in range(1, n_days + 1)]
    missing = [day for day in days if not (root / day.isoformat()).is_dir()]
    n_pictures = len(photographs.labels)
    order = np.random.default_rng(0).permutation(n_pictures)
    for day in missing:
        first = day.toordinal() * images_a_day
        _write_day(root, day, photographs, order[np.arange(first, first + images_a_day) % n_pictures].tolist())
    return len(missing)


def _write_day(root: Path, day: date, photographs: Photographs, numbers: list[int]) -> None:
    """Whoever finds a day's folder finds all of it."""
    temporary = root / f".{day.isoformat()}.{os.getpid()}"
    for name in CLASSES:
        (temporary / name).mkdir(parents=True, exist_ok=True)
    for number in numbers:
        Image.fromarray(photographs.pictures[number]).save(
            temporary / CLASSES[photographs.labels[number]] / f"{number:05}.png"
        )
    temporary.rename(root / day.isoformat())


def _bytes_of(path: Path) -> npt.NDArray[np.uint8]:
    with gzip.open(path) as file:
        return np.frombuffer(file.read(), dtype=np.uint8)


def _download(target: Path) -> None:
    temporary = target.with_name(f".{target.name}.{os.getpid()}")
    temporary.mkdir(parents=True)
    try:
        _run(["apt-get", "download", PACKAGE], cwd=temporary)
        (archive,) = temporary.glob("*.deb")
        _run(["dpkg", "-x", archive.name, "unpacked"], cwd=temporary)
        shutil.rmtree(target, ignore_errors=True)
        (temporary / "unpacked").rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _run(command: list[str], *, cwd: Path) -> None:
    said = ""
    try:
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=_TIMEOUT_SECONDS, check=False)
        is_done, said = done.returncode == 0, done.stderr.strip()[-300:]
    except (OSError, subprocess.TimeoutExpired) as error:
        is_done, said = False, type(error).__name__
    if not is_done:
        raise FashionItemsError(
            f"{' '.join(command)} failed ({said}): run apt-get update first, see that Debian's mirror answers, or "
            f"install {PACKAGE}"
        )
