"""
Data Docs: a page of each validation, below `<home>/data_docs/<workflow>/`, and an index of them.

One page is rendered, not a whole site, which costs Great Expectations about a second a time.
"""

from __future__ import annotations

import hashlib
import html
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from include.quality.docs_files import INDEX, docs_folder
from include.quality.page import Account, render_page
from include.quality.page_style import frame_page

_MAX_LISTED = 500


def write_page(account: Account) -> str:
    """
    Write the page of one validation, and the index.

    Returns
    -------
    str
        The page's path. A repeated run writes over its own page.

    """
    root = docs_folder(account.workflow_name)
    page = root / account.partition_key / f"{_file_stem(account.run_id)}.html"
    _write(page, render_page(account))
    _write(root / INDEX, _index(account.workflow_name, _newest(root)))
    return str(page)


def _file_stem(run_id: str) -> str:
    """A run's id may hold anything, also slashes: its plain characters, and a digest that keeps two ids apart."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", run_id)[:60].lstrip(".")
    return f"{plain}-{hashlib.sha256(run_id.encode()).hexdigest()[:8]}"


def _newest(root: Path) -> list[Path]:
    pages = [*root.glob("*/*.html")]
    return sorted(pages, key=lambda page: (page.parent.name, page.stat().st_mtime), reverse=True)[:_MAX_LISTED]


def _index(workflow_name: str, pages: Iterable[Path]) -> str:
    items = "\n".join(map(_index_line, pages))
    name = html.escape(workflow_name)
    return frame_page(f"{name}: validations", f"<h1>{name}: validations</h1><ul>\n{items}\n</ul>")


def _index_line(page: Path) -> str:
    key, name = html.escape(page.parent.name), html.escape(page.name)
    return f'<li><a href="{key}/{name}">{key}</a> {html.escape(page.stem)}</li>'


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole, so that a reader meets no half page."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{secrets.token_hex(8)}.tmp")
    temporary.write_text(text, encoding="utf-8")
    os.replace(temporary, path)
