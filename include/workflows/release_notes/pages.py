"""
From one page of SQLAlchemy's release notes to its entries: a pure function of the page.

A page is a list of releases, newest first; each tells its day in one of several ways, or that it has none, and lists
its entries, most of them below a heading. An entry begins with its tags, and `bug` is one of them: that is what the
model is to find out from the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

_RELEASED = re.compile(r"Released:\s*([^\n]+)")
_DAYS = ("%B %d, %Y", "%a %b %d %Y", "%a, %b %d, %Y", "%A, %B %d, %Y")
_TAG = re.compile(r"\[([^\]]+)\]")
_FIRST_BUG_TAG = datetime(2011, 12, 1, tzinfo=UTC)


def parse(soup: Any) -> Iterator[dict[str, Any]]:
    """Rows of a page; one that holds no release (the index) gives none."""
    for heading in soup.find_all("h2", class_="release-version"):
        section = heading.find_parent("section")
        day = _day_of(heading)
        for caption in section.find_all("p", class_="caption"):
            yield _entry(caption, release=heading.find(string=True), day=day)


def _entry(caption: Any, *, release: str, day: datetime | str | None) -> dict[str, Any]:
    target = caption.find("span", class_="target") or {}
    paragraphs = [p for p in caption.find_next_siblings("p") if not p.get_text().startswith("References:")]
    tags = _TAG.findall(caption.strong.get_text()) if caption.strong else []
    title = caption.find_previous(["h2", "h3"])
    return {
        "anchor": target.get("id"),
        "entry": (target.get("id") or "").removeprefix("change-"),
        "release": release.strip(),
        "released_at": day,
        "section": title.find(string=True).strip() if title.name == "h3" else "none",
        "tags": " ".join(tag for tag in tags if tag != "no_tags"),
        "text": " ".join(" ".join(p.get_text() for p in paragraphs).split()),
        "n_code": sum(len(p.find_all("code")) for p in paragraphs),
        "n_references": len(caption.parent.find_all("a", class_="external")),
        "is_bugfix": _is_bugfix(tags, day),
    }


def _day_of(heading: Any) -> datetime | str | None:
    """Day of a release; the text itself where it is no day, None where there is none."""
    found = _RELEASED.search(str(heading.next_sibling or ""))
    if found is None:
        return None
    text = found[1].strip()
    for form in _DAYS:
        try:
            return datetime.strptime(text, form).replace(tzinfo=UTC)
        except ValueError:
            continue
    return text


def _is_bugfix(tags: list[str], day: datetime | str | None) -> bool | None:
    # Nobody tagged bugs before December 2011: such an entry says nothing about whether it mends one.
    return "bug" in tags if isinstance(day, datetime) and day >= _FIRST_BUG_TAG else None
