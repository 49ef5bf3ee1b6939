"""A small site behind a proxy that injects faults: what is fetched, archived, retried, refused."""

from __future__ import annotations

import json
import time
from datetime import date
from pathlib import Path

import pytest

from include.errors import LayoutChangedError, SourceQueryError, SourceUnavailableError, UnsafeAddressError
from include.lake.store import Lake
from include.sources.extraction import collect_partition
from include.sources.kinds import open_rows
from include.workflow import Features, Partition, WebSource, Workflow
from include.workflow.partitions import window_of_key
from tests.factories import SUITE, declare_workflow
from tests.fault_proxy import FaultProxy, drip, reset, status

PAGE = (
    b'<html><body><a href="/b.html">b</a><p class=e id=x1><b>one</b><i>2026-01-05</i></p><p class=e '
    b"id=x2><b>two</b></p></body></html>"
)
OTHER = b"<html><body><p class=e id=y1><b>drei \xc3\xbc</b><i>2026-01-06</i></p></body></html>"


@pytest.fixture
def site():
    """Two pages, no robots.txt; each test may put faults before the answers."""
    with FaultProxy() as proxy:
        for path, body in (("/a.html", PAGE), ("/b.html", OTHER)):
            proxy.faults[path] = [status(200, {"ETag": '"1"'}, body) for _ in range(20)]
        yield proxy


def declare(folder: Path, site: FaultProxy, **changes) -> Workflow:
    parts = {
        "start": (f"http://{site.address}/a.html",),
        "follow": (r"/b\.html$",),
        "item": "p.e",
        "fields": {"name": "b::text", "day": "i::text"},
        "event_time": "day",
        "known_time": "day",
        "contact": "me@example.org",
        "delay_seconds": 0,
        "deadline": "1 minute",
        "allow_private_hosts": (site.address,),
    }
    source = WebSource(**{**parts, **changes})
    suite = json.loads(json.dumps(SUITE))
    return declare_workflow(
        folder,
        suite=suite,
        source=source,
        features=Features(),
        partition=Partition(every="day", start=date(2026, 1, 1)),
    )


def collect(workflow: Workflow, lake: Lake, token: int = 1):
    return collect_partition(workflow, "2026-01-05", connection_uri=None, lake=lake, token=token)


def rows(workflow: Workflow, lake: Lake, key: str) -> list[dict]:
    window = window_of_key("day", key)
    with open_rows(workflow.source, workflow=workflow, window=window, connection_uri=None, lake=lake) as reader:
        return reader.read_all().to_pylist()


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


def test_rows_come_from_the_archive_alone(tmp_path, site, lake):
    workflow = declare(tmp_path / "w", site)
    assert collect(workflow, lake).counts["pages_new"] == 2
    n_requests = len(site.seen)
    assert [row["name"] for row in rows(workflow, lake, "2026-01-05")] == ["one"]
    assert [row["name"] for row in rows(workflow, lake, "2026-01-06")] == ["drei ü"]
    assert len(site.seen) == n_requests
    assert "me@example.org" in site.seen[0].headers["user-agent"]


def test_an_unchanged_site_adds_nothing_and_is_asked_conditionally(tmp_path, site, lake):
    workflow = declare(tmp_path / "w", site)
    collect(workflow, lake)
    site.faults["/a.html"] = [status(304)]
    report = collect(workflow, lake, 2)
    assert (report.is_new, report.counts["pages_unchanged"]) == (False, 2)
    assert site.seen[-2].headers["if-none-match"] == '"1"'


def test_a_landed_crawl_leaves_no_journal_of_those_before(tmp_path, site, lake):
    workflow = declare(tmp_path / "w", site)
    for n in range(3):
        site.faults["/b.html"] = [status(200, {}, OTHER + b"<!-- %d -->" % n)]
        assert collect(workflow, lake, n).counts["pages_new"] == (2 if n == 0 else 1)
    assert [path.name for path in Path(lake.uri).rglob("_crawls/*/*")] == ["reported"]


def test_a_row_without_its_day_is_placed_by_its_arrival(tmp_path, site, lake):
    workflow = declare(tmp_path / "w", site)
    collect(workflow, lake)
    (row,) = rows(workflow, lake, time.strftime("%Y-%m-%d", time.gmtime()))
    assert (row["name"], row["source_error"]) == ("two", "day: is missing")


@pytest.mark.parametrize("fault", [status(503), reset(), status(429, {"Retry-After": "1"})])
def test_what_passes_is_tried_again(tmp_path, site, lake, fault):
    site.faults["/a.html"].insert(0, fault)
    assert collect(declare(tmp_path / "w", site), lake).counts["pages_new"] == 2


@pytest.mark.parametrize("code", [401, 403, 404])
def test_a_refusal_is_one_attempt(tmp_path, site, lake, code):
    site.faults["/a.html"] = [status(code)]
    with pytest.raises(SourceQueryError, match=str(code)):
        collect(declare(tmp_path / "w", site), lake)
    assert site.paths().count("/a.html") == 1


@pytest.mark.claim("hostile")
def test_a_drip_ends_at_the_deadline(tmp_path, site, lake):
    site.faults["/a.html"] = []
    site.default = drip(0.2)
    site.faults["/robots.txt"] = [status(404)]
    object.__setattr__(site.default, "answer", status(200, {}, PAGE).answer)
    workflow = declare(tmp_path / "w", site, page_timeout_seconds=1, deadline="1 minute")
    workflow = workflow.model_copy(
        update={"source": workflow.source.model_copy(update={"deadline": workflow.source.deadline / 20})}
    )
    start = time.monotonic()
    with pytest.raises(SourceUnavailableError):
        collect(workflow, lake)
    assert time.monotonic() - start < 20


def test_robots_are_obeyed(tmp_path, site, lake):
    site.faults["/robots.txt"] = [status(200, {}, b"User-agent: *\nDisallow: /b.html\n")]
    collect(declare(tmp_path / "w", site), lake)
    assert "/b.html" not in site.paths()


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "2130706433", "0x7f000001", "0177.0.0.1", "127.1", "[::1]", "[::ffff:127.0.0.1]"]
)
def test_a_redirect_inside_reaches_nothing(tmp_path, site, lake, host):
    with FaultProxy() as canary:
        target = f"http://{host}:{canary.port}/secret"
        site.faults["/a.html"] = [status(302, {"Location": target})]
        with pytest.raises(UnsafeAddressError):
            collect(declare(tmp_path / "w", site, hosts=(host.strip("[]"), host, "::1")), lake)
        assert canary.seen == []


def test_a_layout_change_names_page_and_selector(tmp_path, site, lake):
    workflow = declare(tmp_path / "w", site)
    collect(workflow, lake)
    site.faults["/b.html"] = [status(200, {}, b"<html><body><div class=e>new</div></body></html>")]
    collect(workflow, lake, 2)
    with pytest.raises(LayoutChangedError, match=r"b\.html: the selector 'p\.e' finds nothing"):
        rows(workflow, lake, "2026-01-05")
