"""Whoever is erased is in no byte of the lake, and nothing else is lost, doubled or less hidden than before."""

from __future__ import annotations

import io
import json
import re
import shutil
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from include.errors import ConcurrentWriteError, PrivacyError, StaleWriterError
from include.lake.erasures import read_erasures
from include.lake.fencing import new_token
from include.lake.ledger import latest_run
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import upload_file
from include.privacy import __main__ as command
from include.privacy.erasure import TrainedModels, erase, request_erasure
from include.privacy.partitions import Author
from include.privacy.retention import enforce_retention
from include.quality.standing import choose_partitions, read_standings
from include.rehearsal import ingest
from tests.privacy.panel import EMAIL, declare_panel, pseudonym
from tests.sources.survey.people import KEY, answer, leaks, write_answers

NOW = datetime.now(UTC)
NO_MODELS = TrainedModels(trained=(), unknown=())
ERASED_REASON = "source: privacy: the respondent was erased"


def author(name: str = "erasure") -> Author:
    return Author(token=new_token(), run_id=name, try_id=name)


@pytest.fixture
def panel(tmp_path):
    return declare_panel(tmp_path)


@pytest.fixture
def ingested(template, lake):
    shutil.copytree(template / "lake", lake.uri)
    return f"sqlite:///{template / 'answers.db'}"


def rows_of(lake, name: str) -> list[dict[str, object]]:
    return read_partition(lake, f"panel/{name}", KEY).to_pylist()


def row_ids(lake) -> list[str]:
    """Which rows tell of the canary, in whatever table; the ids are hashes of the pseudonym."""
    return sorted(
        {
            row["row_id"]
            for name in ("validated", "quarantine")
            for row in rows_of(lake, name)
            if row["respondent"] == pseudonym()
        }
    )


@pytest.mark.usefixtures("ingested")
def test_no_byte_is_left_and_the_proof_counts(panel, lake):
    secrets = [pseudonym(), *row_ids(lake)]
    found = leaks([Path(lake.uri)], secrets)
    assert {hit.rpartition(": ")[2] for hit in found} == set(secrets), "control: before, they are there"
    assert sum("part-" in hit and "(values)" in hit and secrets[0] in hit for hit in found) == 5, (
        "two versions of raw and validated"
    )

    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    done_at = NOW + timedelta(seconds=1)
    proof = erase(
        panel, pseudonym(), lake=lake, now=done_at, by=author(), models=TrainedModels(trained=("2",), unknown=("1",))
    )
    assert leaks([Path(lake.uri)], secrets) == []
    assert proof.rows_before == {"panel/quarantine": 1, "panel/raw": 3, "panel/validated": 1}
    assert proof.rows_after == {"panel/quarantine": 0, "panel/raw": 0, "panel/validated": 0}
    assert (proof.models, proof.models_unknown) == (("2",), ("1",))
    lines = read_erasures(lake, workflow="panel").to_pylist()
    assert [line["action"] for line in lines] == ["requested", "erased"]
    assert json.loads(lines[1]["rows_before"]) == proof.rows_before
    assert json.loads(lines[1]["models"]) == ["2"]


@pytest.mark.usefixtures("ingested")
def test_nobody_else_is_lost_and_the_ledger_is_true(panel, lake):
    others = Counter(row["respondent"] for name in ("validated", "quarantine") for row in rows_of(lake, name))
    del others[pseudonym()]
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    published, quarantined = rows_of(lake, "validated"), rows_of(lake, "quarantine")
    assert Counter(row["respondent"] for row in [*published, *quarantined]) == others
    line = latest_run(lake, "panel", KEY)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (47, 47, 0, 0)
    assert line.rows_in == len(rows_of(lake, "raw")) == len(published)
    assert line.run_id == "erasure"
    cells = Counter((row["age"], row["postcode"], row["born"]) for row in published)
    assert min(cells.values()) >= 5


def test_whoever_can_hide_no_longer_is_suppressed_and_goes_to_quarantine(panel, tmp_path, lake):
    """Five share a cell; without one of them the other four can't be published."""
    small = [answer(900 + i, age=77, postcode="9900", born="1950-01-01") for i in range(4)]
    canary = answer(904, age=77, postcode="9900", born="1950-01-01", email=EMAIL)
    uri = write_answers(tmp_path / "answers.db", [*(answer(i) for i in range(50)), *small, canary])
    assert ingest(panel, KEY, connection_uri=uri, lake=lake).rows_published == 55
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    quarantined = rows_of(lake, "quarantine")
    reason = "privacy: fewer than 5 respondents share its quasi-identifiers once the other refusals are out"
    assert [(row["answer_id"], row["reasons"]) for row in quarantined] == [(900 + i, [reason]) for i in range(4)]
    landed = [row for row in rows_of(lake, "raw") if row["source_error"] is not None]
    assert [(row["source_error"], row["age"], row["answer_id"]) for row in landed] == [
        ("privacy: fewer than 5 respondents share its quasi-identifiers", None, None)
    ] * 4
    line = latest_run(lake, "panel", KEY)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (54, 50, 4, 0)


def test_they_never_come_in_again(panel, ingested, lake):
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    record = ingest(panel, KEY, connection_uri=ingested, lake=lake)
    assert (record.rows_in, record.rows_published, record.rows_quarantined) == (50, 47, 3)
    assert all(ERASED_REASON in row["reasons"] for row in rows_of(lake, "quarantine"))
    assert leaks([Path(lake.uri)], [pseudonym()]) == []


