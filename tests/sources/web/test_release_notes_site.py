"""The real pages of the release notes, from a real web server: crawled, archived, and read from the archive alone."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from embedded.postgres import free_port
from embedded.release_notes import connection_uri, install_site, running_site
from include.errors import LayoutChangedError, SourceError, SourceQueryError, SourceUnavailableError, UnsafeAddressError
from include.lake.store import Lake
from include.sources.extraction import collect_partition
from include.sources.kinds import open_rows
from include.sources.web.addresses import Guard, host_of, is_public, plain_address
from include.sources.web.archive import Archive
from include.sources.web.site import read_site
from include.workflow.partitions import window_of_moment, windows_between
from include.workflows.release_notes.workflow import workflow
from tests.fault_proxy import FaultProxy, drip, reset, status

pytestmark = pytest.mark.claim("crawls")

KEY = "2026-10"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_site(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, Path]]:
    """Port of the running site, and its log of requests."""
    port, state = free_port(), tmp_path_factory.mktemp("caddy")
    with running_site(folder, port=port, state=state):
        yield port, state / "access.log"


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    return Lake(uri=str(tmp_path_factory.mktemp("lake")), storage_options={})


@pytest.fixture(scope="module")
def collected(site: tuple[int, Path], lake: Lake):
    return collect_partition(workflow, KEY, connection_uri=connection_uri(site[0]), lake=lake, token=1)


def collect(port: int, lake: Lake, *, token: int = 1, declared=workflow):
    return collect_partition(declared, KEY, connection_uri=connection_uri(port), lake=lake, token=token)


def n_requests(log: Path) -> int:
    return len(log.read_text(encoding="utf-8").splitlines())


def read(lake: Lake, window) -> list[dict]:
    with open_rows(workflow.source, workflow=workflow, window=window, connection_uri=None, lake=lake) as reader:
        return reader.read_all().to_pylist()


def hurried(**changes):
    """The workflow without its politeness towards our own machine."""
    return workflow.model_copy(update={"source": workflow.source.model_copy(update={"delay_seconds": 0.0, **changes})})


def test_every_entry_is_in_one_partition(collected, lake, folder):
    """Counted again by a pattern over the files: entries are list items' captions."""
    expected = sum(
        len(re.findall(r'<p class="caption"', page.read_text(encoding="utf-8")))
        for page in folder.glob("changelog_*.html")
    )
    assert expected > 5_000
    assert collected.counts["pages_new"] >= 16
    everything = read_site(workflow, workflow.source, Archive(lake, workflow.name))
    assert everything.table.num_rows == expected
    months = windows_between("month", workflow.start, datetime.now(UTC))
    assert sum(everything.of_partition(window).num_rows for window in months) == expected


def test_a_year_of_backfill_makes_no_request(collected, lake, site, record_property):
    before = n_requests(site[1])
    rows = [
        row
        for window in windows_between("month", datetime(2015, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, tzinfo=UTC))
        for row in read(lake, window)
    ]
    assert len(rows) > 100
    n_made = n_requests(site[1]) - before
    record_property(
        "figure", f"a backfill of 12 months, {len(rows)} entries: {n_made} requests ({before} when it was collected)"
    )
    assert n_made == 0 < before


def test_control_a_collection_makes_requests_and_an_unchanged_site_lands_nothing(collected, lake, site):
    before = n_requests(site[1])
    again = collect(site[0], lake, token=2)
    assert n_requests(site[1]) > before
    assert (again.is_new, again.reopened, again.counts["pages_new"]) == (False, (), 0)
    assert again.counts["bytes"] == 0


def test_an_entry_without_a_day_is_kept_where_it_arrived(collected, lake):
    """34 entries say 'no release date': they are in the month of their collection, to be quarantined there."""
    window = window_of_moment("month", datetime.now(UTC))
    undated = [row for row in read(lake, window) if row["released_at"] is None]
    assert len(undated) >= 34


def test_a_changed_layout_fails_with_the_page(folder, tmp_path, site):
    broken = tmp_path / "broken"
    shutil.copytree(folder, broken)
    for page in broken.glob("changelog_*.html"):
        page.write_text(
            page.read_text(encoding="utf-8").replace("release-version", "version-release"), encoding="utf-8"
        )
    lake, port = Lake(uri=str(tmp_path / "lake"), storage_options={}), free_port()
    (month,) = windows_between("month", datetime(2015, 1, 1, tzinfo=UTC), datetime(2015, 1, 2, tzinfo=UTC))
    with running_site(broken, port=port, state=tmp_path / "caddy"):
        collect(port, lake)
    with pytest.raises(LayoutChangedError):
        read(lake, month)


def test_nothing_archived_is_said(tmp_path):
    with pytest.raises(SourceQueryError, match="no page of the site is archived yet"):
        read(
            Lake(uri=str(tmp_path), storage_options={}),
            windows_between("month", workflow.start, workflow.start.replace(day=2))[0],
        )


