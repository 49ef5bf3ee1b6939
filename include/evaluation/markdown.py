"""
A document as Markdown. Data stays data: a value may hold a line break, a pipe or HTML, and must not
become markup.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from include.evaluation.document import Block, Bullets, Code, Document, Inline, Paragraph, Strong, Table, Text, parts_of


def write_markdown(document: Document) -> str:
    """Write a document; the text ends in a newline."""
    blocks = [f"# {_text(document.title)}", *map(_block, document.lead)]
    for section in document.sections:
        blocks += [f"## {_text(section.title)}", *map(_block, section.blocks)]
    return "\n\n".join(blocks) + "\n"


def text(value: Any) -> str:
    """A value as plain text on one line."""
    return _text(str(value)).strip()


def code(value: Any) -> str:
    """A value as code on one line; nothing if it is empty."""
    line = " ".join(str(value).split()).replace("`", "'").replace("|", r"\|")
    return f"`{line}`" if line else ""


def table(header: Iterable[str], rows: Iterable[Iterable[str]]) -> Iterator[str]:
    """Yield the lines of a table; its cells are Markdown already."""
    header = list(header)
    yield f"| {' | '.join(header)} |"
    yield f"|{'---|' * len(header)}"
    yield from (f"| {' | '.join(row)} |" for row in rows)


def _block(block: Block) -> str:
    if isinstance(block, Paragraph):
        return _line(block.text)
    if isinstance(block, Bullets):
        return "\n".join(f"- {_line(item)}" for item in block.items)
    if isinstance(block, Table):
        return "\n".join(table(map(_text, block.header), ([_line(cell) for cell in row] for row in block.rows)))
    return f"![{_text(block.caption)}]({block.path})"


def _line(text: Text) -> str:
    return "".join(map(_inline, parts_of(text)))


def _inline(part: Inline) -> str:
    if isinstance(part, Code):
        return code(part.text)
    return f"**{_text(part.text)}**" if isinstance(part, Strong) else _text(part)


def _text(value: str) -> str:
    """Plain text on one line. Blanks at the ends of a part are kept: they stand between it and its neighbours."""
    return re.sub(r"([|<>`*\[\]\\])", r"\\\1", re.sub(r"\s+", " ", value))
