"""
Servers that fail or mean harm, on raw sockets: each ends within its bounds, in full data or in an error that names the
page.
"""

from __future__ import annotations

import contextlib
import gzip
import time
import tracemalloc
import zlib
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from embedded.postgres import free_port
from embedded.release_notes import running_site
from include.errors import SourceError, SourceQueryError, SourceUnavailableError, UnsafeAddressError
from include.lake.store import Lake
from include.sources.extraction import collect_partition
from include.sources.web import connections, schedule
from include.sources.web.addresses import Guard
from include.workflow import Workflow
from tests.fault_proxy import Fault, FaultProxy, reset, status
from tests.sources.web import hostile
from tests.sources.web.small_site import N_PAGES, declare, page, rows_of, serve

pytestmark = pytest.mark.claim("hostile")

MB = 1 << 20


@pytest.fixture(autouse=True)
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Back-off in hundredths of a second; what a server asks for by Retry-After is still waited for."""
    monkeypatch.setattr(schedule, "FIRST_PAUSE_SECONDS", 0.01)
    monkeypatch.setattr(schedule, "LONGEST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


@pytest.fixture
def site() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        serve(proxy)
        yield proxy


def collect(workflow: Workflow, lake: Lake, *, token: int = 1):
    return collect_partition(workflow, "2026-01-05", connection_uri=None, lake=lake, token=token)


def bounded(folder: Path, address: str, *, seconds: float = 60, **changes) -> Workflow:
    """One page, without links, that has to be there by a deadline."""
    workflow = declare(folder, address, follow=(), page_timeout_seconds=seconds, **changes)
    return workflow.model_copy(
        update={"source": workflow.source.model_copy(update={"deadline": timedelta(seconds=seconds)})}
    )


@contextlib.contextmanager
def little_memory() -> Iterator[None]:
    """What Python allocates within the block stays below 24 MB at any moment."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < 24 * MB
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    ("script", "error"),
    [
        (hostile.bomb("gzip"), "larger than"),
        (hostile.bomb("deflate"), "larger than"),
        (hostile.bomb("br"), "compresses by 'br', which it was not asked for"),
        (hostile.bomb("gzip", status=b"302 Found"), "redirects more than 5 times"),
        (hostile.bomb("gzip", status=b"404 Not Found"), "HTTP status 404"),
        (hostile.ENDLESS_BODY, "larger than"),
        (hostile.EMPTY_DEFLATE, "larger than"),
    ],
    ids=["gzip", "deflate", "br", "redirect", "not found", "endless", "deflate of nothing"],
)
def test_a_bomb_is_refused_in_flat_memory(tmp_path, lake, script, error):
    with hostile.serving(script) as address, little_memory(), pytest.raises(SourceQueryError, match=error):
        collect(bounded(tmp_path / "w", address, max_page_bytes=MB), lake)


def test_control_requests_alone_swallows_the_bomb():
    """What a crawler does that reads `response.content`: 200 MB from 200 kB."""
    import requests

    with hostile.serving(hostile.bomb("gzip")) as address:
        assert len(requests.get(f"http://{address}/", timeout=60).content) == 200 * MB


def test_control_a_read_of_200_mb_is_seen():
    with pytest.raises(AssertionError), little_memory():
        bytes(200 * MB)


@pytest.mark.parametrize(
    "script",
    [hostile.LONG_CHUNK_LINE, hostile.ENDLESS_HEADERS, hostile.hang],
    ids=["chunk line", "headers", "accept and hang"],
)
def test_what_never_ends_is_given_up(tmp_path, lake, script):
    """
    Also the line before a chunk, which urllib3 would read whole; the crawl's own deadline bounds all
    attempts together.
    """
    start = time.monotonic()
    with (
        hostile.serving(script) as address,
        little_memory(),
        pytest.raises(SourceUnavailableError, match=address.partition(":")[0]),
    ):
        collect(bounded(tmp_path / "w", address, seconds=3), lake)
    assert time.monotonic() - start < 60


def test_30_resets_of_100_answers_lose_no_page(tmp_path, lake):
    """200 fetches and more, every third of which breaks: 12 pages under 17 names each."""
    names = [f"/q{copy}-{number}.html" for copy in range(17) for number in range(N_PAGES)]
    links = "".join(f"<a href={name}>x</a>" for name in names).encode()
    with FaultProxy() as site:
        site.faults["/p0.html"] = [status(200, {}, b"<html><body>" + links + b"</body></html>")]
        for position, name in enumerate(names):
            answer = status(200, {}, page(position % N_PAGES) + name.encode())
            site.faults[name] = [
                reset(after_bytes=0),
                Fault(answer=answer.answer, cut_after_bytes=90, is_reset=True),
                answer,
            ][2 if position % 7 > 2 else position % 2 :]
        workflow = declare(tmp_path / "w", site.address, follow=(r"/q\d+-\d+\.html$",), concurrency=8)
        report = collect(workflow, lake)
        n_resets = len(site.seen) - len(names) - 2
    assert n_resets / len(site.seen) > 0.3
    assert report.counts["pages_new"] == len(names) + 1 > 200
    assert len(set(rows_of(lake, "parcels/responses", "url"))) == len(names) + 2


