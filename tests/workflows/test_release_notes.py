"""The flagship of web pages: a year of releases, from the site through validation into the ledger."""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest

from embedded.postgres import free_port
from embedded.release_notes import connection_uri, install_site, running_site
from include.lake.ledger import RUNS, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake, open_lake
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow.partitions import windows_between
from include.workflows.release_notes.workflow import workflow

pytestmark = pytest.mark.claim("flagships")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return install_site(tmp_path_factory.mktemp("site"))


@pytest.fixture
def lake(pages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    """A lake in which the whole site has landed; the site is gone."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    lake, port = open_lake(), free_port()
    with running_site(pages, port=port, state=tmp_path / "caddy"):
        collect_partition(workflow, "2026-10", connection_uri=connection_uri(port), lake=lake, token=1)
    return lake


def months_of_2015(folder: Path) -> Counter[str]:
    """Entries a month, by patterns over the files: each belongs to the release whose heading came last."""
    found: Counter[str] = Counter()
    for page in folder.glob("changelog_*.html"):
        parts = re.split(r'<h2 class="release-version"', page.read_text(encoding="utf-8"))[1:]
        for part in parts:
            released = re.search(r"Released:\s*(\w+) \d+, 2015", part)
            if released:
                found[f"{datetime.strptime(released[1], '%B'):2015-%m}"] += len(re.findall(r'<p class="caption"', part))
    return found


def test_a_year_of_releases_is_accounted_for_entry_by_entry(lake, pages):
    expected = months_of_2015(pages)
    assert sum(expected.values()) > 200
    months = windows_between("month", datetime(2015, 1, 1, tzinfo=UTC), datetime(2016, 1, 1, tzinfo=UTC))
    assert len(expected) < len(months) == 12, "a month without a release is published as one"
    for window in months:
        line = ingest(workflow, window.key, connection_uri=None, lake=lake)
        assert line.rows_in == line.rows_published + line.rows_quarantined + line.rows_duplicate == expected[window.key]
    assert set(read_ledger(lake, RUNS, workflow="release_notes")["partition_key"].to_pylist()) == {
        window.key for window in months
    }
    bugs = read_partition(lake, "release_notes/validated", max(expected, key=lambda key: expected[key]))[
        "is_bugfix"
    ].to_pylist()
    assert 0 < sum(bugs) < len(bugs)
