"""What the declared policy does to each column and row."""

from __future__ import annotations

import traceback
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from include.errors import DeclarationError, PrivacyError, SettingsError, SourceQueryError, SourceUnavailableError
from include.sources.kinds import open_rows
from include.sources.survey.generalise import generalise
from include.sources.survey.pseudonyms import pseudonym_of
from include.workflow import AsIs, Band, Consent, Privacy, Round, SurveySource, Truncate, Year
from include.workflow.partitions import window_of_key
from tests.sources.survey.people import (
    COLUMNS,
    DAY,
    KEY,
    QUERY,
    SECRET,
    answer,
    canaries,
    declare,
    inner,
    policy,
    write_answers,
)


def read(workflow, uri, lake) -> pa.Table:
    window = window_of_key("day", KEY)
    with open_rows(workflow.source, workflow=workflow, window=window, connection_uri=uri, lake=lake) as reader:
        return reader.read_all()


def test_identifiers_leave_a_pseudonym_and_quasi_identifiers_their_band(panel, tmp_path, lake):
    rows = read(panel, write_answers(tmp_path / "a.db", canaries(10)), lake)
    assert rows.column_names == [
        *(
            "respondent",
            "answer_id",
            "age",
            "postcode",
            "born",
            "satisfaction",
            "is_promoter",
            "answered_at",
            "received_at",
            "source_error",
        )
    ]
    assert rows["age"].to_pylist() == [20] * 10
    assert rows["postcode"].to_pylist() == ["10"] * 10
    assert rows["born"].to_pylist() == [1990] * 10
    assert rows["source_error"].null_count == 10


@pytest.mark.parametrize(
    ("values", "how", "expected"),
    [
        ([37, 40, -1, None], Band(width=10), [30, 40, -10, None]),
        (["37", " 40.5 ", "x", "", "nan", "1e5"], Band(width=10), [30, 40, None, None, None, None]),
        ([0.5, float("nan"), float("inf")], Band(width=0.25), [0.5, None, None]),
        ([7], Band(width=10, start=5), [5]),
        ([1234.56], Round(digits=-2), [1200.0]),
        (["10115", "SW1A 1AA", None, "ÄÖÜ"], Truncate(length=2), ["10", "SW", None, "ÄÖ"]),
        ([10115], Truncate(length=2), ["10"]),
        (["1984-02-03", "1984", "3.2.1984", "1984-02-03T10:00:00Z"], Year(), [1984, 1984, None, 1984]),
        ([datetime(1984, 2, 3, tzinfo=UTC)], Year(), [1984]),
        ([1984, 12], Year(), [1984, None]),
        ([True], Year(), [None]),
        (["north"], AsIs(), ["north"]),
    ],
)
def test_generalised_values(values, how, expected):
    assert generalise(pa.array(values), how).to_pylist() == expected


def test_pseudonyms_are_stable_and_depend_on_key_workflow_and_column():
    def made(identifier="Anna@Example.org", workflow="panel", column="respondent", key=b"k" * 32):
        return pseudonym_of(identifier, workflow=workflow, column=column, key=key)

    assert made() == made(" anna@example.ORG ") == made("anna@example.org")
    assert (
        len({made(), made(key=b"l" * 32), made(workflow="other"), made(column="other"), made("anne@example.org")}) == 5
    )
    assert made("ab") is made("  ") is None


def test_every_reason_to_refuse_a_row_leaves_nothing_but_its_day(tmp_path, lake):
    old = f"{DAY - timedelta(days=400):%Y-%m-%d} 10:11:12"
    workflow = declare(
        tmp_path / "panel",
        query=QUERY.replace("answered_at >= :partition_start", "(answered_at >= :partition_start OR 1)"),
    )
    bad = [
        answer(100, consent="no"),
        answer(101, consent=None),
        answer(102, email=None),
        answer(103, email="  a "),
        answer(104, age="forty"),
    ]
    columns = COLUMNS.replace("age INTEGER", "age TEXT")
    rows = read(workflow, write_answers(tmp_path / "a.db", [*canaries(10), *bad], columns=columns), lake)
    assert rows["source_error"].to_pylist()[10:] == [
        "privacy: no consent",
        "privacy: no consent",
        "privacy: email: is missing or too short to tell a respondent",
        "privacy: email: is missing or too short to tell a respondent",
        "privacy: age: is no value that the policy can generalise",
    ]
    for row in rows.slice(10).to_pylist():
        assert {value for name, value in row.items() if not name.endswith(("_at", "_error"))} == {None}
        assert (row["answered_at"], row["received_at"]) == (DAY, DAY + timedelta(days=1))
    assert old not in str(rows.to_pylist())


def test_rows_older_than_the_retention_are_not_let_in_again(tmp_path, lake):
    workflow = declare(tmp_path / "panel", retention="9 days")
    rows = read(workflow, write_answers(tmp_path / "a.db", canaries(10)), lake)
    assert set(rows["source_error"].to_pylist()) == {"privacy: older than the retention of 9 days"}


