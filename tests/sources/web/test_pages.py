"""From bytes to rows, without a network: encodings, broken and deep markup, links, types, parsers, pauses."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from include.errors import DeclarationError, LakeError, SourceQueryError
from include.lake.store import Lake
from include.sources.web.addresses import plain_address
from include.sources.web.archive import Archive, Stored
from include.sources.web.journal import Journal
from include.sources.web.kept_rows import MAX_SMALL_PACKS, KeptRows
from include.sources.web.pages import encoding_of, links_of, parse_tree, require_html
from include.sources.web.parsers import load_parser, run_parser
from include.sources.web.rows import rows_of_page
from include.sources.web.schedule import pause_before
from include.sources.web.selectors import select_rows
from include.workflow import Workflow
from tests.sources.web.small_site import declare

URL = "http://example.org/a/b.html"


def tree_of(text: str):
    return parse_tree(text.encode(), encoding="utf-8", url=URL)


@pytest.mark.parametrize(
    ("body", "content_type", "expected"),
    [
        ("ü".encode(), None, "ü"),
        ("ü".encode("cp1252"), None, "ü"),
        ("ü".encode("utf-8-sig"), "text/html; charset=latin-1", "ü"),
        ("\ufeffü".encode("utf-16-le"), None, "ü"),
        ("ü".encode("latin-1"), "text/html; charset=ISO-8859-1", "ü"),
        ("я".encode("koi8-r"), 'text/html; charset="koi8-r"', "я"),
        (b"<meta charset=shift_jis>" + "日".encode("shift_jis"), None, "<meta charset=shift_jis>日"),
        (b"<meta charset=utf-16>" + "ü".encode(), None, "<meta charset=utf-16>ü"),
        ("ü".encode(), "text/html; charset=punycode", "ü"),
        ("ü".encode(), "text/html; charset=unicode_escape", "ü"),
        ("ü".encode(), "text/html; charset=no-such", "ü"),
    ],
)
def test_the_encoding_is_found(body, content_type, expected):
    assert body.decode(encoding_of(body, content_type)).lstrip("\ufeff") == expected


@pytest.mark.parametrize("depth", [100, 255, 300, 2_000])
def test_deep_markup_is_read_to_its_end(depth):
    """The parser's own bound is 256, and beyond it leaves the rest of the page out in silence."""
    tree = tree_of("<body>" + "<div>" * depth + "<p>in</p>" + "</div>" * depth + "<p>after</p>")
    assert [p.text for p in tree.iter("p")] == ["in", "after"]


def test_markup_that_is_too_deep_is_refused():
    with pytest.raises(SourceQueryError, match=r"b\.html: the page's elements are nested too deeply"):
        tree_of("<body>" + "<div>" * 5_000 + "<p>in</p>")


@pytest.mark.parametrize("text", ["", "   ", "<!-- nothing -->"])
def test_an_empty_page_has_no_tree(text):
    assert tree_of(text) is None
    assert list(links_of(tree_of(text), URL)) == []


def test_broken_markup_is_read():
    assert [p.text for p in tree_of("<p>a<p>b</i><table><p>c\0").iter("p")] == ["a", "b", "c\ufffd"]


HREFS = [
    "/x.html",
    "x.html",
    "../x",
    "/a/../x",
    "//other.org/x",
    "/x?q=1",
    "/x#top",
    "?page=2",
    "/ü",
    "/a b",
    "mailto:x",
    "javascript:0",
]


def test_the_short_way_to_an_address_is_the_long_one():
    tree = tree_of("".join(f"<a href='{href}'>x</a>" for href in [*HREFS, "http://[::1", "https://u:p@x.org/"]))
    assert list(links_of(tree, URL)) == [plain_address(href, base=URL) for href in HREFS[:-2]]
    assert plain_address("/a b/ü", base=URL) == "http://example.org/a%20b/%C3%BC"


@pytest.mark.parametrize(
    ("base", "expected"), [("/sub/", "http://example.org/sub/x"), ("http://[", "http://example.org/a/x")]
)
def test_the_base_of_a_page_counts_unless_it_is_none(base, expected):
    tree = tree_of(f"<base href='{base}'><a href=x>x</a><link rel=next href=x><link rel=icon href=y>")
    assert list(links_of(tree, URL)) == [expected, expected]


def test_a_pdf_is_no_page():
    require_html(URL, "text/html; charset=utf-8")
    with pytest.raises(SourceQueryError, match=r"b\.html: is 'application/pdf', no HTML page"):
        require_html(URL, "application/pdf")


