"""Type in the files that a page of the documentation shows."""

from __future__ import annotations

import re
from pathlib import Path

from include.settings import PROJECT_ROOT

FILE_BLOCK = re.compile(r"^`([\w./-]+)`:\n\n```\w+\n(.*?)^```", re.MULTILINE | re.DOTALL)


def type_in(page: str, folder: Path) -> None:
    """Write every file of a page (`sources/database.md`) below a folder, as a reader would."""
    for name, text in FILE_BLOCK.findall((PROJECT_ROOT / "docs" / page).read_text(encoding="utf-8")):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