def test_a_site_that_stumbles_is_read_whole(site, tmp_path):
    """Refused for a while, reset, busy: then all is there."""
    lake = Lake(uri=str(tmp_path), storage_options={})
    with FaultProxy(upstream_port=site[0]) as proxy:
        proxy.faults["/index.html"] = [status(503), status(429, {"Retry-After": "1"})]
        proxy.faults["/changelog_20.html"] = [reset(after_bytes=500), status(500)]
        report = collect(proxy.port, lake, declared=hurried())
        times = [seen.at for seen in proxy.seen if seen.path == "/index.html"]
    assert report.counts["pages_new"] >= 16
    assert times[2] - times[1] >= 0.9


@pytest.mark.parametrize(("code", "n_attempts"), [(404, 1), (403, 1), (401, 1)])
def test_what_is_refused_for_good_is_asked_once(tmp_path, code, n_attempts):
    with FaultProxy() as proxy:
        proxy.faults["/index.html"] = [status(code)] * 9
        with pytest.raises(SourceQueryError, match=f"HTTP status {code}"):
            collect(proxy.port, Lake(uri=str(tmp_path), storage_options={}), declared=hurried())
        assert proxy.paths().count("/index.html") == n_attempts


def test_a_drip_ends_at_the_deadline(site, tmp_path):
    slow = hurried(page_timeout_seconds=1.0, deadline=timedelta(seconds=8))
    with FaultProxy(upstream_port=site[0]) as proxy:
        proxy.faults["/index.html"] = [drip(0.2)] * 9
        with pytest.raises(SourceUnavailableError):
            collect(proxy.port, Lake(uri=str(tmp_path), storage_options={}), declared=slow)


def test_robots_txt_is_obeyed(site, tmp_path):
    with FaultProxy(upstream_port=site[0]) as proxy:
        proxy.faults["/robots.txt"] = [
            status(200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /changelog_1\n")
        ]
        collect(proxy.port, Lake(uri=str(tmp_path), storage_options={}), declared=hurried())
        assert proxy.paths()[0] == "/robots.txt"
        assert not [path for path in proxy.paths() if path.startswith("/changelog_1")]
        assert "/changelog_20.html" in proxy.paths()


HOSTILE_HOSTS = [
    *(
        "127.0.0.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "127.1",
        "127.0.1",
        "0",
        "0.0.0.0",
        "localhost",
        "[::1]",
        "[::]",
    ),
    *(
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
    ),
    *(
        "169.254.169.254",
        "2852039166",
        "0xA9FEA9FE",
        "0251.0376.0251.0376",
        "[fd00:ec2::254]",
        "[fe80::1]",
        "100.64.0.1",
        "224.0.0.1",
    ),
    *(
        "240.0.0.1",
        "255.255.255.255",
        "[ff02::1]",
        "[::127.0.0.1]",
        "[fc00::1]",
        "192.0.2.1",
        "198.18.0.1",
        "[2001:db8::1]",
    ),
]


@pytest.mark.parametrize("host", HOSTILE_HOSTS)
def test_no_address_inside_a_network_is_connected_to(host):
    url = plain_address(f"http://{host}:80/")
    name, _, port = host_of(url).rpartition(":")
    with pytest.raises((UnsafeAddressError, SourceUnavailableError)):
        Guard(allowed=frozenset()).addresses_of(name, int(port))


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://example.org/",
        "gopher://example.org/",
        "javascript:alert(1)",
        "http://user:pw@example.org/",
        "http:///x",
        "http://a\\b/",
        "http://[::1",
    ],
)
def test_only_plain_web_addresses_are_taken(url, record_property):
    record_property("figure", f"{len(HOSTILE_HOSTS) + 8} hostile addresses reach nothing")
    with pytest.raises(UnsafeAddressError):
        plain_address(url)


def test_a_redirect_into_the_network_reaches_nothing(site, tmp_path):
    """The canary is another server on this machine: allowed is the site's own port alone."""
    with FaultProxy() as canary, FaultProxy(upstream_port=site[0]) as proxy:
        proxy.faults["/index.html"] = [status(302, {"Location": f"http://127.0.0.1:{canary.port}/secret"})]
        with pytest.raises(SourceError):
            collect(proxy.port, Lake(uri=str(tmp_path), storage_options={}), declared=hurried())
        assert canary.seen == []


def test_a_name_that_turns_to_an_inner_address_is_refused():
    """Of several addresses one is ours: a resolver that mixes or flips gets no connection."""

    def resolve(host, port, **_):
        return [(2, 1, 6, "", ("93.184.215.14", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    with pytest.raises(UnsafeAddressError, match="resolves to an address that is not public"):
        Guard(allowed=frozenset(), resolve=resolve).addresses_of("example.org", 80)


def test_control_public_addresses_pass():
    assert is_public("93.184.215.14")
    assert is_public("2606:2800:21f:cb07:6820:80da:af6b:8b2c")
