"""A survey in files: what can't be read is named and counted, and of what stands in it nothing is kept."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import SourceQueryError, SourceUnavailableError, UnreadableFileError
from include.lake.partitions import read_partition
from include.rehearsal import ingest
from include.sources.kinds import open_rows
from include.workflow import SurveySource, Workflow
from include.workflow.partitions import window_of_key
from tests.sources.survey.people import (
    DAY,
    IDENTIFYING,
    KEY,
    answer,
    canaries,
    csv_of,
    declare,
    files_of_answers,
    leaks,
    policy,
)

PEOPLE = canaries(50)
VALUES = [person[name] for person in PEOPLE for name in IDENTIFYING]
# Lines in which a person can be read, and which are no records.
BROKEN = [f"{person['email']},{person['name']},{person['phone']},{person['comment']}" for person in PEOPLE[:7]]


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    (tmp_path / "vault").mkdir()
    return tmp_path / "vault"


def survey(tmp_path: Path, vault: Path, **changes) -> Workflow:
    return declare(tmp_path / "panel", source=SurveySource(source=files_of_answers(vault, **changes), privacy=policy()))


def test_bad_records_are_dead_letters_without_their_bytes(tmp_path, vault, lake, home, caplog):
    """Before, the line of each person stood in the dead letters as it was written."""
    caplog.set_level("DEBUG")
    (vault / f"{KEY}.csv").write_text(csv_of(PEOPLE, broken=BROKEN))
    record = ingest(survey(tmp_path, vault), KEY, connection_uri=None, lake=lake)
    assert (record.rows_in, record.rows_quarantined) == (57, 7)
    letters = read_partition(lake, "panel/dead_letters", KEY).to_pylist()
    reasons = {letter["reason"] for letter in letters}
    assert len(letters) == 7
    assert reasons == {"line has 5 fields, the header has 13"}
    assert {(letter["bytes"], letter["digest"]) for letter in letters} == {(None, None)}
    assert leaks([home, tmp_path / "tmp"], VALUES, texts=[caplog.text]) == []


def test_control_a_file_source_keeps_the_bytes(tmp_path, vault, lake, home):
    (vault / f"{KEY}.csv").write_text(csv_of(PEOPLE, broken=BROKEN))
    ingest(declare(tmp_path / "panel", source=files_of_answers(vault)), KEY, connection_uri=None, lake=lake)
    assert any(hit.endswith(PEOPLE[0]["name"]) for hit in leaks([home], VALUES))


def test_a_cut_file_is_named_and_set_aside(tmp_path, vault, lake, home):
    text = csv_of(PEOPLE)
    (vault / f"{KEY}-a.csv").write_text(csv_of(answer(i) for i in range(20)))
    (vault / f"{KEY}-b.csv").write_text(text[: len(text) // 2])
    with pytest.raises(UnreadableFileError, match=rf"{KEY}-b\.csv at byte \d+: the last line does not end") as caught:
        ingest(survey(tmp_path, vault), KEY, connection_uri=None, lake=lake)
    record = ingest(survey(tmp_path, vault, on_unreadable="dead_letter"), KEY, connection_uri=None, lake=lake)
    assert record.rows_in == 20
    letters = read_partition(lake, "panel/dead_letters", KEY).to_pylist()
    assert [(letter["file"], letter["bytes"], letter["digest"]) for letter in letters] == [(f"{KEY}-b.csv", None, None)]
    assert leaks([home, tmp_path / "tmp"], VALUES, texts=[str(caught.value)]) == []


def test_no_answer_touches_the_disk_while_a_file_may_still_turn_out_damaged(tmp_path, vault, lake, monkeypatch):
    """A process that is killed there would leave it behind."""
    seen = []
    (vault / f"{KEY}.csv").write_text(csv_of(PEOPLE))
    workflow = survey(tmp_path, vault, on_unreadable="dead_letter")
    from include.sources.survey import policy as module

    def look(column, how, original=module.generalise):
        seen.extend(leaks([tmp_path / "tmp"], VALUES))
        return original(column, how)

    monkeypatch.setattr(module, "generalise", look)
    assert ingest(workflow, KEY, connection_uri=None, lake=lake).rows_in == 50
    assert seen == []


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "\n".join(BROKEN) + "\n",
            SourceQueryError,
            r"files: .*/vault/.*\.csv\) can't be read: SourceQueryError; what it said is withheld",
        ),
        (None, SourceUnavailableError, r"\*\.csv\) can't be read: SourceUnavailableError"),
    ],
    ids=["no header", "no file"],
)
def test_what_else_goes_wrong_names_the_path_and_no_value(tmp_path, vault, lake, text, error, message):
    if text is not None:
        (vault / f"{KEY}.csv").write_text(text)
    with pytest.raises(error, match=message) as caught:
        ingest(survey(tmp_path, vault), KEY, connection_uri=None, lake=lake)
    assert leaks([], VALUES, texts=[str(caught.value)]) == []


def test_the_retention_holds_for_days_as_for_moments(tmp_path, vault, lake):
    columns = {**files_of_answers(vault).columns, "answered_at": "date"}
    source = SurveySource(source=files_of_answers(vault, columns=columns), privacy=policy(retention="5 days"))
    workflow = declare(tmp_path / "panel", source=source)
    (vault / f"{KEY}.csv").write_text(csv_of(answer(i, answered_at=f"{DAY:%Y-%m-%d}") for i in range(20)))
    window = window_of_key("day", KEY)
    with open_rows(source, workflow=workflow, window=window, connection_uri=None, lake=lake) as reader:
        assert reader.read_all()["source_error"].to_pylist() == ["privacy: older than the retention of 5 days"] * 20
