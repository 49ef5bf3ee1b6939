"""Rows older than declared go from every table, every version and the splits; younger ones stay."""

from __future__ import annotations

import shutil
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import write_deltalake

from include.errors import DeclarationError, PrivacyError
from include.lake.files import list_files
from include.lake.ledger import latest_run
from include.lake.partitions import list_partitions, read_partition
from include.lake.store import Lake, table_uri
from include.privacy.retention import enforce_retention
from include.privacy.rules import survey_of
from include.rehearsal import ingest
from include.serving.prediction_log import PREDICTIONS_SCHEMA
from include.workflow import SurveySource
from tests.factories import declare_workflow
from tests.privacy.test_erasure import author
from tests.sources.survey.people import (
    DAY,
    KEY,
    SECRET,
    answer,
    declare,
    files_of_answers,
    inner,
    leaks,
    policy,
    write_answers,
)

OLD_DAY = DAY - timedelta(days=300)
OLD_KEY = f"{OLD_DAY:%Y-%m-%d}"
# answers that occur nowhere else: one of a published row, one of a quarantined row
MARKS = ["4444000111", "4444000222"]


def answers_of(day, *, first: int = 0) -> list[dict[str, object]]:
    times = {name: f"{day:%Y-%m-%d} {hour}:00:00" for name, hour in (("answered_at", 10), ("received_at", 11))}
    return [answer(first + i, **times) for i in range(40)]


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Two days; the older one in two versions."""
    folder = tmp_path_factory.mktemp("template")
    lake = Lake(uri=str(folder / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder))
        patch.setenv("UPDRAFT_PSEUDONYM_KEY", SECRET)
        ingest_two_days(declare(folder / "panel"), folder, lake)
    return folder


@pytest.fixture
def ingested(template, lake):
    shutil.copytree(template / "lake", lake.uri)


def ingest_two_days(panel, folder, lake):
    old = answers_of(OLD_DAY, first=100)
    old[0]["answer_id"], old[1]["answer_id"], old[1]["satisfaction"] = *map(int, MARKS), 9
    for key, rows in ((OLD_KEY, old[:-1]), (OLD_KEY, old), (KEY, answers_of(DAY))):
        ingest(panel, key, connection_uri=write_answers(folder / "answers.db", rows), lake=lake)
    predicted = [{"request_id": "r", "row_index": 0, "inputs": "{}", "label": True, "score": 0.5, "model_version": "1"}]
    for day, key in ((OLD_DAY, OLD_KEY), (DAY, KEY)):
        rows = [{**row, "predicted_at": day + timedelta(hours=12), "partition_key": key} for row in predicted]
        table = pa.Table.from_pylist(rows, schema=PREDICTIONS_SCHEMA)
        write_deltalake(table_uri(lake, "panel/predictions"), table, mode="append", partition_by="partition_key")


def marks(lake) -> Counter[str]:
    """How many numbers of each mark are in the decoded values of the lake's files."""
    return Counter(hit.rpartition(": ")[2] for hit in leaks([Path(lake.uri)], MARKS))


@pytest.mark.usefixtures("ingested")
def test_nothing_goes_before_its_time(panel, lake):
    now = OLD_DAY + timedelta(days=365)
    assert set(marks(lake)) == set(MARKS)
    report = enforce_retention(panel, lake=lake, now=now, by=author())
    assert (report.rows_before, report.files_removed) == ({}, 0)
    assert latest_run(lake, "panel", OLD_KEY).run_id == "rehearsal"


