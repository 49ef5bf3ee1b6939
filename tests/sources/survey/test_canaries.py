"""Fifty people whose names occur nowhere else: after a whole ingest, no byte of any output tells of them."""

from __future__ import annotations

import logging
import traceback
from pathlib import Path

import pytest

from include.errors import UpdraftError
from include.lake.ledger import latest_run
from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.rehearsal import ingest
from include.workflow import Workflow
from tests.sources.survey.people import (
    IDENTIFYING,
    KEY,
    QUERY,
    SUITE,
    answer,
    canaries,
    declare,
    inner,
    leaks,
    write_answers,
)

PEOPLE = canaries(50)
VALUES = [person[name] for person in PEOPLE for name in IDENTIFYING]


def answers() -> list[dict[str, object]]:
    """The fifty, some of whom break a rule, gave no consent, or answered twice."""
    broken = [{**person, "satisfaction": 9} for person in PEOPLE[:10]]
    refused = [{**person, "consent": "no"} for person in PEOPLE[10:15]]
    again = [
        {**person, "answer_id": 1000 + i, "received_at": person["received_at"][:-2] + "59"}
        for i, person in enumerate(PEOPLE[15:20])
    ]
    return [*broken, *refused, *PEOPLE[15:], *again, *(answer(2000 + i) for i in range(200))]


def texts_of_failures(workflow: Workflow, tmp_path: Path, lake: Lake) -> list[str]:
    """What people would read in logs after each kind of failure."""
    texts = []
    for number, (query, rows) in enumerate(
        [
            (QUERY.replace("SELECT", "SELECT name AS nickname,"), answers()),
            (QUERY.replace("phone, ", ""), answers()),
            (QUERY, [*PEOPLE, {**PEOPLE[0], "age": PEOPLE[0]["name"]}]),
            (QUERY.replace("answered_at,", "name AS answered_at,"), answers()),
        ]
    ):
        (workflow.folder / "extract.sql").write_text(query, encoding="utf-8")
        uri = write_answers(tmp_path / "vault" / f"failing{number}.db", rows)
        with pytest.raises(UpdraftError) as caught:
            ingest(workflow, KEY, connection_uri=uri, lake=lake)
        texts += [str(caught.value), "".join(traceback.format_exception(caught.value)), repr(caught.value.__dict__)]
    (workflow.folder / "extract.sql").write_text(QUERY, encoding="utf-8")
    return texts


def test_fifty_people_are_found_nowhere(tmp_path, lake, home, caplog):
    (tmp_path / "vault").mkdir()
    caplog.set_level(logging.DEBUG)
    workflow = declare(tmp_path / "panel")
    uri = write_answers(tmp_path / "vault" / "answers.db", answers())
    record = ingest(workflow, KEY, connection_uri=uri, lake=lake)
    assert (record.rows_in, record.rows_published, record.rows_quarantined, record.rows_duplicate) == (255, 235, 15, 5)
    texts = [caplog.text, *texts_of_failures(workflow, tmp_path, lake)]
    assert leaks([home, tmp_path / "tmp"], VALUES, texts=texts) == []
    assert latest_run(lake, "panel", KEY) == record


def test_control_without_the_policy_they_are_found(tmp_path, lake, home):
    """The same answers through the bare database source: every person is in the lake."""
    (tmp_path / "vault").mkdir()
    uri = write_answers(tmp_path / "vault" / "answers.db", answers())
    ingest(declare(tmp_path / "panel", source=inner()), KEY, connection_uri=uri, lake=lake)
    found = leaks([home], VALUES)
    assert {value for person in PEOPLE for value in [person["name"]] if any(hit.endswith(value) for hit in found)} == {
        person["name"] for person in PEOPLE
    }


def test_the_quarantine_holds_a_row_for_each_refusal_and_nothing_of_those_without_consent(tmp_path, lake):
    uri = write_answers(tmp_path / "answers.db", answers())
    ingest(declare(tmp_path / "panel"), KEY, connection_uri=uri, lake=lake)
    rows = read_partition(lake, "panel/quarantine", KEY).to_pylist()
    silent = [row for row in rows if "source: privacy: no consent" in row["reasons"]]
    assert len(silent) == 5
    for row in silent:
        assert {
            row[name] for name in ("respondent", "age", "postcode", "born", "satisfaction", "is_promoter", "answer_id")
        } == {None}


def test_a_suite_that_names_an_identifier_is_told_that_there_is_no_such_column(tmp_path, lake):
    rule = {"type": "expect_column_values_to_match_regex", "kwargs": {"column": "email", "regex": "@"}}
    workflow = declare(tmp_path / "panel", suite={**SUITE, "expectations": [*SUITE["expectations"], rule]})
    with pytest.raises(UpdraftError, match="there is no column 'email'"):
        ingest(workflow, KEY, connection_uri=write_answers(tmp_path / "answers.db", answers()), lake=lake)