def test_200_429_200_waits_as_long_as_it_is_asked_to(tmp_path, lake, site):
    site.faults["/p3.html"].insert(0, status(429, {"Retry-After": "2"}))
    report = collect(declare(tmp_path / "w", site.address), lake)
    asked = [seen.at for seen in site.seen]
    first = site.paths().index("/p3.html")
    assert asked[first + 1] - asked[first] >= 2  # nobody else asks this host meanwhile
    assert report.counts["pages_new"] == N_PAGES


def test_a_site_that_is_down_changes_nothing_and_says_so(tmp_path, lake, site):
    workflow = declare(tmp_path / "w", site.address)
    collect(workflow, lake)
    landed = Counter(rows_of(lake, "parcels/responses", "url"))
    site.faults["/p7.html"] = [status(503)] * 50
    with pytest.raises(
        SourceUnavailableError, match=r"/p7\.html: not received in 8 attempts \(HTTP status 503\): retry"
    ):
        collect(workflow, lake, token=2)
    assert Counter(rows_of(lake, "parcels/responses", "url")) == landed
    assert len(landed) == N_PAGES + 1


def test_nobody_at_the_door_is_said(tmp_path, lake):
    address = f"127.0.0.1:{free_port()}"
    with pytest.raises(SourceUnavailableError, match="not received in 8 attempts"):
        collect(declare(tmp_path / "w", address), lake)


def test_conditions_do_not_go_on_to_where_a_redirect_leads(tmp_path, lake, site):
    """Both pages have the same ETag by chance: the second is not taken for unchanged."""
    site.faults["/p0.html"] = [status(200, {"ETag": '"1"'}, page(0)), status(302, {"Location": "/new.html"})]
    site.faults["/new.html"] = [status(200, {"ETag": '"1"'}, page(1))]
    workflow = declare(tmp_path / "w", site.address, follow=())
    collect(workflow, lake)
    assert collect(workflow, lake, token=2).counts["pages_new"] == 1
    assert [seen.headers.get("if-none-match") for seen in site.seen if seen.path == "/new.html"] == [None]


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_loop_of_redirects_ends(tmp_path, lake, site, code):
    site.faults["/p0.html"] = [status(code, {"Location": "/p0.html"})] * 20
    with pytest.raises(SourceQueryError, match="redirects more than 5 times"):
        collect(declare(tmp_path / "w", site.address), lake)
    assert site.paths().count("/p0.html") == 6


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_no_redirect_leads_into_the_network(tmp_path, lake, site, code):
    """Over a page of the site itself, and by a meta element, which is not followed at all."""
    with FaultProxy() as canary:
        target = f"http://127.0.0.1:{canary.port}/secret"
        site.faults["/p0.html"] = [status(code, {"Location": "/p1.html"})]
        site.faults["/p1.html"] = [status(code, {"Location": target})]
        with pytest.raises(UnsafeAddressError):
            collect(declare(tmp_path / "w", site.address, hosts=("127.0.0.1",)), lake)
        site.faults["/p0.html"] = [
            status(200, {}, page(0) + f'<meta http-equiv=refresh content="0;url={target}">'.encode())
        ]
        collect(declare(tmp_path / "w", site.address, hosts=("127.0.0.1",), follow=()), lake)
        assert canary.seen == []


def test_a_name_that_flips_reaches_nothing():
    """
    The first look-up is public, the second is not: there is no second look-up of a connection, and each new one is
    checked.
    """
    answers = iter(["93.184.215.14", "127.0.0.1"])
    guard = Guard(allowed=frozenset(), resolve=lambda host, port, **_: [(2, 1, 6, "", (next(answers), port))])
    assert guard.addresses_of("flips.example", 80) == [(2, ("93.184.215.14", 80))]
    with FaultProxy() as canary:
        client = connections.Client(guard, user_agent="x")
        with pytest.raises(UnsafeAddressError):
            client.get(f"http://flips.example:{canary.port}/")
        client.close()
        assert canary.seen == []


