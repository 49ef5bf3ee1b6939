"""
10,000 bad entries of eleven kinds in release notes: each is quarantined for its reasons, and a mended suite heals its
own.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import md5
from pathlib import Path

import pytest

from embedded.postgres import free_port
from embedded.release_notes import connection_uri, running_site
from include.lake.fencing import new_token
from include.lake.store import Lake
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow import Quality, Workflow
from include.workflows.release_notes.workflow import workflow
from tests.injected import Expected, assert_accounted

pytestmark = pytest.mark.claim("accounts")

MONTHS = [f"2015-{month:02}" for month in range(1, 13)]
N_GOOD, N_FRESH = 1_200, 50  # the latter of this month: one of bad entries only would be stopped
LACKS_DAY = ("released_at: event time is missing", "released_at: known time is missing")
REGEX, LENGTHS = "expect_column_values_to_match_regex", "expect_column_value_lengths_to_be_between"
RELEASE = f"release: {REGEX} (no number of a release)"
SECTION = f"section: {REGEX} (no section of the release notes)"
ENTRY = f"entry: {REGEX} (the anchor of an entry is a digest)"
NO_TEXT = "text: expect_column_values_to_not_be_null (an entry without a word)"
# By construction: how many, what is changed in the page, and all reasons for which such an entry is refused.
KINDS: dict[str, tuple[int, dict[str, str], tuple[str, ...]]] = {
    "no day": (500, {"released": ""}, ("source: released_at: is missing", *LACKS_DAY)),
    "no such day": (500, {"released": "Released: Smarch 1, 2015"}, ("source: released_at: is no time", *LACKS_DAY)),
    "before the first release": (
        300,
        {"released": "Released: March 1, 1999"},
        ("source: released_at: lies before the workflow's start",),
    ),
    "no number of a release": (1_200, {"release": "next"}, (RELEASE,)),
    "no digest": (1_200, {"id": "change-x{number}"}, (ENTRY,)),
    "no anchor": (1_200, {"id": ""}, ("source: entry: is missing", "entry: key is missing")),
    "no word": (1_200, {"text": ""}, (NO_TEXT,)),
    "two letters": (1_200, {"text": "{short}"}, (f"text: {LENGTHS} (an entry is a sentence at least, and no book)",)),
    "no section": (1_200, {"section": "ORM!"}, (SECTION,)),
    "unreadable bytes": (1_200, {"text": "M\udcffller {number}"}, ("source: text: is no text", NO_TEXT)),
    "too many references": (
        300,
        {"links": "101"},
        ("n_references: expect_column_values_to_be_between (references of an entry)",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Notes:
    """The ingested site, its workflow, the partitions, and what has to have become of its entries."""

    workflow: Workflow
    lake: Lake
    keys: list[str]
    expected: Expected
    healed: set[tuple[str | None, str | None]]  # markers of those without a section


def release_of(number: int, changes: dict[str, str]) -> tuple[str, tuple[str | None, str | None]]:
    """A release of one entry, as the site writes it, and the entry's marker: its digest and its text."""
    month = datetime(2015, number % len(MONTHS) + 1, 5)
    short = f"{number % 26 + 97:c}{number // 26 % 26 + 97:c}"
    parts = {
        "released": f"Released: {month:%B} 5, 2015", "release": f"1.0.{number}", "section": "orm", "text": "Something "
f"{number} is mended.",
        "id": f"change-{md5(str(number).encode()).hexdigest()}", "links": "1",
        **{name: text.format(number=number, short=short) for name, text in changes.items()},
    }  # fmt: skip
    links = "<a class=external href=x>1</a>" * int(parts["links"])
    html = (
        "<section><h2 "
        f'class="release-version">{parts["release"]}</h2>{parts["released"]}<section><h3>{parts["section"]}</h3><div>'
        '<p class="caption"><strong>[bug]</strong><span class="target" '
        f'id="{parts["id"]}"></span></p><p>{parts["text"]}</p>{links}'
        "</div></section></section>"
    )
    text = None if "\udcff" in parts["text"] else parts["text"] or None
    return html, (parts["id"].removeprefix("change-") or None, text)


