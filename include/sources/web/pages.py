"""From a page's bytes to its tree: encoding and broken markup are the parser's business, not the caller's."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urljoin

from lxml import etree

from include.errors import SourceQueryError, UnsafeAddressError
from include.sources.web.addresses import is_own_path, on_own_host, plain_address, shown

if TYPE_CHECKING:
    from bs4 import BeautifulSoup

_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
_CHARSET = re.compile(r"""charset\s*=\s*["']?\s*([A-Za-z0-9_.:-]{1,40})""", re.IGNORECASE)
# What browsers read. Python knows more, some of it slow without bound or no encoding of text at all (idna, punycode,
# unicode_escape).
_ENCODING = re.compile(
    r"utf-8|utf-16(-[lb]e)?|cp125[0-8]|cp866|cp874|iso8859-\d+|koi8-[ru]|mac-(roman|cyrillic)|gbk|gb2312|gb18030|big5(hkscs)?"
    r"|euc_(jp|kr)|shift_jis|cp932|cp949|iso2022_jp"
)
_HTML = frozenset({"", "text/html", "application/xhtml+xml"})


def encoding_of(body: bytes, content_type: str | None) -> str:
    """
    Find a page's encoding: its byte order mark, the header, its meta element; else UTF-8 if it is that, or
    Windows-1252.
    """
    for mark, name in _BOMS:
        if body.startswith(mark):
            return name
    declared = _CHARSET.search(content_type or "")
    in_page = _META.search(body[:4096])
    if declared and (known := _known(declared[1])):
        return known
    if in_page and (known := _known(in_page[1].decode("ascii"))):
        # A page whose ASCII could be read is not UTF-16, whatever it says.
        return "utf-8" if known.startswith("utf-16") else known
    try:
        body.decode("utf-8")
    except UnicodeDecodeError:
        return "cp1252"
    return "utf-8"


def _known(name: str) -> str | None:
    try:
        known = codecs.lookup(name).name
    except LookupError:
        return None
    # What browsers do: pages that say Latin-1 mean its extension.
    known = "cp1252" if known in {"iso8859-1", "ascii"} else known
    return known if _ENCODING.fullmatch(known) else None


def parse_tree(body: bytes, *, encoding: str | None, url: str) -> etree._Element | None:
    """
    Parse a page, however broken; None if it is empty.

    Raises
    ------
    SourceQueryError
        If it is nested so deeply that the parser would leave its rest out.

    """
    text = body.decode(encoding or "utf-8", errors="replace").lstrip("\ufeff").replace("\0", "\ufffd")
    if not text.strip():
        return None
    # Without `huge_tree` the parser stops at a depth of 256, in silence: what comes after is lost.
    parser = etree.HTMLParser(encoding="utf-8", huge_tree=True)
    tree = etree.fromstring(text.encode(), parser=parser)
    if any(entry.type_name == "ERR_RESOURCE_LIMIT" for entry in parser.error_log):
        raise SourceQueryError(
            f"{shown(url)}: the page's elements are nested too deeply to be read whole: leave it out, or read it by a "
            "parser of your own"
        )
    return tree  # None if there is nothing but comments


def parse_soup(body: bytes, *, encoding: str | None) -> BeautifulSoup:
    """Give the page as a workflow's own parser wants it."""
    from bs4 import BeautifulSoup

    return BeautifulSoup(body.decode(encoding or "utf-8", errors="replace").lstrip("\ufeff"), "lxml")


def require_html(url: str, content_type: str | None) -> None:
    """
    Check that a response is a page.

    Raises
    ------
    SourceQueryError
        If it is something else, for instance a PDF.

    """
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind not in _HTML:
        raise SourceQueryError(
            f"{shown(url)}: is {kind[:60]!r}, no HTML page: narrow source.follow, or read it by another source"
        )


def links_of(tree: etree._Element | None, url: str) -> Iterator[str]:
    """Addresses that a page of a plain address links to, in its order; what is no address of a page is left out."""
    if tree is None:
        return
    base = next((element.get("href") for element in tree.iter("base") if element.get("href")), None)
    try:
        root = urljoin(url, base) if base else url
    except ValueError:  # no address at all: browsers ignore it, too
        root = url
    for element in tree.iter("a", "area", "link"):
        href = element.get("href")
        if href is None or (element.tag == "link" and "next" not in (element.get("rel") or "").lower().split()):
            continue
        if root == url and is_own_path(href):
            yield on_own_host(url, href)
            continue
        try:
            yield plain_address(href, base=root)
        except UnsafeAddressError:  # mailto:, javascript: and the like
            continue
