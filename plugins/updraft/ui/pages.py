"""Templates into pages. All text is escaped; undefined names are errors."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.quality.page_style import STYLE


def write_page(template: str, **content: Any) -> str:
    """
    Write one page: HTML that needs no other file and no script.

    :param template: name of a file in `templates/`
    :param content: what it tells
    """
    return _environment().get_template(template).render(style=STYLE, **content)


@cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