@pytest.mark.parametrize(
    ("robots", "is_allowed"),
    [
        ([status(404)], True),
        ([status(403)], True),
        ([status(301, {"Location": "/robots.txt"})] * 6, True),
        ([status(200, {}, b"User-agent: *\nDisallow: /p5")], False),
        ([status(200, {}, b"User-agent: *\nDisallow: /\nUser-agent: updraft\nDisallow: /p5")], False),
        ([status(200, {}, b"# " + b"x" * 500_000 + b"\nUser-agent: *\nDisallow: /p5")], False),
        ([status(302, {"Location": "/rules"})], False),
    ],
    ids=["404", "403", "redirects", "rules", "own rules", "500 kB", "moved"],
)
def test_robots_txt_by_its_status(tmp_path, lake, site, robots, is_allowed):
    site.faults["/robots.txt"] = list(robots)
    site.faults["/rules"] = [status(200, {}, b"User-agent: *\nDisallow: /p5")]
    collect(declare(tmp_path / "w", site.address), lake)
    assert ("/p5.html" in site.paths()) == is_allowed


@pytest.mark.parametrize("code", [500, 501, 503])
def test_a_host_whose_rules_cannot_be_had_is_left_alone(tmp_path, lake, site, code):
    site.faults["/robots.txt"] = [status(code)] * 20
    with pytest.raises(SourceUnavailableError, match=r"robots\.txt"):
        collect(declare(tmp_path / "w", site.address), lake)
    assert set(site.paths()) == {"/robots.txt"}


def test_the_delay_of_robots_txt_is_kept(tmp_path, lake, site):
    site.faults["/robots.txt"] = [status(200, {}, b"User-agent: *\nCrawl-delay: 0.2")]
    collect(declare(tmp_path / "w", site.address, concurrency=4), lake)
    asked = [seen.at for seen in site.seen if seen.path != "/robots.txt"]
    assert asked[-1] - asked[0] > 1.5  # eleven times 0.2, less what the first was late


@pytest.mark.parametrize("coding", ["gzip", "deflate", "raw deflate", "two members"])
def test_a_compressed_page_from_a_real_server_is_read(tmp_path, lake, coding):
    """Caddy hands out what lies beside a page ready-made; raw sockets do for what Caddy would not send."""
    raw = zlib.compressobj(wbits=-15)
    bodies = {
        "gzip": gzip.compress(page(0)),
        "deflate": zlib.compress(page(0)),
        "raw deflate": raw.compress(page(0)) + raw.flush(),
        "two members": gzip.compress(page(0)[:100]) + gzip.compress(page(0)[100:]),
    }
    header = "deflate" if "deflate" in coding else "gzip"
    head = hostile.HEAD + f"Content-Encoding: {header}\r\nContent-Length: {len(bodies[coding])}\r\n\r\n".encode()
    with hostile.serving(lambda connection: connection.sendall(head + bodies[coding])) as address:
        assert collect(declare(tmp_path / "w", address, follow=()), lake).counts["bytes"] == len(page(0))


def test_a_compressed_page_that_ends_too_soon_is_not_taken(tmp_path, lake):
    body = gzip.compress(page(0))[:-12]
    head = hostile.HEAD + f"Content-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n".encode()
    with (
        hostile.serving(lambda connection: connection.sendall(head + body)) as address,
        pytest.raises(SourceUnavailableError, match="TruncatedBodyError"),
    ):
        collect(declare(tmp_path / "w", address, follow=()), lake)


def test_what_is_not_compressed_though_it_says_so_is_said(tmp_path, lake, site):
    site.faults["/p0.html"] = [status(200, {"Content-Encoding": "gzip"}, page(0))]
    with pytest.raises(SourceQueryError, match="says that the page is compressed, but it is not"):
        collect(declare(tmp_path / "w", site.address), lake)


@pytest.mark.parametrize(
    ("bound", "error"), [({"max_pages": 5}, "source.max_pages"), ({"max_bytes": 2_000}, "source.max_bytes")]
)
def test_a_crawl_past_its_bounds_is_stopped(tmp_path, lake, site, bound, error):
    with pytest.raises(SourceError, match=error):
        collect(declare(tmp_path / "w", site.address, **bound), lake)
    assert len(site.seen) < N_PAGES


def test_caddy_compresses_nothing_that_we_lose(tmp_path, lake):
    """The same pages from a real server."""
    for number in range(N_PAGES):
        (tmp_path / "site").mkdir(exist_ok=True)
        (tmp_path / "site" / f"p{number}.html").write_bytes(page(number))
    port = free_port()
    with running_site(tmp_path / "site", port=port, state=tmp_path / "caddy"):
        workflow = declare(tmp_path / "w", f"127.0.0.1:{port}")
        assert collect(workflow, lake).counts["pages_new"] == N_PAGES
        assert collect(workflow, lake, token=2).counts["pages_unchanged"] == N_PAGES
