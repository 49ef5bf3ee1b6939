"""
A suite suggested from published days: it takes the days that it was made from, and refuses what is
planted in the next.
"""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from embedded.suggest_suite import main
from include.errors import ContractViolationError, DataError
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from include.lake.store import Lake
from include.quality.suggestion import suggest_suite
from include.quality.suite import load_suite
from include.workflow import Band, DatabaseSource, Privacy, SurveySource
from tests.factories import START, declare_workflow
from tests.quality.partitions import day_rows, declare, key_of, land, publish_days, validate
from tests.quality.rows import ROW_COUNT, changed

N_DAYS = 8


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Lake:
    """Eight days that a suite of one rule let pass."""
    folder = tmp_path_factory.mktemp("eight_days")
    lake = Lake(uri=str(folder / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        publish_days(lake, folder, N_DAYS, expectations=[ROW_COUNT])
    return lake


@pytest.fixture
def suggested(published: Lake, tmp_path: Path) -> list[dict[str, Any]]:
    return list(suggest_suite(declare(tmp_path, [ROW_COUNT]), lake=published).expectations)


def of(suggested: list[dict[str, Any]], column: str) -> dict[str, dict[str, Any]]:
    """Arguments of the rules on a column, by type."""
    return {rule["type"]: rule["kwargs"] for rule in suggested if rule["kwargs"].get("column") == column}


@pytest.mark.claim("validation")
def test_each_day_that_it_was_made_from_is_taken_whole(published, tmp_path, suggested):
    for day in range(N_DAYS):
        report = validate(published, tmp_path, land(published, day_rows(day), key=key_of(day)), expectations=suggested)
        assert (report.rows_published, report.failed) == (40, ())


def test_the_rules_are_those_that_a_person_would_write(suggested):
    assert of(suggested, "depot") == {
        "expect_column_values_to_not_be_null": {"column": "depot"},
        "expect_column_values_to_be_in_set": {"column": "depot", "value_set": ["east", "north", "south"]},
    }
    distances = [value for day in range(N_DAYS) for value in day_rows(day)["distance_km"].to_pylist()]
    bounds = of(suggested, "distance_km")["expect_column_values_to_be_between"]
    assert bounds["min_value"] == 0
    assert max(distances) * 1.3 < bounds["max_value"] < max(distances) * 1.8
    share = of(suggested, "weight_kg")["expect_column_values_to_not_be_null"]["mostly"]
    assert 0.8 <= share <= 0.9  # one in twenty is missing
    (volume,) = [rule["kwargs"] for rule in suggested if "within_history" in rule["type"]]
    assert volume == {"min_ratio": 0.5, "max_ratio": 2.0}


def test_a_key_gets_no_range(suggested):
    assert set(of(suggested, "parcel_id")) == {
        "expect_column_values_to_not_be_null",
        "expect_column_values_to_be_unique",
    }


def test_a_counter_gets_no_range_and_a_number_that_wanders_does(lake, tmp_path):
    """The first and last day's numbers do not overlap in either case."""
    for day in range(N_DAYS):
        counter = [1000 * day + i for i in range(40)]
        wandering = [float((0, 5, 2, 9, 4, 1, 8, 7)[day])] * 40
        rows = day_rows(day).append_column("counter", pa.array(counter)).append_column("wandering", pa.array(wandering))
        land(lake, rows, key=key_of(day))
    rules = list(suggest_suite(declare(tmp_path), lake=lake).expectations)
    assert "expect_column_values_to_be_between" not in of(rules, "counter")
    assert of(rules, "wandering")["expect_column_values_to_be_between"] == {
        "column": "wandering",
        "min_value": 0.0,
        "max_value": 14.0,
    }


def test_each_rule_says_what_it_was_seen_on(suggested):
    reasons = [rule["meta"]["reason"] for rule in suggested]
    assert [reason for reason in reasons if "seen on" not in reason] == [
        "the columns of 2026-01-12",
        "the source's key",
    ]
    assert "never missing; seen on 320 values of 8 partitions" in reasons


NEXT = day_rows(N_DAYS)
IN_SET, BETWEEN = "depot: expect_column_values_to_be_in_set", "distance_km: expect_column_values_to_be_between"
NOT_NULL = "is_late: expect_column_values_to_not_be_null"


@pytest.mark.parametrize(
    ("rows", "reason"),
    [
        (changed(NEXT, "depot", {3: "moon"}), IN_SET),
        (changed(NEXT, "distance_km", {3: -1.0}), BETWEEN),
        (changed(NEXT, "distance_km", {3: 1e6}), BETWEEN),
        (changed(NEXT, "is_late", {3: None}), NOT_NULL),
    ],
    ids=["unknown text", "below", "far above", "missing"],
)
def test_a_planted_row_is_quarantined(published, tmp_path, suggested, rows, reason):
    report = validate(published, tmp_path, land(published, rows, key=key_of(N_DAYS)), expectations=suggested)
    assert (report.rows_quarantined, [text.split(" (")[0] for text in report.failed]) == (1, [reason])


@pytest.mark.parametrize(
    ("rows", "stop"),
    [
        (NEXT.slice(0, 15), "expect_table_row_count_to_be_between: does not hold"),
        (
            pa.concat_tables(
                [NEXT, *(changed(NEXT, "parcel_id", {i: 9_000 + 40 * n + i for i in range(40)}) for n in (1, 2))]
            ),
            "max_ratio",
        ),
        (
            NEXT.filter(pa.array([time.hour < 6 for time in NEXT["sent_at"].to_pylist()])),
            "expect_partition_to_be_fresh: does not hold",
        ),
        (NEXT.drop_columns(["depot"]), "'depot'"),
    ],
    ids=["fewer than half", "three times as many", "nothing after six", "a column gone"],
)
def test_a_planted_partition_is_stopped(published, tmp_path, suggested, rows, stop):
    with pytest.raises(ContractViolationError) as stopped:
        validate(published, tmp_path, land(published, rows, key=key_of(N_DAYS)), expectations=suggested)
    assert stop in str(stopped.value)


SMALL = {"no row": NEXT.slice(0, 0), "one row": NEXT.slice(0, 1), "a tenth of the median": NEXT.slice(0, 4)}
EMPTY = {f"no {name}": changed(NEXT, name, dict.fromkeys(range(40))) for name in NEXT.column_names}


@pytest.mark.parametrize("rows", (SMALL | EMPTY).values(), ids=SMALL | EMPTY)
def test_what_great_expectations_alone_lets_pass_is_refused(published, tmp_path, suggested, rows):
    """Of an empty batch, and of a column without values, its rules about rows hold."""
    with pytest.raises(ContractViolationError):
        validate(published, tmp_path, land(published, rows, key=key_of(N_DAYS)), expectations=suggested)


def test_a_column_that_was_empty_for_a_day_may_be_empty(lake, tmp_path):
    for day in range(N_DAYS):
        land(lake, changed(day_rows(day), "weight_kg", dict.fromkeys(range(40)) if day == 3 else {}), key=key_of(day))
    (rule,) = [
        rule
        for rule in suggest_suite(declare(tmp_path), lake=lake).expectations
        if rule["type"] == "expect_column_values_to_be_between" and rule["kwargs"]["column"] == "weight_kg"
    ]
    assert rule["meta"]["allow_null"] is True


def test_a_column_that_lost_half_of_its_values_warns(published, tmp_path, suggested):
    rows = changed(NEXT, "weight_kg", dict.fromkeys(range(0, 40, 2)))
    report = validate(published, tmp_path, land(published, rows, key=key_of(N_DAYS)), expectations=suggested)
    assert report.rows_published == 40
    assert [text.split(" (")[0] for text in report.failed] == ["weight_kg: expect_column_values_to_not_be_null"]


def test_a_text_that_comes_now_and_then_may_have_company(lake, tmp_path):
    """
    Depot 'west' is there on two of eight days, with enough rows: the set is told to warn. With one row
    it says nothing.
    """
    for day in range(N_DAYS):
        land(
            lake,
            changed(day_rows(day), "depot", dict.fromkeys(range(6), "west") if day in (2, 5) else {}),
            key=key_of(day),
        )
    workflow = declare(tmp_path)
    (rule,) = [rule for rule in suggest_suite(workflow, lake=lake).expectations if "in_set" in rule["type"]]
    assert (rule["kwargs"]["value_set"], rule["meta"]["severity"]) == (["east", "north", "south", "west"], "warn")
    land(lake, changed(day_rows(7), "depot", {0: "nowhere"}), key=key_of(7))
    assert not [rule for rule in suggest_suite(workflow, lake=lake).expectations if "in_set" in rule["type"]]


def test_without_a_key_it_names_the_columns_that_could_be_one(lake, tmp_path):
    names = [f"{number:032x}" for number in range(40)]
    land(lake, day_rows(0).append_column("digest", pa.array(names)))
    workflow = declare_workflow(tmp_path / "w", source=declare(tmp_path).source.model_copy(update={"key": ()}))
    rules = list(suggest_suite_of_two_days(workflow, lake))
    unique = [rule["kwargs"]["column"] for rule in rules if rule["type"] == "expect_column_values_to_be_unique"]
    assert unique == ["parcel_id", "digest"]
    assert of(rules, "digest")["expect_column_values_to_match_regex"] == {"column": "digest", "regex": "^[0-9a-f]{32}$"}


def suggest_suite_of_two_days(workflow, lake):
    names = [f"{number:032x}" for number in range(40, 80)]
    land(lake, day_rows(1).append_column("digest", pa.array(names)), key=key_of(1))
    return suggest_suite(workflow, lake=lake).expectations


def test_of_a_survey_no_value_is_told_but_of_columns_that_its_policy_keeps(lake, tmp_path):
    """The survey's region is kept as it is; of respondent, age, income and opinion nothing may be told."""
    privacy = Privacy(
        identifiers=("email",),
        pseudonym={"respondent": "email"},
        quasi_identifiers={"age": Band(width=10)},
        sensitive=("income", "opinion"),
        keep=("region",),
        retention="365 days",
    )
    answers = DatabaseSource(conn_id="db", query="extract.sql", event_time="at", known_time="at")
    survey = declare_workflow(tmp_path / "w", source=SurveySource(source=answers, privacy=privacy))
    n = 120
    rows = pa.table(
        {
            "respondent": [f"{number:016x}" for number in range(n)],
            "at": pa.array([START + timedelta(minutes=number) for number in range(n)], pa.timestamp("us", tz="UTC")),
            "age": [7310 + number % 3 for number in range(n)],
            "income": [8_421_000 + number // 2 for number in range(n)],
            "opinion": [("quite", "hardly")[number % 2] for number in range(n)],
            "region": [("coast", "hills")[number % 2] for number in range(n)],
            "source_position": range(n),
        }
    )
    replace_partition(lake, "parcels/raw", "2026-01-05", rows, token=new_token())
    suggestion = suggest_suite(survey, lake=lake)
    text = suggestion.write_beside(survey.expectations_path).read_text()
    assert not [word for word in ("quite", "hardly", "731", "8421", "842", "[0-9a-f]") if word in text]
    assert of(list(suggestion.expectations), "region")["expect_column_values_to_be_in_set"]["value_set"] == [
        "coast",
        "hills",
    ]
    assert set(of(list(suggestion.expectations), "income")) == {"expect_column_values_to_not_be_null"}


def test_too_little_to_learn_from_is_said(lake, tmp_path):
    workflow = declare(tmp_path)
    with pytest.raises(DataError, match=r"the lake holds no rows of 'parcels' to learn from: run parcels\.ingest"):
        suggest_suite(workflow, lake=lake)
    land(lake, day_rows(0, n_rows=9))
    with pytest.raises(DataError, match=r"parcels/raw holds 9 rows, too few to suggest rules from \(50\)"):
        suggest_suite(workflow, lake=lake)


def test_the_command_writes_beside_the_suite_and_never_over_it(published, tmp_path, monkeypatch, capsys):
    workflow = declare(tmp_path, [ROW_COUNT])
    before = workflow.expectations_path.read_bytes()
    monkeypatch.setattr("include.serving.server.find_workflow", lambda name: workflow)
    monkeypatch.setattr("include.lake.store.open_lake", lambda: published)
    assert main(["parcels"]) == 0
    said = capsys.readouterr().out
    written = workflow.folder / "expectations.suggested.json"
    assert workflow.expectations_path.read_bytes() == before
    assert f"Written to {written}" in said
    assert "8 of 8: parcels/validated 2026-01-12, 40 rows" in said
    suite = load_suite(written)
    assert f"Suggested {len(suite.rules)} expectations from 320 rows of 8 partitions" in said
    meta = json.loads(written.read_text())["meta"]["suggested_from"]
    assert meta == {
        "table": "parcels/validated",
        "partitions": 8,
        "first": "2026-01-05",
        "last": "2026-01-12",
        "rows": 320,
    }


def test_the_command_says_what_is_missing(capsys):
    assert main(["flight_delays"]) == 1
    assert "the lake holds no rows of 'flight_delays' to learn from" in capsys.readouterr().err
    assert main(["no_such_workflow"]) == 1
    assert main([]) == 2
    assert "NAME=" in capsys.readouterr().err
