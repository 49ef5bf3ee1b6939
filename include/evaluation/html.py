"""
A document as one HTML file that needs nothing else: looks and figures are in it, no script, no address
of another host.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from include.evaluation.document import Document, Picture, parts_of
from include.quality.page_style import STYLE

_FINENESS = 1.4


def write_html(document: Document) -> str:
    """Write a document. All text in it is escaped, whoever wrote it."""
    return _environment().get_template("document.html").render(document=document, style=STYLE)


@cache
def _environment() -> Environment:
    folder = Path(__file__).parent / "templates"
    environment = Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["kind_of"] = lambda item: type(item).__name__
    environment.globals["parts_of"] = parts_of
    environment.globals["address_of"] = _address_of
    environment.globals["width_of"] = _width_of
    return environment


def _address_of(picture: Picture) -> str:
    kind = "svg+xml" if _is_svg(picture) else "png"
    return f"data:image/{kind};base64,{b64encode(picture.data).decode()}"


def _width_of(picture: Picture) -> int:
    """Width on the page: PNGs are drawn finer than a screen shows them, and their header has it in its fifth word."""
    if _is_svg(picture):
        return int(picture.data.partition(b' width="')[2].partition(b'"')[0])
    return round(int.from_bytes(picture.data[16:20], "big") / _FINENESS)


def _is_svg(picture: Picture) -> bool:
    return picture.path.endswith(".svg")