def write_site(folder: Path, arrival: datetime) -> tuple[Expected, set[tuple[str | None, str | None]]]:
    releases, reasons, published = [], {}, []
    fresh = {"released": f"Released: {arrival:%B} 1, {arrival:%Y}"}
    for number in range(N_GOOD + N_FRESH):
        html, marker = release_of(len(releases), fresh if number < N_FRESH else {})
        releases.append(html)
        published.append(marker)
    for n_entries, changes, why in KINDS.values():
        for _ in range(n_entries):
            html, marker = release_of(len(releases), changes)
            releases.append(html)
            assert marker not in reasons
            reasons[marker] = why
    for page in range(len(MONTHS)):
        body = f"<html><body>{''.join(releases[page :: len(MONTHS)])}</body></html>"
        (folder / f"changelog_{page}.html").write_bytes(body.encode("utf-8", "surrogateescape"))
    links = "".join(f"<a href=changelog_{page}.html>{page}</a>" for page in range(len(MONTHS)))
    (folder / "index.html").write_text(f"<html><body>{links}</body></html>", encoding="utf-8")
    expected = Expected(n_in=len(releases), n_published=len(published), reasons_by_row=reasons, published=published)
    return expected, {marker for marker, why in reasons.items() if why == (SECTION,)}


def month_with_a_minute_left() -> datetime:
    """
    A moment of the month, by UTC: an entry without a day belongs to that of its retrieval, which has to be one that is
    ingested here.
    """
    while (datetime.now(UTC) + timedelta(minutes=1)).month != datetime.now(UTC).month:
        time.sleep(1)
    return datetime.now(UTC)


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Notes]:
    folder = tmp_path_factory.mktemp("notes")
    (folder / "site").mkdir()
    arrival = month_with_a_minute_left()
    expected, healed = write_site(folder / "site", arrival)
    tolerant = workflow.model_copy(update={"quality": Quality(max_quarantined=None)})
    lake, port, keys = Lake(uri=str(folder / "lake")), free_port(), [*MONTHS, f"{arrival:%Y-%m}"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        with running_site(folder / "site", port=port, state=folder / "caddy"):
            collect_partition(tolerant, keys[-1], connection_uri=connection_uri(port), lake=lake, token=1)
        for key in keys:
            ingest(tolerant, key, connection_uri=None, lake=lake)
        yield Notes(workflow=tolerant, lake=lake, keys=keys, expected=expected, healed=healed)


def test_each_of_ten_thousand_bad_entries_is_quarantined_for_its_reasons(notes):
    assert (notes.expected.n_quarantined, notes.expected.n_kinds) == (10_000, len(KINDS))
    assert_accounted(notes.lake, "release_notes", notes.expected, marker_column=("entry", "text"))


def test_a_replay_by_a_mended_suite_heals_exactly_its_entries_and_a_second_one_nothing(notes, tmp_path):
    shutil.copytree(workflow.folder, tmp_path / "w")
    suite = json.loads(workflow.expectations_path.read_text(encoding="utf-8"))
    for rule in suite["expectations"]:
        if rule["kwargs"].get("column") == "section":
            rule["kwargs"]["regex"] = "^[A-Za-z! ]+$"
    (tmp_path / "w" / "expectations.json").write_text(json.dumps(suite), encoding="utf-8")
    mended = notes.workflow.model_copy(update={"folder": tmp_path / "w"})
    expected = notes.expected
    after = replace(
        expected,
        n_published=expected.n_published + len(notes.healed),
        reasons_by_row={marker: why for marker, why in expected.reasons_by_row.items() if marker not in notes.healed},
        published=[*(expected.published or ()), *notes.healed],
    )
    for n_healed in (1_200, 0):
        reports = [
            replay_partition(mended, key, lake=notes.lake, token=new_token(), run_id="r", try_id=str(n_healed))
            for key in notes.keys
        ]
        assert sum(report.rows_healed for report in reports) == n_healed
        assert_accounted(notes.lake, "release_notes", after, marker_column=("entry", "text"))
