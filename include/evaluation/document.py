"""
A document's content without its form: the same sections become Markdown and HTML, and data in them stays
data in both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Code:
    """A value as it is: a name, a digest, a parameter."""

    text: str


@dataclass(frozen=True)
class Strong:
    """What the eye should find first."""

    text: str


Inline = str | Code | Strong
Text = Inline | tuple[Inline, ...]


@dataclass(frozen=True)
class Paragraph:
    """One paragraph."""

    text: Text


@dataclass(frozen=True)
class Bullets:
    """A list."""

    items: Sequence[Text]


@dataclass(frozen=True)
class Table:
    """A table; each row has as many cells as the header."""

    header: Sequence[str]
    rows: Sequence[Sequence[Text]]


@dataclass(frozen=True)
class Picture:
    """A figure: its file beside the document, and its bytes (PNG, or SVG if the file's name says so)."""

    path: str
    caption: str
    data: bytes


Block = Paragraph | Bullets | Table | Picture


@dataclass(frozen=True)
class Section:
    """A titled part."""

    title: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Document:
    """
    A title, what to read first, and sections. `mood` colours the last of what to read first, where a
    form has colours.
    """

    title: str
    lead: Sequence[Block]
    sections: Sequence[Section]
    mood: Literal["good", "held", "bad", ""] = ""


def parts_of(text: Text) -> tuple[Inline, ...]:
    """Give a text's parts, also of one that has a single part."""
    return text if isinstance(text, tuple) else (text,)