@pytest.mark.usefixtures("ingested")
def test_a_partition_that_is_over_goes_from_everywhere(panel, lake):
    now = OLD_DAY + timedelta(days=366, seconds=1)
    kept = {name: read_partition(lake, f"panel/{name}", KEY) for name in ("raw", "validated", "predictions")}
    before = {file: file.read_bytes() for file in Path(lake.uri).rglob("*") if file.is_file()}
    dry = enforce_retention(panel, lake=lake, now=now, by=author(), dry_run=True)
    assert {file: file.read_bytes() for file in Path(lake.uri).rglob("*") if file.is_file()} == before

    report = enforce_retention(panel, lake=lake, now=now, by=author())
    expected = {"panel/predictions": 1, "panel/quarantine": 1, "panel/raw": 40, "panel/validated": 39}
    assert dry.rows_before == report.rows_before == expected
    assert set(report.rows_after.values()) == {0}
    assert marks(lake) == Counter()
    assert {file.split("/")[2] for file in list_files(lake, "panel/_splits")} == {KEY}
    for name, table in kept.items():
        assert list_partitions(lake, f"panel/{name}") == [KEY]
        assert read_partition(lake, f"panel/{name}", KEY).equals(table)
    line = latest_run(lake, "panel", OLD_KEY)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (0, 0, 0, 0)
    assert enforce_retention(panel, lake=lake, now=now, by=author()).rows_before == {}


def test_within_a_partition_rows_go_one_by_one(panel, tmp_path, lake):
    """The policy keeps 365 days: at ten o'clock of the last of them what was answered before ten goes."""
    rows = [answer(i, answered_at=f"{DAY:%Y-%m-%d} {i // 10 + 8:02d}:00:00") for i in range(40)]
    ingest(panel, KEY, connection_uri=write_answers(tmp_path / "answers.db", rows), lake=lake)
    enforce_retention(panel, lake=lake, now=DAY + timedelta(days=365, hours=10), by=author())
    hours = Counter(row["answered_at"].hour for row in read_partition(lake, "panel/validated", KEY).to_pylist())
    assert hours == {10: 10, 11: 10}
    line = latest_run(lake, "panel", KEY)
    assert (line.rows_in, line.rows_published, line.rows_quarantined) == (20, 20, 0)
    assert list_files(lake, "panel/_splits") == []


def test_the_vaults_files_go_where_the_survey_says_so(tmp_path, lake):
    """A file that names no partition stays, and so does one of a younger partition."""
    vault = tmp_path / "vault"
    vault.mkdir()
    for name in (
        f"{OLD_KEY}.csv",
        f"{OLD_KEY}-more.csv",
        f"{KEY}.csv",
        "notes.csv",
        f"{OLD_KEY}.txt",
        "2026-99-99.csv",
    ):
        (vault / name).write_text("x")
    source = SurveySource(source=files_of_answers(vault), privacy=policy(remove_files=True))
    panel, now = declare(tmp_path / "panel", source=source), OLD_DAY + timedelta(days=366, seconds=1)
    assert enforce_retention(panel, lake=lake, now=now - timedelta(seconds=2), by=author()).source_files_removed == 0
    assert enforce_retention(panel, lake=lake, now=now, by=author(), dry_run=True).source_files_removed == 2
    assert len(list(vault.iterdir())) == 6
    assert enforce_retention(panel, lake=lake, now=now, by=author()).source_files_removed == 2
    assert sorted(path.name for path in vault.iterdir()) == sorted(
        [f"{KEY}.csv", "notes.csv", f"{OLD_KEY}.txt", "2026-99-99.csv"]
    )


def test_a_vault_that_tells_no_age_can_not_be_emptied(tmp_path):
    with pytest.raises(DeclarationError, match=r"remove_files needs a FileSource with \{partition_key\} in its path"):
        SurveySource(source=files_of_answers(tmp_path, path=f"{tmp_path}/*.csv"), privacy=policy(remove_files=True))
    with pytest.raises(DeclarationError, match="remove_files needs a FileSource"):
        SurveySource(source=inner(), privacy=policy(remove_files=True))


def test_what_is_no_survey_is_left_alone(tmp_path, lake):
    workflow = declare_workflow(tmp_path / "parcels")
    assert enforce_retention(workflow, lake=lake, now=DAY, by=author()) is None
    with pytest.raises(PrivacyError, match="'parcels' reads no survey"):
        survey_of(workflow)
