"""The pages about files and surveys do what they say."""

from __future__ import annotations

import os
import re
import runpy
from datetime import UTC, datetime
from pathlib import Path

import pytest

from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.rehearsal import ingest
from include.settings import PROJECT_ROOT
from include.workflow import Quality, Workflow
from tests.docs.pages import type_in
from tests.sources.survey.people import leaks

KEY = "2026-01-05"
SUITE = (
    '{"name": "page", "expectations": [{"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}]}'
)


@pytest.fixture
def lake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Lake:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PSEUDONYM_KEY", "a key of the tests that is longer than thirty-two bytes")
    return Lake(uri=str(tmp_path / "home" / "lake"))


def typed_in(page: str, name: str, data: str, folder: Path) -> Workflow:
    """Type in a page's files, with its data below `folder` in the place of the root, at rest."""
    type_in(page, folder)
    home = folder / "include" / "workflows" / name
    (home / "expectations.json").write_text(SUITE)
    (home / "workflow.py").write_text((home / "workflow.py").read_text().replace(f'"{data}', f'"{folder}{data}'))
    moment = datetime(2026, 1, 5, 12, tzinfo=UTC).timestamp()
    for file in Path(f"{folder}{data}").rglob("*.csv"):
        os.utime(file, (moment, moment))
    workflow: Workflow = runpy.run_path(str(home / "workflow.py"))["workflow"]
    return workflow.model_copy(update={"quality": Quality(max_quarantined=None)})


def test_the_page_of_files(tmp_path, lake):
    workflow = typed_in("sources/files.md", "sales", "/data", tmp_path)
    ingest(workflow, KEY, connection_uri=None, lake=lake)
    page = (PROJECT_ROOT / "docs" / "sources" / "files.md").read_text(encoding="utf-8")
    told = {int(number): reason for number, reason in re.findall(r"^\| (\d) \| `(source: .*)` \|$", page, re.MULTILINE)}
    rows = {
        row["source_position"] + 1: row["reasons"] for row in read_partition(lake, "sales/quarantine", KEY).to_pylist()
    }
    assert set(rows) == set(told) == {2, 3, 4, 5, 6}
    assert all(told[number] in reasons for number, reasons in rows.items())
    published = read_partition(lake, "sales/validated", KEY).to_pylist()
    assert [(row["sale_id"], row["country"]) for row in published] == [(1, "NO"), (7, None), (8, "NO")]
    letters = read_partition(lake, "sales/dead_letters", KEY).to_pylist()
    assert [letter["bytes"].split(b",")[0] for letter in letters] == [b"2", b"3", b"00004", b"5"]


def test_the_page_of_surveys(tmp_path, lake):
    workflow = typed_in("sources/surveys.md", "customer_survey", "/vault", tmp_path)
    record = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (record.rows_in, record.rows_published, record.rows_quarantined) == (6, 4, 2)
    published = read_partition(lake, "customer_survey/validated", KEY).to_pylist()
    assert {(row["age"], row["region"], len(row["respondent"])) for row in published} == {(30, "north", 64)}
    assert "comment" not in published[0]
    quarantined = read_partition(lake, "customer_survey/quarantine", KEY).to_pylist()
    assert [next(reason for reason in row["reasons"] if "privacy" in reason) for row in quarantined] == [
        "source: privacy: no consent",
        "source: privacy: fewer than 4 respondents share its quasi-identifiers",
    ]
    assert {row[name] for row in quarantined for name in ("respondent", "age", "region", "satisfied")} == {None}
    assert leaks([tmp_path / "home"], ["ada@example.org", "call me on 0171 555"]) == []
