"""A suite is refused before a row is read, in a message that fits one screen."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from include.errors import SuiteError
from include.quality.suite import load_suite
from tests.factories import SUITE
from tests.quality.rows import NOT_NULL, ROW_COUNT


def write_suite(folder: Path, *expectations: Any) -> Path:
    path = folder / "expectations.json"
    path.write_text(json.dumps({"name": "s", "expectations": list(expectations)}))
    return path


def expectation(type_: str, **kwargs: Any) -> dict[str, Any]:
    return {"type": type_, "kwargs": kwargs}


def test_a_suite_in_the_librarys_own_form_is_read(tmp_path):
    path = tmp_path / "expectations.json"
    path.write_text(json.dumps(SUITE))
    suite = load_suite(path)
    assert [(rule.label, rule.is_row_rule, rule.severity) for rule in suite.rules] == [
        ("expect_table_row_count_to_be_between", False, "stop"),
        ("is_late: expect_column_values_to_not_be_null", True, "quarantine"),
        ("distance_km: expect_column_values_to_be_between", True, "quarantine"),
        ("depot: expect_column_values_to_be_in_set", True, "quarantine"),
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "no such expectation suite: create the file"),
        ("{not json", "line 1, column 2: not JSON"),
        ("[]", "holds a list, not an object"),
        ("{}", "no list of 'expectations'"),
        ('{"expectations": []}', "the suite is empty"),
        ('{"expectations": [], "expectations": []}', "the key 'expectations' is there twice"),
        ('{"expectations": ["x"]}', "expectation 1: is a str, not an object"),
        ('{"expectations": [{"kwargs": {}}]}', "expectation 1: has no 'type'"),
        ('{"expectations": [{"expectation_type": "x", "kwargs": {}}]}', "rename the key to 'type'"),
        ('{"expectations": [{"type": "expect_column_to_exist"}]}', "'kwargs' must be an object"),
        (
            '{"expectations": [{"type": "expect_column_to_exist", "kwargs": {"column": "x"}, "meta": 3}]}',
            "'meta' must be an object",
        ),
    ],
)
def test_a_file_that_is_no_suite_is_refused(tmp_path, text, says):
    path = tmp_path / "expectations.json"
    if text is not None:
        path.write_text(text)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert str(path) in str(caught.value)
    assert says in str(caught.value)


def test_a_file_in_another_encoding_is_refused(tmp_path):
    path = tmp_path / "expectations.json"
    path.write_bytes('{"name": "é"}'.encode("latin-1"))
    with pytest.raises(SuiteError, match="UnicodeDecodeError"):
        load_suite(path)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            expectation("expect_column_values_not_to_be_null", column="x"),
            "did you mean 'expect_column_values_to_not_be_null'?",
        ),
        (expectation("quux"), "Great Expectations has no such expectation: see https"),
        (
            expectation("expect_column_values_to_be_between", column="x", min_value=0, max_valu=9),
            "did you mean 'max_value'?",
        ),
        (
            expectation("expect_column_values_to_not_be_null", column="x", zzzz=1),
            "the argument 'zzzz' is unknown: known are column",
        ),
        (expectation("expect_column_values_to_not_be_null"), "the argument 'column' is missing"),
        (
            expectation("expect_column_values_to_not_be_null", column=3),
            "the argument 'column' is wrong (str type expected)",
        ),
        (
            expectation("expect_column_values_to_not_be_null", column="x", mostly="often"),
            "the argument 'mostly' is wrong",
        ),
        (expectation("expect_column_values_to_not_be_null", column="x", mostly=0), "mostly=0 is no share"),
        (expectation("expect_column_values_to_not_be_null", column="x", mostly=95), "mostly=95 is no share"),
        (expectation("expect_column_values_to_be_in_set", column="x", value_set=[]), "'value_set' is empty"),
        (
            expectation("expect_column_values_to_be_in_set", column="x", value_set="abc"),
            "the argument 'value_set' is wrong",
        ),
        (expectation("expect_column_values_to_be_between", column="x"), "states no bound"),
        (expectation("expect_table_row_count_to_be_between"), "states no bound"),
        (expectation("expect_table_row_count_to_be_between", min_value=9, max_value=5), "must be less than or equal"),
        (expectation("expect_column_values_to_match_regex", column="x", regex="("), "'(' is no regular expression"),
        (expectation("expect_compound_columns_to_be_unique", column_list=["x"]), "must contain at least two columns"),
        (
            expectation("expect_column_values_to_be_between", column="x", min_value={"$PARAMETER": "p"}),
            "holds a $PARAMETER",
        ),
        (
            NOT_NULL | {"meta": {"severity": "fatal"}},
            "meta.severity='fatal' is unknown: write one of warn, quarantine, stop",
        ),
        (ROW_COUNT | {"meta": {"severity": "quarantine"}}, "has no rows to quarantine"),
    ],
)
def test_a_wrong_expectation_is_named_with_its_remedy(tmp_path, wrong, says):
    path = write_suite(tmp_path, ROW_COUNT | {"meta": {"reason": "first"}}, wrong)
    if wrong["type"] == ROW_COUNT["type"] and wrong["kwargs"] == ROW_COUNT["kwargs"]:
        path = write_suite(tmp_path, NOT_NULL, wrong)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    message = str(caught.value)
    assert f"expectation 2 ({wrong['type']})" in message
    assert says in message
    assert len(message) < 700
    assert "\n" not in message


def test_a_rule_that_is_there_twice_is_refused(tmp_path):
    with pytest.raises(SuiteError, match=r"expectation 2 .* repeats expectation 1: remove one"):
        load_suite(write_suite(tmp_path, NOT_NULL, NOT_NULL | {"meta": {"reason": "again"}}))


def test_arguments_that_would_hide_failing_rows_are_left_out(tmp_path):
    hiding = expectation(
        "expect_column_values_to_not_be_null", column="x", result_format="BOOLEAN_ONLY", catch_exceptions=False
    )
    assert dict(load_suite(write_suite(tmp_path, hiding)).rules[0].kwargs) == {"column": "x"}


@pytest.mark.parametrize(
    ("own", "meta", "severity"),
    [
        ("critical", {}, "quarantine"),
        ("warning", {}, "warn"),
        ("info", {}, "warn"),
        ("warning", {"severity": "stop"}, "stop"),
    ],
)
def test_the_librarys_own_severity_counts_unless_meta_says_otherwise(tmp_path, own, meta, severity):
    suite = load_suite(write_suite(tmp_path, NOT_NULL | {"severity": own, "meta": meta}))
    assert suite.rules[0].severity == severity