@pytest.mark.parametrize(
    ("asked", "low", "high"),
    [
        ("7", 7, 7.2),
        (" 7 ", 7, 7.2),
        ("²", 0.25, 0.5),
        ("soon", 0.25, 0.5),
        (None, 0.25, 0.5),
        ("Mon, 01 Jan 2001 00:00:00 GMT", 0, 0.2),
    ],
)
def test_the_pause_is_what_the_server_asks_for(asked, low, high):
    assert low <= pause_before(0, asked) <= high


def test_a_pause_may_be_asked_for_by_the_hour_that_ends_it():
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    assert 3_300 <= pause_before(0, format_datetime(in_an_hour, usegmt=True)) <= 3_601


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(Lake(uri=str(tmp_path / "lake"), storage_options={}), "parcels")


def stored(archive: Archive, body: str) -> Stored:
    digest = archive.keep_body(body.encode())
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    return Stored(
        url=URL, role="page", final_url=URL, status=200, headers="{}", etag=None, last_modified=None,
        content_type="text/html",
        encoding="utf-8", body_digest=digest, n_bytes=len(body), fetched_at=moment, crawl_id="1",
    )  # fmt: skip


def parsed(folder: Path, code: str, **types: str) -> Workflow:
    folder.mkdir()
    (folder / "pages.py").write_text(code)
    kinds = {"name": "text", "day": "time", **types}
    return declare(folder, "example.org:80", item=None, fields={}, parser="pages.parse", types=kinds)


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        ("integer", 3, 3), ("integer", "-3", -3), ("integer", True, None), ("integer", 2**63, None),
        ("integer", 1.0, None),
        ("number", "1e3", 1000.0), ("number", "1_0", None), ("number", "nan", None), ("number", True, None),
        ("number", 2, 2.0),
        ("boolean", "TRUE", True), ("boolean", False, False), ("boolean", 1, None), ("text", 1, None), ("text", " "
"a ", "a"),
        ("time", date(2026, 1, 5), datetime(2026, 1, 5, tzinfo=UTC)), ("time", 5, None),
        ("time", "2026-01-05T01:00:00+01:00", datetime(2026, 1, 5, tzinfo=UTC)), ("time", datetime(1, 1, 1),
        datetime(1, 1, 1, tzinfo=UTC)),
    ],
)  # fmt: skip
def test_a_value_is_its_column_s_type_or_a_fault(tmp_path, archive, kind, value, expected):
    code = f"import datetime\ndef parse(soup):\n    return [{{'name': 'a', 'day': '2026-01-05', 'v': {value!r}}}]\n"
    workflow = parsed(tmp_path / "w", code, v=kind)
    (row,) = rows_of_page(workflow, workflow.source, archive, stored(archive, "<p>x</p>")).table.to_pylist()
    assert (row["v"], row["source_error"]) == (expected, None if expected is not None else f"v: is no {kind}")


def test_a_column_that_is_not_declared_is_named(tmp_path, archive):
    workflow = parsed(tmp_path / "w", "def parse(soup):\n    return [{'name': 'a', 'strange': 1, 2: 3}]\n")
    with pytest.raises(SourceQueryError, match=r"pages\.parse gives a column 2 that source\.types does not name"):
        rows_of_page(workflow, workflow.source, archive, stored(archive, "<p>x</p>"))


def names_kept(workflow: Workflow, archive: Archive, page: Stored) -> list[str]:
    kept = KeptRows(workflow, workflow.source, archive)
    names = kept.of_page(page).table["name"].to_pylist()
    kept.put()
    return names


def packs_of(workflow: Workflow, archive: Archive) -> list[Path]:
    return sorted((Path(archive.lake.uri) / workflow.name / "_rows").glob("*/*"))


def one_row(name: str) -> str:
    return f"<p class=e id=x><b>{name}</b><i>2026-01-05</i></p>"


def test_kept_rows_that_were_altered_are_worked_out_again(tmp_path, archive):
    workflow, page = declare(tmp_path / "w", "example.org:80"), stored(archive, one_row("one"))
    assert names_kept(workflow, archive, page) == ["one"]
    (pack,) = packs_of(workflow, archive)
    whole = pack.read_bytes()
    for altered in (whole.replace(b"one", b"two"), whole[:100], b""):
        pack.write_bytes(altered)
        assert names_kept(workflow, archive, page) == ["one"]
        assert pack.read_bytes() == whole


def test_kept_rows_are_read_instead_of_the_page(tmp_path, archive):
    workflow, page = declare(tmp_path / "w", "example.org:80"), stored(archive, one_row("one"))
    names_kept(workflow, archive, page)
    (Path(archive.lake.uri) / "parcels" / "_pages" / page.body_digest).unlink()
    assert names_kept(workflow, archive, page) == ["one"]
    other = declare(tmp_path / "other", "example.org:80", fields={"name": "i::text", "day": "i::text"})
    with pytest.raises(LakeError, match="has no file"):
        names_kept(other, archive, page)


