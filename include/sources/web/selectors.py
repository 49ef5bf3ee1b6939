"""Declared fields: CSS selectors, compiled once and run on lxml."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, cast
from urllib.parse import urljoin

from cssselect import SelectorError
from lxml import etree
from lxml.cssselect import CSSSelector

from include.errors import DeclarationError
from include.sources.web.addresses import is_own_path, on_own_host
from include.workflow.sources.web import WebSource

_ELEMENT_NAME = re.compile(r"[a-z][a-z0-9]*")
_TEXT = etree.XPath("string()", smart_strings=False)
_ADDRESSES = frozenset({"href", "src"})


def select_rows(tree: etree._Element | None, source: WebSource, *, url: str) -> Iterator[dict[str, Any]]:
    """
    Find the rows of a page.

    Parameters
    ----------
    tree : Element or None
        The page; None if it is empty.
    source : WebSource
        Whose `item` and `fields`.
    url : str
        The page's address: `@href` and `@src` become absolute by it.

    Yields
    ------
    dict
        A text, or None, for each field; `anchor` is the item's id, if it has one.

    """
    if tree is None or source.item is None:
        return
    fields = [(name, *_split(text)) for name, text in source.fields.items()]
    for item in _find(tree, source.item):
        row: dict[str, Any] = {name: _take(item, selector, attribute, url) for name, selector, attribute in fields}
        yield {"anchor": item.get("id"), **row} if "anchor" not in row else row


def _take(item: etree._Element, selector: str, attribute: str | None, url: str) -> str | None:
    found = _find_first(item, selector) if selector else item
    if found is None:
        return None
    if attribute is None:
        text = cast(str, _TEXT(found)) if len(found) else found.text
        return " ".join((text or "").split())
    value: str | None = found.get(attribute)
    return _joined(url, value.strip()) if value is not None and attribute in _ADDRESSES else value


def _joined(url: str, value: str) -> str:
    if is_own_path(value):
        return on_own_host(url, value)
    try:
        return urljoin(url, value)
    except ValueError:  # no address: it stands as it is, for the suite to judge
        return value


def _find(element: etree._Element, selector: str) -> list[etree._Element]:
    # A CSS selector finds elements and nothing else; lxml's types speak of any XPath.
    return cast(list[etree._Element], _compiled(selector)(element))


def _find_first(element: etree._Element, selector: str) -> etree._Element | None:
    if _ELEMENT_NAME.fullmatch(selector):  # what the compiled selector finds first, in a third of its time
        return next(element.iter(selector), None)
    return next(iter(_find(element, selector)), None)


def _split(text: str) -> tuple[str, str | None]:
    if text.endswith("::text"):
        return text.removesuffix("::text").strip(), None
    selector, _, attribute = text.rpartition("@")
    return selector.strip(), attribute


@lru_cache(maxsize=256)
def _compiled(selector: str) -> CSSSelector:
    try:
        return CSSSelector(selector, translator="html")
    except SelectorError as error:
        raise DeclarationError(
            f"the CSS selector {selector!r} cannot be read: {error}; correct source.item or source.fields"
        ) from None
