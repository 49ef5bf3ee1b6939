"""What made a model, besides rows and declaration: this project's code and the locked libraries, each as a digest."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from include.settings import PROJECT_ROOT

# What may touch a row, a model or a verdict. What serves, deploys, watches or tells may change without a model being
# another one; a workflow's own files are in its declaration's digest.
PARTS = (
    "errors.py",
    "settings.py",
    "workflow",
    "lake",
    "sources",
    "quality",
    "evaluation",
    "selection",
    "modeling",
    "registry",
)
LOCK_FILE = "requirements.txt"
UNKNOWN = "unknown"


def code_digest(root: Path = PROJECT_ROOT / "include", parts: Iterable[str] = PARTS) -> str:
    """
    SHA-256 of the names and bytes of all Python files of some parts of a package; where the package lies does not
    count.

    It is read anew each time: what is on the disk now is what the next task runs.
    """
    content = hashlib.sha256()
    for part in sorted(parts):
        path = root / part
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            content.update(
                file.relative_to(root).as_posix().encode() + b"\0" + hashlib.sha256(file.read_bytes()).digest()
            )
    return content.hexdigest()


def lock_digest(path: Path = PROJECT_ROOT / LOCK_FILE) -> str:
    """SHA-256 of the lock file, or `unknown` where an installation has none."""
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else UNKNOWN