def test_many_small_packs_become_one_and_hold_what_is_still_asked_for(tmp_path, archive):
    workflow = declare(tmp_path / "w", "example.org:80")
    pages = [replace(stored(archive, one_row(f"row {n}")), url=f"{URL}?{n}") for n in range(MAX_SMALL_PACKS + 1)]
    for page in pages[:-1]:
        names_kept(workflow, archive, page)
    assert len(packs_of(workflow, archive)) == MAX_SMALL_PACKS
    kept = KeptRows(workflow, workflow.source, archive)
    wanted = pages[5:]
    rows = [kept.of_page(page).table["name"].to_pylist() for page in wanted]
    kept.put()
    assert len(packs_of(workflow, archive)) == 1
    for page in pages:
        (Path(archive.lake.uri) / "parcels" / "_pages" / page.body_digest).unlink()
    again = KeptRows(workflow, workflow.source, archive)
    assert (
        [again.of_page(page).table["name"].to_pylist() for page in wanted]
        == rows
        == [[f"row {n}"] for n in range(5, len(pages))]
    )
    with pytest.raises(LakeError, match="has no file"):
        again.of_page(pages[0])


def test_a_journal_that_was_cut_is_passed_over(archive):
    """Another entry of it counts."""
    page, age = stored(archive, "<p>x</p>"), timedelta(days=100_000)
    journal = Journal(archive, crawl_id="1", max_age=age)
    journal.note(URL, page)
    journal.note(f"{URL}?2", page)
    (cut,) = (Path(archive.lake.uri) / "parcels" / "_crawls" / "first").iterdir()
    cut.write_bytes(cut.read_bytes()[:-30])
    found = [Journal(archive, crawl_id="1", max_age=age).received(url) for url in (URL, f"{URL}?2")]
    assert found == [page, None]


def test_an_address_that_is_none_stands_as_it_is(tmp_path, archive):
    fields = {"name": "a@href", "day": "i::text", "more": "s::text"}
    workflow = declare(tmp_path / "w", "example.org:80", fields=fields, optional=("more",))
    page = stored(
        archive,
        "<p class=e><a href='http://['>x</a><i>2026-01-05</i></p><p class=e><a href=c>x</a><i>2026-01-05</i></p>",
    )
    names = rows_of_page(workflow, workflow.source, archive, page).table["name"].to_pylist()
    assert names == ["http://[", "http://example.org/a/c"]


@pytest.mark.parametrize("markup", ["one", "a<i>b</i> c<!-- d -->", "  two\n words ", "", "<b>inner</b>", "1<!-- -->2"])
def test_the_short_way_to_an_element_is_the_long_one(tmp_path, markup):
    """A lone element name and a group of selectors find the same, the item itself included."""
    tree = tree_of(
        f"<b class=e>{markup}<b>second</b></b><p class=e><i>x</i><b>{markup}</b><b>second</b></p><p class=e></p>"
    )
    fields = {"name": "b::text", "day": "b, b::text", "kind": "b@class", "same": "b, b@class"}
    rows = list(select_rows(tree, declare(tmp_path / "w", "example.org:80", item=".e", fields=fields).source, url=URL))
    assert [(row["name"], row["kind"]) for row in rows] == [(row["day"], row["same"]) for row in rows]
    assert [row["kind"] for row in rows] == ["e", None, None]
    assert rows[2]["name"] is None


def test_a_selector_that_cannot_be_read_is_named(tmp_path, archive):
    workflow = declare(tmp_path / "w", "example.org:80", item="p..e")
    with pytest.raises(DeclarationError, match=r"the CSS selector 'p\.\.e' cannot be read"):
        rows_of_page(workflow, workflow.source, archive, stored(archive, "<p>x</p>"))


@pytest.mark.parametrize(
    ("code", "error"),
    [("import no_such_module", "does not run"), ("x = 1", "has no function 'parse'")],
)
def test_a_parser_that_cannot_be_loaded_is_named(tmp_path, code, error):
    (tmp_path / "pages.py").write_text(code)
    with pytest.raises(DeclarationError, match=f"pages.py.*{error}"):
        load_parser(tmp_path, "pages.parse")


def test_a_parser_that_fails_names_the_page_and_its_line_and_no_word_of_it():
    def parse(soup):
        raise ValueError(soup)

    with pytest.raises(
        SourceQueryError, match=r"b\.html: pages\.parse fails on this page with ValueError at line \d+"
    ) as caught:
        run_parser(parse, "a secret", url=URL, parser="pages.parse")
    assert "secret" not in str(caught.value)
