"""
Pages a second of a crawl beside Scrapy: the same site, the same politeness. Run: `python -m benchmarks.web_pages`.

The site is 1,000 pages of 25 kB, served by Caddy on loopback; behind a proxy it would be the proxy that is measured.
Both obey robots.txt, send 8 requests at once without a delay, follow the same links, take the same 40 rows of each page
by the same selectors, and keep every page on disk. Ours also has what a crash must not lose: each page is flushed to
the disk, and journaled, before the next is asked for.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from time import monotonic

from benchmarks.report import Finding
from embedded.postgres import free_port
from embedded.release_notes import running_site
from include.lake.store import Lake
from include.sources.extraction import collect_partition
from include.sources.web.archive import Archive
from include.sources.web.site import read_site
from include.workflow import Target, WebSource, Workflow

N_PAGES, N_ROWS, CONCURRENCY, REPEAT = 1_000, 40, 8, 5
SPIDER = Path(__file__).parent / "scrapy_spider.py"
FIELDS = {"name": "h3::text", "day": "time@datetime", "price": "b::text", "link": "a@href"}


def write_site(folder: Path) -> None:
    """Pages of 25 kB that link to ten others each, and a robots.txt."""
    filler = "<p class='filler'>" + "lorem ipsum dolor sit amet " * 12 + "</p>"
    for number in range(N_PAGES):
        items = "".join(
            f"<div class='item' id='i{i}'><h3>Thing {i}</h3><time "
            f"datetime='2026-01-{i % 28 + 1:02}'></time><b>{i}.50</b>"
            f"<a href='/thing/{number}/{i}.html'>more</a>{filler}</div>"
            for i in range(N_ROWS)
        )
        links = "".join(f"<a href='/page{(number * 10 + k) % N_PAGES}.html'>{k}</a>" for k in range(1, 11))
        (folder / f"page{number}.html").write_text(f"<html><body>{links}{items}</body></html>", encoding="utf-8")
    # Nobody links to the first page: Scrapy asks for its start page again where a page does.
    first = "".join(f"<a href='/page{number}.html'>{number}</a>" for number in range(10))
    (folder / "index.html").write_text(f"<html><body>{first}</body></html>", encoding="utf-8")
    (folder / "robots.txt").write_text("User-agent: *\nDisallow: /thing/\n", encoding="utf-8")


def crawl_by_scrapy(address: str, folder: Path) -> float:
    """Seconds of Scrapy, its start left out."""
    folder.mkdir()
    spider = [sys.executable, str(SPIDER), f"{address}index.html", str(folder), str(CONCURRENCY)]
    told = json.loads(subprocess.run(spider, capture_output=True, text=True, check=True).stdout.splitlines()[-1])
    _check(told["n_pages"], told["n_rows"], "Scrapy")
    return float(told["seconds"])


def crawl_by_updraft(address: str, folder: Path) -> float:
    """Seconds of a collection, and of reading all rows from the archive."""
    folder.mkdir()
    (folder / "expectations.json").write_text('{"name": "bench", "expectations": [], "meta": {}}', encoding="utf-8")
    source = WebSource(
        start=(f"{address}index.html",),
        follow=(r"/page\d+\.html$",),
        item="div.item",
        fields=FIELDS,
        event_time="day",
        known_time="day",
        types={"price": "number"},
        max_pages=N_PAGES + 1,
        delay_seconds=0,
        concurrency=CONCURRENCY,
        contact="bench@example.org",
        allow_private_hosts=(address.split("/")[2],),
    )
    workflow = Workflow(name="bench", description="Pages.", source=source, target=Target(column="price"), folder=folder)
    lake = Lake(uri=str(folder / "lake"), storage_options={})
    begun = monotonic()
    collect_partition(workflow, "2026-01-05", connection_uri=None, lake=lake, token=1)
    archive = Archive(lake, "bench")
    rows = read_site(workflow, source, archive)
    seconds = monotonic() - begun
    _check(len(archive.pages), rows.table.num_rows, "Updraft")
    return seconds


def _check(n_pages: int, n_rows: int, who: str) -> None:
    if (n_pages, n_rows) != (N_PAGES + 1, N_PAGES * N_ROWS):
        raise RuntimeError(f"{who} read {n_pages} pages and {n_rows} rows, not {N_PAGES + 1} and {N_PAGES * N_ROWS}")


def measure() -> list[Finding]:
    """Best of several turns of each, one after the other, on the same running site."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "site").mkdir()
        write_site(folder / "site")
        with running_site(folder / "site", port=free_port(), state=folder / "caddy") as address:
            turns = [
                (crawl_by_scrapy(address, folder / f"scrapy{i}"), crawl_by_updraft(address, folder / f"updraft{i}"))
                for i in range(REPEAT)
            ]
    theirs, ours = (N_PAGES / min(seconds) for seconds in zip(*turns, strict=True))
    note = f"{ours:.0f} beside {theirs:.0f} pages/s, {N_PAGES:,} pages, {CONCURRENCY} at once"
    return [
        Finding(
            what="Crawl, archive and read pages beside Scrapy",
            observed=ours / theirs,
            bound=2.0,
            at_least=True,
            note=note,
        )
    ]


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())
