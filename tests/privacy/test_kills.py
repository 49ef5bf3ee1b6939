"""An erasure that is killed, at each named point that it passes, and run again: as if it had never been killed."""

from __future__ import annotations

import shutil
from collections import Counter
from pathlib import Path

import pytest

from include.lake.erasures import read_erasures
from include.lake.ledger import latest_run
from include.lake.partitions import read_partition
from include.lake.store import Lake
from tests.crashes import KILLED
from tests.killing import forge
from tests.privacy.panel import pseudonym
from tests.sources.survey.people import KEY, SECRET, leaks

pytestmark = pytest.mark.claim("kills")

TABLES = ("raw", "validated", "quarantine")
POINTS = {"append_batch", "append_ledger", "rewrite_partition", "forget"}


def content(lake: Lake) -> dict[str, Counter[str]]:
    """Each table's rows, without the run that quarantined them."""
    found = {}
    for name in TABLES:
        rows = read_partition(lake, f"panel/{name}", KEY).to_pylist()
        found[name] = Counter(
            repr(sorted((key, value) for key, value in row.items() if key != "run_id")) for row in rows
        )
    return found


def check(lake: Lake, expected: dict[str, Counter[str]]) -> None:
    assert leaks([Path(lake.uri)], [pseudonym()]) == []
    assert content(lake) == expected
    line = latest_run(lake, "panel", KEY)
    assert line is not None
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (47, 47, 0, 0)
    assert {entry["action"] for entry in read_erasures(lake, workflow="panel").to_pylist()} == {"requested", "erased"}


def test_an_erasure_killed_at_every_point_leaves_nothing_of_the_respondent_and_all_of_the_others(
    template: Path, tmp_path: Path
) -> None:
    """
    Two tries in a row are killed, the second a point further on, then one is let through; until there is no further
    point.
    """
    arguments = {"folder": str(tmp_path), "pseudonym": pseudonym()}

    def copied(name: str) -> Lake:
        shutil.copytree(template / "lake", tmp_path / name)
        return Lake(uri=str(tmp_path / name))

    environment = {"UPDRAFT_HOME": str(tmp_path / "home"), "UPDRAFT_PSEUDONYM_KEY": SECRET}
    with forge("tests.privacy.kill_jobs", environment=environment) as run:
        never_killed = copied("never")
        assert run("erase_one", {**arguments, "lake": never_killed.uri}).status == 0
        expected = content(never_killed)
        assert {name: rows.total() for name, rows in expected.items()} == {"raw": 47, "validated": 47, "quarantine": 0}
        check(never_killed, expected)

        killed_at: list[str] = []
        first, is_over = 1, False
        while not is_over:
            lake = copied(f"killed-{first}")
            for n_point in (first, first + 1):
                tried = run("erase_one", {**arguments, "lake": lake.uri}, kill_at=n_point)
                assert tried.status in (0, KILLED)
                if tried.status == 0:
                    is_over = n_point == first
                    break
                killed_at.append(tried.passed[-1])
            assert run("erase_one", {**arguments, "lake": lake.uri}).status == 0
            check(lake, expected)
            first += 1
    assert len(killed_at) >= 30
    assert {name.partition(".")[0] for name in killed_at} == POINTS
