"""
10,000 bad entries of ten kinds among 2,000 good ones: each is quarantined with its reasons; a fix heals its own without
a request.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from include.lake.fencing import new_token
from include.lake.store import Lake
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow import Features, Partition, Quality, Target, WebSource, Workflow
from tests.factories import declare_workflow
from tests.fault_proxy import FaultProxy, status
from tests.injected import Expected, assert_accounted, latest_lines

pytestmark = pytest.mark.claim("accounts")

N_OF_A_KIND, N_PAGES = 1_000, 12
PAST = "2026-01-05"
GOOD = {"b": "A thing", "i": PAST, "u": "9.5", "s": "3", "em": "true", "code": "north"}
NO_DAY = ("day: event time is missing", "day: known time is missing")
# By construction: what stands in an entry, and all reasons for which it is refused.
KINDS: dict[str, tuple[dict[str, str], tuple[str, ...]]] = {
    "no day": ({"i": ""}, ("source: day: is missing", *NO_DAY)),
    "no such day": ({"i": "2026-02-30"}, ("source: day: is no time", *NO_DAY)),
    "too early": ({"i": "1999-12-31"}, ("source: day: lies before the workflow's start",)),
    "from the future": ({"i": "2999-01-01"}, ("source: day: lies after the row's arrival",)),
    "unreadable bytes": ({"b": "M\udcffller"}, ("source: name: is no text",)),
    "no number": ({"u": "1,5"}, ("source: price: is no number",)),
    "no integer": ({"s": "3.5"}, ("source: count: is no integer",)),
    "no boolean": ({"em": "maybe"}, ("source: flag: is no boolean",)),
    "unknown depot": ({"code": "west"}, ("depot: expect_column_values_to_be_in_set",)),
    "price elsewhere": ({"u": "", "q": "7.5"}, ("source: price: is missing",)),
}


def suite(*depots: str) -> dict:
    in_set = {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "depot", "value_set": list(depots)}}
    return {"name": "things", "expectations": [in_set], "meta": {}}


def entry(number: int, changes: dict[str, str]) -> str:
    parts = "".join(f"<{tag}>{text}</{tag}>" for tag, text in {**GOOD, **changes}.items())
    return f"<p class=e id=r{number}>{parts}</p>"


@dataclass(frozen=True, kw_only=True)
class Site:
    """The running site, the workflow that was ingested from it, and what has to have become of its entries."""

    proxy: FaultProxy
    today: str
    workflow: Workflow
    lake: Lake
    expected: Expected

    def without(self, kind: str) -> Expected:
        """What is to be once a kind is healed."""
        reasons = {ref: found for ref, found in self.expected.reasons_by_row.items() if found != KINDS[kind][1]}
        return replace(
            self.expected, reasons_by_row=reasons, n_published=self.expected.n_published + N_OF_A_KIND, published=None
        )


def declare(
    folder: Path, address: str, *, price: str = "u::text", depots: tuple[str, ...] = ("north", "south")
) -> Workflow:
    source = WebSource(
        start=tuple(f"http://{address}/{number}.html" for number in range(N_PAGES)),
        item="p.e",
        fields={
            **{"ref": "@id", "name": "b::text", "day": "i::text", "price": price},
            **{"count": "s::text", "flag": "em::text", "depot": "code::text"},
        },
        types={"price": "number", "count": "integer", "flag": "boolean"},
        event_time="day",
        known_time="day",
        key=("ref",),
        contact="me@example.org",
        delay_seconds=0,
        allow_private_hosts=(address,),
    )
    return declare_workflow(
        folder,
        suite=suite(*depots),
        name="things",
        source=source,
        features=Features(),
        target=Target(column="flag"),
        partition=Partition(every="day", start=date(2026, 1, 1)),
        quality=Quality(max_quarantined=None),
    )


def day_with_a_minute_left() -> str:
    """
    Today, by UTC: an entry without a day belongs to that of its retrieval, which has to be the one that is ingested
    here.
    """
    while (datetime.now(UTC) + timedelta(minutes=1)).date() != datetime.now(UTC).date():
        time.sleep(1)
    return datetime.now(UTC).date().isoformat()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    entries, reasons = [], {}
    today = day_with_a_minute_left()
    for number in range(2 * N_OF_A_KIND):
        entries.append(entry(number, {"i": today if number % 2 else PAST}))
    for changes, why in KINDS.values():
        for _ in range(N_OF_A_KIND):
            reasons[f"r{len(entries)}"] = why
            entries.append(entry(len(entries), changes))
    published = {f"r{number}" for number in range(2 * N_OF_A_KIND)}
    expected = Expected(n_in=len(entries), n_published=len(published), reasons_by_row=reasons, published=published)
    assert (expected.n_quarantined, expected.n_kinds) == (10_000, 10)
    folder = tmp_path_factory.mktemp("things")
    with FaultProxy() as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        for number in range(N_PAGES):
            body = f"<html><body>{''.join(entries[number::N_PAGES])}</body></html>".encode("utf-8", "surrogateescape")
            proxy.faults[f"/{number}.html"] = [status(200, {"Content-Type": "text/html; charset=utf-8"}, body)]
        workflow, lake = declare(folder / "w", proxy.address), Lake(uri=str(folder / "lake"), storage_options={})
        collect_partition(workflow, today, connection_uri=None, lake=lake, token=1)
        for day in (PAST, today):
            ingest(workflow, day, connection_uri=None, lake=lake)
        yield Site(proxy=proxy, today=today, workflow=workflow, lake=lake, expected=expected)


def test_each_bad_entry_is_quarantined_with_its_reasons(site):
    assert_accounted(site.lake, "things", site.expected, marker_column="ref")


def test_a_mended_suite_and_a_mended_selector_each_heal_their_own_without_a_request(site, tmp_path):
    """Twice with the same result; in one test, because the second begins where the first ends."""
    n_requests, days = len(site.proxy.seen), (PAST, site.today)
    mended = declare(tmp_path / "w", site.proxy.address, depots=("north", "south", "west"))
    for times in (1, 2):
        reports = [
            replay_partition(mended, day, lake=site.lake, token=new_token(), run_id="r", try_id=str(times))
            for day in days
        ]
        assert sum(report.rows_healed for report in reports) == (N_OF_A_KIND if times == 1 else 0)
        assert_accounted(site.lake, "things", site.without("unknown depot"), marker_column="ref")

    reread = declare(
        tmp_path / "w", site.proxy.address, price="u:not(:empty), q::text", depots=("north", "south", "west")
    )
    before = site.without("unknown depot")
    healed = replace(
        before,
        reasons_by_row={ref: why for ref, why in before.reasons_by_row.items() if why != KINDS["price elsewhere"][1]},
        n_published=before.n_published + N_OF_A_KIND,
    )
    for _ in range(2):
        for day in days:
            ingest(reread, day, connection_uri=None, lake=site.lake)
        assert_accounted(site.lake, "things", healed, marker_column="ref")
    assert len(site.proxy.seen) == n_requests == N_PAGES + 1
    assert Counter(line["rows_published"] > 0 for line in latest_lines(site.lake, "things").values()) == {True: 2}
