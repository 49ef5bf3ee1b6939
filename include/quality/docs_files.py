"""Where the validations' pages lie, and which file a name from outside may stand for. It imports nothing heavy."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from include.settings import read_settings

FOLDER = "data_docs"
INDEX = "index.html"
# No name begins with a dot: neither `..` nor a half-written file is one.
_PAGE = re.compile(r"(?:[A-Za-z0-9][A-Za-z0-9:_=.-]{0,199}/)?[A-Za-z0-9_-][A-Za-z0-9_.-]{0,99}\.html")


@dataclass(frozen=True, kw_only=True)
class PageFile:
    """One validation's page: its path below the workflow's folder, and when it was written."""

    path: str
    written_at: datetime


def docs_folder(workflow_name: str) -> Path:
    """Return the folder of a workflow's pages; it need not be there."""
    return read_settings().home / FOLDER / workflow_name


def find_page(workflow_name: str, path: str) -> Path | None:
    """
    Return the file of a page, None if there is none.

    Parameters
    ----------
    workflow_name : str
        A declared workflow's.
    path : str
        From outside, such as `2026-01-05/manual-1.html` or `index.html`. Whatever is no page's name, or leads out of
        the workflow's folder (also by a link), stands for nothing.

    """
    if not _PAGE.fullmatch(path):
        return None
    folder = docs_folder(workflow_name).resolve()
    file = (folder / path).resolve()
    return file if file.is_relative_to(folder) and file.is_file() else None


def list_pages(workflow_name: str, partition_key: str) -> list[PageFile]:
    """Return a partition's pages, the newest first."""
    pages = [
        PageFile(path=f"{partition_key}/{file.name}", written_at=datetime.fromtimestamp(file.stat().st_mtime, UTC))
        for file in (docs_folder(workflow_name) / partition_key).glob("*.html")
    ]
    return sorted(pages, key=lambda page: page.written_at, reverse=True)