def test_times_by_the_day_keep_the_point_in_time(tmp_path, lake):
    """What became known during a day counts as known when it ends, never before it was."""
    rows = read(declare(tmp_path / "panel", times="day"), write_answers(tmp_path / "a.db", canaries(10)), lake)
    assert set(rows["answered_at"].to_pylist()) == {DAY}
    assert set(rows["received_at"].to_pylist()) == {DAY + timedelta(days=1)}


def test_a_column_of_which_the_policy_says_nothing_is_refused_by_name_alone(tmp_path, lake):
    workflow = declare(tmp_path / "panel", query=QUERY.replace("SELECT", "SELECT name AS nickname,"))
    with pytest.raises(
        PrivacyError, match="the column 'nickname', of which its privacy policy says nothing: nothing of it was stored"
    ):
        read(workflow, write_answers(tmp_path / "a.db", canaries(10)), lake)


def test_a_column_that_is_gone_is_named(tmp_path, lake):
    workflow = declare(tmp_path / "panel", query=QUERY.replace("phone, ", ""))
    with pytest.raises(PrivacyError, match="the survey has no column 'phone', which its declaration names"):
        read(workflow, write_answers(tmp_path / "a.db", canaries(10)), lake)


def test_what_the_inner_source_says_is_withheld(tmp_path, lake):
    """A driver quotes the value that it could not convert; neither the text nor the chain of errors holds it."""
    workflow = declare(tmp_path / "panel")
    uri = write_answers(tmp_path / "a.db", [*canaries(10), answer(11, age="Aurelia")])
    with pytest.raises(SourceQueryError, match="what it said is withheld") as caught:
        read(workflow, uri, lake)
    assert caught.value.__context__ is caught.value.__cause__ is None
    assert "Aurelia" not in "".join(traceback.format_exception(caught.value))


def test_a_source_that_does_not_answer_may_be_asked_again(panel, tmp_path, lake):
    with pytest.raises(SourceUnavailableError):
        read(panel, f"sqlite:///{tmp_path}/missing.db", lake)


def test_without_a_key_nothing_is_read(panel, tmp_path, lake, monkeypatch):
    uri = write_answers(tmp_path / "a.db", canaries(10))
    monkeypatch.delenv("UPDRAFT_PSEUDONYM_KEY")
    with pytest.raises(SettingsError, match="UPDRAFT_PSEUDONYM_KEY is not set"):
        read(panel, uri, lake)
    monkeypatch.setenv("UPDRAFT_PSEUDONYM_KEY", SECRET[:20])
    with pytest.raises(SettingsError, match="has 20 bytes, at least 32 are needed") as caught:
        read(panel, uri, lake)
    assert SECRET[:20] not in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pseudonym": {"respondent": "nick"}}, "'nick', which is no identifier"),
        ({"pseudonym": {"age": "email"}}, "has the name of another column"),
        ({"keep": ("email",)}, "'email' is named twice"),
        ({"consent": Consent(column="name")}, "'name' is named twice"),
        ({"k": 1}, "k"),
        ({"retention": "2 hours"}, "at least 1 day"),
        ({"identifiers": ("email; DROP TABLE x",)}, "identifiers"),
    ],
)
def test_a_policy_that_contradicts_itself_is_refused(changes, message):
    with pytest.raises(DeclarationError, match=message):
        policy(**changes)


def test_a_survey_takes_over_what_its_inner_source_says():
    source = SurveySource(source=inner(replay="forward_only"), privacy=policy())
    assert (source.replay, source.event_time, source.known_time, source.key) == (
        "forward_only",
        "answered_at",
        "received_at",
        ("respondent",),
    )
    assert (source.connection, source.connection_types, source.files) == (
        "survey_db",
        inner().connection_types,
        {"source.query": "extract.sql"},
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": inner(incremental=True)}, "an archive keeps what came"),
        ({"source": "answers.csv"}, "give a FileSource"),
        ({"key": ("name",)}, "key names 'name', which the policy drops"),
        ({"event_time": "born"}, "event_time names 'born'"),
        ({"replay": "forward_only"}, "state it there"),
    ],
)
def test_a_survey_that_would_keep_identifiers_is_refused(changes, message):
    with pytest.raises(DeclarationError, match=message):
        SurveySource(**{"source": inner(), "privacy": policy(), **changes})


def test_free_text_is_kept_where_the_policy_says_so(tmp_path, lake):
    workflow = declare(tmp_path / "panel", free_text={"comment": "keep"})
    rows = read(workflow, write_answers(tmp_path / "a.db", canaries(10)), lake)
    assert "ruddy parrot" in rows["comment"][0].as_py()


def test_retention_has_no_default():
    with pytest.raises(DeclarationError, match="retention"):
        Privacy(identifiers=("email",))
