"""What we change of Great Expectations' own ways changes none of its answers."""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from include.quality import gx
from include.quality.gx import ExpectationConfiguration, validate
from tests.factories import parcel_rows

RULES = [
    ("expect_column_values_to_not_be_null", {"column": "depot", "mostly": 0.9}),
    (
        "expect_column_values_to_be_between",
        {"column": "distance_km", "min_value": 10, "max_value": 100, "strict_max": True},
    ),
    ("expect_column_values_to_be_in_set", {"column": "depot", "value_set": ["north"]}),
    ("expect_column_values_to_match_regex", {"column": "depot", "regex": "^[a-z]+$"}),
    ("expect_column_value_lengths_to_be_between", {"column": "depot", "min_value": 5}),
    ("expect_column_values_to_be_unique", {"column": "parcel_id"}),
    ("expect_column_values_to_be_of_type", {"column": "weight_kg", "type_": "float64"}),
    ("expect_column_pair_values_a_to_be_greater_than_b", {"column_A": "distance_km", "column_B": "weight_kg"}),
    ("expect_compound_columns_to_be_unique", {"column_list": ["depot", "sent_at"]}),
    ("expect_table_row_count_to_be_between", {"min_value": 1, "max_value": 10}),
    ("expect_column_mean_to_be_between", {"column": "weight_kg", "min_value": 0}),
    (
        "expect_column_quantile_values_to_be_between",
        {"column": "weight_kg", "quantile_ranges": {"quantiles": [0.5], "value_ranges": [[0, 1]]}},
    ),
    ("expect_column_proportion_of_unique_values_to_be_between", {"column": "depot", "max_value": 0.5}),
    ("expect_table_columns_to_match_set", {"column_set": ["depot"], "exact_match": False}),
    ("expect_column_values_to_be_between", {"column": "no_such_column", "min_value": 0}),
]


def answers_of(rules: list[tuple[str, dict]]) -> list[str]:
    """Great Expectations' answers as text, sorted: it answers in no certain order."""
    configurations = [
        ExpectationConfiguration(type=type_, kwargs=kwargs, id=str(n)) for n, (type_, kwargs) in enumerate(rules)
    ]
    runtime = {
        "result_format": {"result_format": "COMPLETE", "unexpected_index_column_names": []},
        "catch_exceptions": True,
    }
    answers = validate(parcel_rows(n_rows=40).to_pandas(), configurations, runtime)
    assert len(answers) == len(rules)
    texts = [json.dumps(answer.to_json_dict(), sort_keys=True, default=str) for answer in answers]
    # A batch's and a metric's id is new each time.
    return sorted(text.partition('"exception_info"')[2] for text in texts)


@pytest.fixture
def originals() -> dict[str, Any]:
    """What is looked up once a validation: the configuration, the expectation that is built of it, a metric's name."""
    return {
        "_MADE_ANEW": gx.Expectation.configuration,
        "_BUILT_ANEW": gx.ExpectationConfiguration.to_domain_obj,
        "_NAMED_ANEW": gx.IDDict.to_id,
    }


def test_what_is_looked_up_once_gives_the_same_answers(
    monkeypatch: pytest.MonkeyPatch, originals: dict[str, Any]
) -> None:
    once = answers_of(RULES)
    assert all(getattr(gx, name) is original for name, original in originals.items())
    assert originals["_MADE_ANEW"] is gx.Expectation.configuration
    assert originals["_BUILT_ANEW"] is gx.ExpectationConfiguration.to_domain_obj
    assert originals["_NAMED_ANEW"] is gx.IDDict.to_id
    monkeypatch.setattr(gx, "_looked_up_once", contextlib.nullcontext)
    assert answers_of(RULES) == once
    assert sum('"success": true' in text for text in once) > 3
    assert sum('"success": false' in text for text in once) > 3


def test_arguments_that_differ_in_their_kind_alone_are_told_apart() -> None:
    kinds = [
        {"a": 1, "b": 0},
        {"a": 1.0, "b": 0},
        {"a": True, "b": 0},
        {"a": "1", "b": 0},
        {"a": [1], "b": 0},
        {"a": None, "b": 0},
    ]
    anew = [gx.IDDict(kind).to_id() for kind in kinds]
    with gx._looked_up_once():
        assert [gx.IDDict(kind).to_id() for kind in kinds * 2] == anew * 2
    assert len(set(anew)) == len(kinds)


def test_each_is_looked_up_a_few_times_a_rule(monkeypatch: pytest.MonkeyPatch, originals: dict[str, Any]) -> None:
    """That is what is spared: many times a rule without."""
    counts: Counter[str] = Counter()

    def counted(name: str) -> Callable[..., Any]:
        original = getattr(originals[name], "fget", originals[name])

        def count(*arguments: Any) -> Any:
            counts[name] += 1
            return original(*arguments)

        return count

    patched = {"_MADE_ANEW": property(counted("_MADE_ANEW"))} | {
        name: counted(name) for name in ("_BUILT_ANEW", "_NAMED_ANEW")
    }
    for name, function in patched.items():
        monkeypatch.setattr(gx, name, function)
    answers_of(RULES)
    once = counts.copy()
    counts.clear()
    monkeypatch.setattr(gx.Expectation, "configuration", patched["_MADE_ANEW"])
    monkeypatch.setattr(gx.ExpectationConfiguration, "to_domain_obj", patched["_BUILT_ANEW"])
    monkeypatch.setattr(gx.IDDict, "to_id", patched["_NAMED_ANEW"])
    monkeypatch.setattr(gx, "_looked_up_once", contextlib.nullcontext)
    answers_of(RULES)
    assert all(0 < 3 * once[name] < counts[name] for name in originals), (once, counts)
