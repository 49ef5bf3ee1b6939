"""Scores equal scikit-learn's, on plain rows and on resampled ones."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from include.errors import DataError
from include.evaluation.metrics import LOWER_IS_BETTER, METRICS, NEEDS_BOTH_CLASSES, gain, score, sort_rows

REFERENCE = {
    "average_precision": sk.average_precision_score,
    "roc_auc": sk.roc_auc_score,
    "accuracy": lambda y, s: sk.accuracy_score(y, s >= 0.5),
    "precision": lambda y, s: sk.precision_score(y, s >= 0.5, zero_division=0),
    "recall": lambda y, s: sk.recall_score(y, s >= 0.5),
    "f1": lambda y, s: sk.f1_score(y, s >= 0.5),
    "log_loss": lambda y, s: sk.log_loss(y, s, labels=[False, True]),
    "brier": sk.brier_score_loss,
}


def draw(seed: int, *, n_rows: int, n_levels: int | None) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and scores: with ties if there are few levels."""
    rng = np.random.default_rng(seed)
    y_true = np.r_[True, False, rng.random(n_rows - 2) < 0.3]
    y_score = rng.random(n_rows)
    return y_true, y_score if n_levels is None else np.round(y_score * n_levels) / n_levels


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize(("n_rows", "n_levels"), [(2, None), (7, 2), (500, None), (500, 10), (5_000, 1)])
def test_equals_scikit_learn(metric, n_rows, n_levels):
    y_true, y_score = draw(0, n_rows=n_rows, n_levels=n_levels)
    assert score(metric, y_true, y_score) == pytest.approx(REFERENCE[metric](y_true, y_score), abs=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_weights_equal_repeated_rows(metric):
    """Scoring with counts as weights is scoring the resample itself, row by row."""
    y_true, y_score = draw(1, n_rows=300, n_levels=20)
    rng = np.random.default_rng(2)
    drawn = rng.integers(0, 300, size=(20, 300))
    counts = np.stack([np.bincount(d, minlength=300) for d in drawn]).astype(float)
    values = sort_rows(y_true, y_score).weighted(counts, [metric])[metric]
    expected = [REFERENCE[metric](y_true[d], y_score[d]) for d in drawn]
    assert values == pytest.approx(expected, abs=1e-12)


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.sampled_from([1, 2, 5, None]))
@settings(max_examples=100, deadline=None)
@pytest.mark.claim("gate")
def test_equals_scikit_learn_on_any_rows(seed, n_rows, n_levels):
    y_true, y_score = draw(seed, n_rows=n_rows, n_levels=n_levels)
    for metric, reference in REFERENCE.items():
        assert score(metric, y_true, y_score) == pytest.approx(reference(y_true, y_score), abs=1e-12), metric


def test_closed_forms():
    """A perfect ranking, a reversed one, and a constant: known without a computer."""
    y_true = [0, 0, 1, 1]
    assert score("roc_auc", y_true, [0.1, 0.2, 0.8, 0.9]) == 1
    assert score("roc_auc", y_true, [0.9, 0.8, 0.2, 0.1]) == 0
    assert score("roc_auc", y_true, [0.5] * 4) == 0.5
    assert score("average_precision", y_true, [0.5] * 4) == 0.5
    assert score("average_precision", y_true, [0.9, 0.8, 0.2, 0.1]) == pytest.approx((1 / 3 + 2 / 4) / 2)
    assert score("brier", y_true, [0.5] * 4) == 0.25
    assert score("log_loss", y_true, [0.5] * 4) == pytest.approx(math.log(2))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("label", [0, 1])
def test_one_class_gives_no_value_and_the_reason(metric, label):
    """What two classes are needed for is nan, without a warning; the proper scores and accuracy have a value."""
    y_true, y_score = [label] * 3, [0.2, 0.5, 0.9]
    word = "positive" if label else "negative"
    reason = sort_rows(y_true, y_score).why_undefined(metric)
    if metric in NEEDS_BOTH_CLASSES:
        assert math.isnan(score(metric, y_true, y_score))
        assert reason == f"all 3 rows are {word}: {metric} needs both classes"
    else:
        assert math.isfinite(score(metric, y_true, y_score))
        assert reason == ""


def test_control_scikit_learn_gives_a_number_where_there_is_none():
    assert sk.average_precision_score([1, 1, 1], [0.2, 0.5, 0.9]) == 1.0


def test_precision_without_a_predicted_positive_is_zero():
    assert score("precision", [0, 1], [0.1, 0.2]) == 0


@pytest.mark.parametrize(
    ("metric", "y_true", "y_score", "message"),
    [
        ("gini", [0, 1], [0.1, 0.2], "metric 'gini' is unknown: known are average_precision, roc_auc"),
        ("f1", [], [], "no rows to score"),
        ("f1", [0, 1], [0.1], "2 labels but 1 scores"),
        ("f1", [0, 2], [0.1, 0.2], "y_true holds something other than 0/1"),
        ("f1", [0, None], [0.1, 0.2], "y_true holds something other than 0/1"),
        ("f1", [0, 1], [0.1, math.nan], "y_score: 1 of 2 scores are not finite"),
        ("f1", [0, 1], [0.1, None], "y_score: 1 of 2 scores are not finite"),
        ("f1", [0, 1], [0.1, math.inf], "y_score: 1 of 2 scores are not finite"),
        ("f1", [0, 1], [0.1, 1.2], r"scores reach from 0.1 to 1.2: probabilities lie in \[0, 1\]"),
        ("f1", [0, 1], ["a", "b"], "y_score is not numeric"),
        ("f1", [0, 1], [[0.1, 0.9], [0.2, 0.8]], r"y_score has shape \(2, 2\)"),
    ],
)
def test_unusable_input_is_named(metric, y_true, y_score, message):
    with pytest.raises(DataError, match=message):
        score(metric, y_true, y_score)


@pytest.mark.parametrize("metric", METRICS)
def test_gain_is_positive_where_the_first_is_better(metric):
    better, worse = (0.1, 0.3) if metric in LOWER_IS_BETTER else (0.3, 0.1)
    assert gain(metric, better, worse) == pytest.approx(0.2)
