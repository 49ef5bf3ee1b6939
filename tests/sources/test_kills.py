"""
Killed at every crash point of an ingest of files or answers, and run again: nothing is lost, doubled or
left half done.
"""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from include.lake.store import Lake
from tests.crashes import KILLED
from tests.injected import latest_lines
from tests.killing import Runner, forge
from tests.sources.survey.people import KEY, SECRET, answer, csv_of

pytestmark = [pytest.mark.claim("kills"), pytest.mark.timeout(900)]
TABLES = ("raw", "validated", "quarantine", "dead_letters")
EMAIL = "Cassiopeia.Canary@canary-mail.example"
POINTS = {"keep_dead_letters", "replace_partition", "publish", "append_ledger"}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    """One interpreter for all kills."""
    home = tmp_path_factory.mktemp("home")
    with forge(
        "tests.sources.kill_jobs", environment={"UPDRAFT_HOME": str(home), "UPDRAFT_PSEUDONYM_KEY": SECRET}
    ) as runner:
        yield runner


def write(folder: Path, *, satisfaction: int) -> None:
    """Twenty good answers, one twice, one that breaks a rule, a line that is none, and a file that was cut."""
    vault = folder / "vault"
    vault.mkdir(exist_ok=True)
    good = [answer(i, satisfaction=satisfaction) for i in range(20)]
    text = csv_of(
        [*good, good[3], answer(5, email=EMAIL, satisfaction=9), answer(4, email=EMAIL)], broken=["no record"]
    )
    (vault / f"{KEY}-a.csv").write_text(text)
    (vault / f"{KEY}-b.csv").write_text(text[: len(text) // 2])


def content(lake: Path) -> dict[str, Counter[str]]:
    """Each table's rows, read from its live files with pyarrow alone; without the run that quarantined them."""
    found = {}
    for name in TABLES:
        table = lake / "panel" / name
        files = pa.table(DeltaTable(str(table)).get_add_actions(flatten=True))["path"].to_pylist()
        rows = [row for file in files for row in pq.ParquetFile(table / file).read().to_pylist()]
        found[name] = Counter(
            repr(sorted((key, value) for key, value in row.items() if key != "run_id")) for row in rows
        )
    return found


def check(lake: Path, expected: dict[str, Counter[str]], *, after: str) -> None:
    assert content(lake) == expected, after
    [line] = latest_lines(Lake(uri=str(lake)), "panel").values()
    assert [line[name] for name in ("rows_in", "rows_published", "rows_quarantined", "rows_duplicate")] == [
        24,
        21,
        2,
        1,
    ], after


@pytest.mark.parametrize("kind", ["files", "survey"])
def test_an_ingest_killed_at_every_point_ends_as_if_it_never_was(
    run: Runner, tmp_path: Path, kind: str, record_property: Callable[[str, object], None]
) -> None:
    """
    On an empty lake, over an older state of the partition, and where nothing is to be written any more.

    Two tries in a row are killed, the second a point further on, then one is let through; until there is no further
    point.
    """
    lakes = {name: tmp_path / name for name in ("empty", "older", "same")}
    write(tmp_path, satisfaction=2)
    job = {"kind": kind, "folder": str(tmp_path), "key": KEY}
    assert run("ingest_one", {**job, "lake": str(lakes["older"])}).status == 0
    write(tmp_path, satisfaction=3)
    assert run("ingest_one", {**job, "lake": str(lakes["same"])}).status == 0
    expected = content(lakes["same"])
    assert {name: rows.total() for name, rows in expected.items()} == {
        "raw": 24,
        "validated": 21,
        "quarantine": 2,
        "dead_letters": 2,
    }

    killed_at: list[str] = []
    for start, template in lakes.items():
        is_over, first = False, 1
        while not is_over:
            lake = tmp_path / "lakes" / f"{start}{first}"
            if template.exists():
                shutil.copytree(template, lake)
            for n_point in range(first, first + 2):
                tried = run("ingest_one", {**job, "lake": str(lake)}, kill_at=n_point)
                assert tried.status in (0, KILLED)
                killed_at += [tried.passed[-1]] if tried.status == KILLED else []
                is_over = n_point == first and tried.status == 0
                if tried.status == 0:
                    break
            assert is_over or run("ingest_one", {**job, "lake": str(lake)}).status == 0
            check(lake, expected, after=f"{start}, {first}, last at {killed_at[-1]}")
            shutil.rmtree(lake)
            first += 1 if start == "empty" else 2
    kills = Counter(name.partition(".")[0] for name in killed_at)
    record_property(
        "figure",
        f"ingest of {kind}: {len(killed_at)} kills ({', '.join(f'{n} in {point}' for point, n in kills.items())})",
    )
    assert len(killed_at) >= 50
    assert {name.partition(".")[0] for name in killed_at} == POINTS