@pytest.mark.usefixtures("ingested")
@pytest.mark.parametrize("n_new", [0, 1])
def test_what_waits_for_publication_waits_on_and_what_is_published_does_not(panel, lake, n_new):
    """As a partition that validation has stopped: its rows have landed, and the ledger tells of earlier ones."""
    raw = read_partition(lake, "panel/raw", KEY)
    replace_partition(lake, "panel/raw", KEY, pa.concat_tables([raw, *[raw.slice(0, 1)] * n_new]), token=new_token())
    assert [standing.rows_waiting for standing in read_standings(lake, "panel")] == [51 * n_new]
    published_at = latest_run(lake, "panel", KEY).recorded_at
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    assert [standing.rows_waiting for standing in read_standings(lake, "panel")] == [48 * n_new]
    line = latest_run(lake, "panel", KEY)
    assert (line.run_id, line.recorded_at - published_at) == ("erasure", timedelta(microseconds=1))
    assert choose_partitions(lake, panel) == [KEY] * n_new


@pytest.mark.usefixtures("ingested")
def test_a_try_that_read_the_answers_before_is_fenced(panel, lake):
    """It began before the request, and commits after the erasure."""
    before, landed = new_token(), read_partition(lake, "panel/raw", KEY)
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    with pytest.raises(StaleWriterError):
        replace_partition(lake, "panel/raw", KEY, landed, token=before)


@pytest.mark.usefixtures("ingested")
def test_a_file_of_a_writer_at_work_is_not_taken_from_it(panel, tmp_path, lake):
    """Its commit would name a file that is gone. A day later it is a killed writer's, and goes."""
    import pyarrow.parquet as pq

    pq.write_table(read_partition(lake, "panel/raw", KEY), tmp_path / "rows.parquet")
    upload_file(lake, tmp_path / "rows.parquet", f"panel/raw/{KEY}/part-late.parquet")
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    with pytest.raises(
        ConcurrentWriteError, match=r"1 files of 'panel/raw' were written within the last .* wait until panel\.ingest"
    ):
        erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    assert {hit.partition(" ")[0].rpartition("/")[2] for hit in leaks([Path(lake.uri)], [pseudonym()])} >= {
        "part-late.parquet"
    }
    later = NOW + timedelta(hours=25)
    assert erase(panel, pseudonym(), lake=lake, now=later, by=author(), models=NO_MODELS).rows_before == {}
    assert leaks([Path(lake.uri)], [pseudonym()]) == []


@pytest.mark.usefixtures("ingested")
def test_half_a_file_stops_an_erasure_and_no_nightly_round(panel, lake):
    """What a writer at work has written so far can't be read."""
    half = Path(lake.uri, "panel", "raw", KEY, "part-half.parquet")
    half.write_bytes(b"PAR1 and so on")
    assert enforce_retention(panel, lake=lake, now=NOW, by=author()).rows_before == {}
    assert half.exists()
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    with pytest.raises(ConcurrentWriteError, match="1 files of 'panel/raw' were written within the last"):
        erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)


def test_the_nightly_round_erases_whoever_came_back(panel, ingested, lake):
    """A process that was killed between its commit and its look at the erasures leaves such rows."""
    landed = read_partition(lake, "panel/raw", KEY)
    request_erasure(panel, pseudonym(), lake=lake, now=NOW)
    erase(panel, pseudonym(), lake=lake, now=NOW, by=author(), models=NO_MODELS)
    replace_partition(lake, "panel/raw", KEY, landed, token=new_token())
    report = enforce_retention(panel, lake=lake, now=NOW, by=author("night"))
    assert report.rows_before == {"panel/raw": 3}
    assert leaks([Path(lake.uri)], [pseudonym()]) == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (EMAIL, "that is no pseudonym, which has 64 hex digits"),
        ("A" * 64, "that is no pseudonym"),
        ("", "that is no pseudonym"),
    ],
)
def test_an_identifier_is_refused_and_not_repeated(panel, lake, text, message):
    with pytest.raises(PrivacyError, match=message) as caught:
        request_erasure(panel, text, lake=lake, now=NOW)
    assert not text or text not in str(caught.value)


def test_the_command_reads_the_identifier_from_its_input(panel, monkeypatch, capsys):
    monkeypatch.setattr("include.workflows.declared_workflows", lambda: [panel])
    monkeypatch.setattr("sys.stdin", io.StringIO(f" {EMAIL.upper()}\n"))
    assert command.main(["panel"]) == 0
    assert capsys.readouterr().out == f"{pseudonym()}\n"


@pytest.mark.parametrize(
    ("workflow", "text", "message"),
    [
        ("panel", "ab\n", "fewer than 3 characters: it tells nobody"),
        ("other", f"{EMAIL}\n", "there is no workflow 'other'.*it has panel"),
    ],
)
def test_the_command_says_what_is_wrong(panel, monkeypatch, capsys, workflow, text, message):
    monkeypatch.setattr("include.workflows.declared_workflows", lambda: [panel])
    monkeypatch.setattr("sys.stdin", io.StringIO(text))
    assert command.main([workflow]) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.search(message, captured.err)
    assert text.strip() not in captured.err
