"""The report: counted by hand, bounded in cost, and the same after JSON."""

import json
import math

import numpy as np
import pandas as pd
import pytest

from include.errors import DataError
from include.evaluation.evaluate import evaluate_classifier
from include.evaluation.report import EvaluationReport
from include.evaluation.slices import MAX_SLICE_VALUES, split_by_slices
from tests.evaluation.rows import draw_labels, draw_scores


@pytest.fixture
def report(rng) -> EvaluationReport:
    feature, y_true = draw_labels(rng, 600)
    depots = np.where(np.arange(600) < 10, "tiny", np.where(feature > 0, "north", "south"))
    return evaluate_classifier(
        y_true, draw_scores(rng, feature, noise=0.5), slices={"depot": depots}, random_state=0, n_bootstrap=100
    )


def test_counts_are_those_counted_by_hand():
    report = evaluate_classifier([1, 1, 0, 0, 0], [0.9, 0.2, 0.5, 0.1, 0.0], slices={}, random_state=0, n_bootstrap=10)
    c = report.confusion
    assert (c.true_positives, c.false_positives, c.false_negatives, c.true_negatives) == (1, 1, 1, 2)
    assert (report.n_rows, report.n_positives, report.positive_rate) == (5, 2, 0.4)
    assert report.metrics["accuracy"].value == pytest.approx(3 / 5)


def test_slices_partition_the_rows(report):
    assert [(s.value, s.n_rows) for s in report.slices][-1] == ("tiny", 10)
    assert sum(s.n_rows for s in report.slices) == report.n_rows
    assert sum(s.n_positives for s in report.slices) == report.n_positives


def test_a_slice_is_scored_as_if_alone(rng):
    y_true, y_score, depots = rng.random(200) < 0.4, rng.random(200), rng.choice(["a", "b"], 200)
    part = next(
        s for s in evaluate_classifier(y_true, y_score, slices={"d": depots}, random_state=0).slices if s.value == "a"
    )
    alone = evaluate_classifier(y_true[depots == "a"], y_score[depots == "a"], slices={}, random_state=0)
    assert part.metrics == alone.metrics


def test_a_small_slice_has_no_interval_and_says_so(report):
    tiny = next(s for s in report.slices if s.value == "tiny").metrics["brier"]
    assert math.isfinite(tiny.value)
    assert math.isnan(tiny.low)
    assert tiny.reason == "10 rows: fewer than 30 give no interval"


def test_rare_values_are_one_slice():
    values = [f"v{i}" for i in range(50) for _ in range(50 - i)]
    slices = list(split_by_slices({"code": values}, n_rows=len(values)))
    assert len(slices) == MAX_SLICE_VALUES + 1
    assert slices[0][:2] == ("code", "v0")
    assert slices[-1][1] == "(other)"
    assert sum(mask.sum() for _, _, mask in slices) == len(values)


def test_missing_values_are_a_slice_of_their_own():
    values = pd.Series(["a", None, np.nan, pd.NA, pd.NaT], dtype=object)
    assert [(value, mask.sum()) for _, value, mask in split_by_slices({"code": values}, n_rows=5)] == [
        ("(missing)", 4),
        ("a", 1),
    ]


def test_calibration_of_a_true_probability_lies_on_the_diagonal(rng):
    probability = rng.random(50_000)
    report = evaluate_classifier(
        rng.random(50_000) < probability, probability, slices={}, random_state=0, n_bootstrap=2
    )
    assert [b.n_rows for b in report.calibration] == [5_000] * 10
    assert report.calibration_error.high < 0.01
    assert all(b.observed == pytest.approx(b.predicted, abs=0.025) for b in report.calibration)  # 3.5 standard errors


def test_calibration_of_a_constant_is_one_bin():
    (only,) = evaluate_classifier([0, 1, 1], [0.4] * 3, slices={}, random_state=0, n_bootstrap=2).calibration
    assert (only.n_rows, only.predicted, only.observed) == (3, pytest.approx(0.4), pytest.approx(2 / 3))


def test_json_keeps_everything(report):
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = EvaluationReport.from_dict(json.loads(text))
    assert json.dumps(again.to_dict(), allow_nan=False) == text
    assert again.metrics == report.metrics


def test_numbers_that_are_not_finite_are_null_with_a_reason():
    report = evaluate_classifier([0] * 40, [0.2] * 40, slices={}, random_state=0, n_bootstrap=10)
    content = json.loads(json.dumps(report.to_dict(), allow_nan=False))["metrics"]["roc_auc"]
    assert content == {
        "value": None,
        "low": None,
        "high": None,
        "reason": "all 40 rows are negative: roc_auc needs both classes",
    }
    assert math.isnan(EvaluationReport.from_dict(report.to_dict()).metrics["roc_auc"].value)


def test_control_plain_json_of_nan_fails():
    with pytest.raises(ValueError, match="Out of range float values are not JSON compliant"):
        json.dumps({"roc_auc": math.nan}, allow_nan=False)


@pytest.mark.parametrize(
    "content", [{}, {"metrics": 3, "slices": [], "calibration": []}, {"metrics": {}, "slices": [], "calibration": []}]
)
def test_another_record_is_no_report(content):
    with pytest.raises(DataError, match="this is no evaluation report"):
        EvaluationReport.from_dict(content)


def test_a_slice_column_of_other_rows_is_refused():
    with pytest.raises(DataError, match="slice column 'depot' has 2 values for 3 rows"):
        evaluate_classifier([0, 1, 1], [0.4] * 3, slices={"depot": ["a", "b"]}, random_state=0)
