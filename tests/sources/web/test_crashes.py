"""
A collection that is killed, at each named point and at moments of chance: nothing is lost or doubled, and no page is
asked for twice.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from include.lake.store import Lake
from tests.crashes import PROJECT_ROOT
from tests.fault_proxy import FaultProxy
from tests.sources.web.small_site import N_PAGES, NAMES, rows_of, serve

pytestmark = pytest.mark.claim("kills")

PAGES = [f"/p{number}.html" for number in range(N_PAGES)]
EACH_ONCE = Counter(["/robots.txt", *PAGES])


@pytest.fixture
def site() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        serve(proxy)
        yield proxy


@pytest.fixture(scope="module")
def killer() -> Iterator[subprocess.Popen[str]]:
    """The process that forks: one for all tests of this module."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.sources.web.killing"],
        cwd=PROJECT_ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process


@pytest.fixture
def kill(killer: subprocess.Popen[str], site: FaultProxy, tmp_path: Path) -> Callable[..., tuple[Lake, int]]:
    """Kill at a point, so many times or until it is passed, then finish; gives the lake, and how many were killed."""

    def run(*, crash_at: str | None, rounds: int, is_forgetful: bool = False) -> tuple[Lake, int]:
        lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
        arguments = {"uri": lake.uri, "folder": str(tmp_path / "w"), "address": site.address}
        assert killer.stdin is not None
        assert killer.stdout is not None
        killer.stdin.write(
            json.dumps({**arguments, "crash_at": crash_at, "rounds": rounds, "is_forgetful": is_forgetful}) + "\n"
        )
        killer.stdin.flush()
        return lake, int(killer.stdout.readline())

    return run


def assert_whole(lake: Lake) -> None:
    """Read from the tables' files: each row once, each response once."""
    assert Counter(rows_of(lake, "parcels/raw", "name")) == Counter(NAMES)
    assert len([role for role in rows_of(lake, "parcels/responses", "role") if role == "page"]) == N_PAGES
    assert len(set(rows_of(lake, "parcels/responses", "url"))) == N_PAGES + 1


@pytest.mark.parametrize(
    ("crash_at", "rounds", "n_killed"),
    [
        ("crawl.after_note", 30, N_PAGES + 1),  # after each page, and after robots.txt: each try comes one further
        ("collect.before_land", 3, 3),
        ("append_batch.before_commit", 3, 3),
        ("append_batch.after_commit", 3, 1),  # what has landed is not landed again: the point is passed
        ("collect.after_land", 3, 1),
        ("page_rows.before_put", 3, 3),
        ("page_rows.after_put", 3, 1),  # what is kept is not worked out again
        ("replace_partition.before_write", 3, 3),
        ("replace_partition.before_commit", 3, 3),
        ("replace_partition.after_commit", 3, 2),  # one a day
    ],
)
def test_no_page_is_asked_for_twice(site, kill, crash_at, rounds, n_killed):
    """
    After the landing its pages are asked for conditionally, by a collection that comes after one that
    had told of it.
    """
    lake, found = kill(crash_at=crash_at, rounds=rounds)
    assert found == n_killed
    assert_whole(lake)
    first = [seen for seen in site.seen if "if-none-match" not in seen.headers]
    assert Counter(seen.path for seen in first) == EACH_ONCE


def test_a_kill_before_the_note_asks_for_one_page_again(site, kill):
    lake, n_killed = kill(crash_at="crawl.after_body", rounds=5)
    assert n_killed == 5
    assert_whole(lake)
    assert Counter(site.paths()) == EACH_ONCE + Counter({"/p0.html": 5})


def test_kills_at_moments_of_chance_lose_and_double_nothing(site, kill):
    lake, n_killed = kill(crash_at=None, rounds=24)
    assert n_killed > 0
    assert_whole(lake)


def test_control_a_crawler_without_a_journal_asks_for_everything_again(site, kill):
    _, n_killed = kill(crash_at="collect.before_land", rounds=3, is_forgetful=True)
    assert n_killed == 3
    assert Counter(site.paths()) == Counter({path: 4 for path in EACH_ONCE})
