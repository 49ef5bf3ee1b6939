"""Scores of several classes and of numbers equal scikit-learn's, on plain rows, on weighted and on resampled ones."""

import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from include.errors import DataError
from include.evaluation.bootstrap import score_with_intervals
from include.evaluation.metrics import score, score_rows
from include.evaluation.multiclass import align_classes
from include.evaluation.paired import compare_paired
from include.workflow.tasks import METRICS_OF_TASK

QUANTILE = 0.8
CLASS_METRICS, VALUE_METRICS = METRICS_OF_TASK["multiclass"], METRICS_OF_TASK["regression"]


def class_reference(metric, y, p, w=None):
    """What scikit-learn says; classes that do not occur are no part of a macro average."""
    k, predicted = p.shape[1], p.argmax(axis=1)
    macro = {"average": "macro", "zero_division": 0, "sample_weight": w}
    return {
        "log_loss": lambda: sk.log_loss(y, p, labels=range(k), sample_weight=w),
        "brier": lambda: sk.brier_score_loss(y, p, labels=range(k), sample_weight=w, scale_by_half=False),
        "accuracy": lambda: sk.accuracy_score(y, predicted, sample_weight=w),
        "macro_precision": lambda: sk.precision_score(y, predicted, **macro),
        "macro_recall": lambda: sk.recall_score(y, predicted, **macro),
        "macro_f1": lambda: sk.f1_score(y, predicted, **macro),
        "macro_roc_auc": lambda: np.mean(
            [sk.roc_auc_score(y == code, p[:, code], sample_weight=w) for code in np.unique(y)]
        ),
    }[metric]()


def value_reference(metric, y, p, w=None):
    return {
        "mae": lambda: sk.mean_absolute_error(y, p, sample_weight=w),
        "rmse": lambda: sk.root_mean_squared_error(y, p, sample_weight=w),
        "r2": lambda: sk.r2_score(y, p, sample_weight=w),
        "pinball": lambda: sk.mean_pinball_loss(y, p, alpha=QUANTILE, sample_weight=w),
    }[metric]()


def draw_classes(seed, *, n_rows, n_classes, n_levels=None):
    """Codes of at least two classes, and probabilities: with ties if there are few levels."""
    rng = np.random.default_rng(seed)
    y = np.r_[0, 1, rng.integers(0, n_classes, n_rows - 2)]
    p = rng.random((n_rows, n_classes)) + np.eye(n_classes)[y] * rng.random()
    p = p if n_levels is None else np.round(p * n_levels) + 1
    return y, p / p.sum(axis=1, keepdims=True)


def draw_values(seed, *, n_rows):
    rng = np.random.default_rng(seed)
    y = 1e3 * rng.normal() + rng.normal(size=n_rows)
    return y, y + rng.normal(size=n_rows)


@given(st.integers(0, 2**32 - 1), st.integers(3, 60), st.integers(2, 5), st.sampled_from([1, 3, None]), st.booleans())
@settings(max_examples=60, deadline=None)
@pytest.mark.claim("gate")
def test_several_classes_equal_scikit_learn_on_any_rows_and_weights(seed, n_rows, n_classes, n_levels, is_weighted):
    y, p = draw_classes(seed, n_rows=n_rows, n_classes=n_classes, n_levels=n_levels)
    w = np.random.default_rng(seed).integers(1, 5, n_rows).astype(float) if is_weighted else np.ones(n_rows)
    values = score_rows("multiclass", y, p).weighted(w[None, :], CLASS_METRICS)
    for metric in CLASS_METRICS:
        assert values[metric][0] == pytest.approx(class_reference(metric, y, p, w), abs=1e-12), metric


@given(st.integers(0, 2**32 - 1), st.integers(2, 60), st.booleans(), st.sampled_from(["regression", "forecasting"]))
@settings(max_examples=60, deadline=None)
def test_numbers_equal_scikit_learn_on_any_rows_and_weights(seed, n_rows, is_weighted, task):
    y, p = draw_values(seed, n_rows=n_rows)
    w = np.random.default_rng(seed).random(n_rows) + 0.1 if is_weighted else np.ones(n_rows)
    values = score_rows(task, y, p, quantile=QUANTILE).weighted(w[None, :], VALUE_METRICS)
    for metric in VALUE_METRICS:
        assert values[metric][0] == pytest.approx(value_reference(metric, y, p, w), rel=1e-9), metric


@pytest.mark.parametrize("metric", CLASS_METRICS)
def test_weights_equal_repeated_rows_of_classes(metric):
    """A resample that loses a class is scored without it, as if its rows had been copied out."""
    y, p = draw_classes(1, n_rows=12, n_classes=4, n_levels=3)
    drawn = [d for d in np.random.default_rng(2).integers(0, 12, size=(40, 12)) if len(np.unique(y[d])) > 1]
    assert any(len(np.unique(y[d])) < 4 for d in drawn)
    counts = np.stack([np.bincount(d, minlength=12) for d in drawn]).astype(float)
    values = score_rows("multiclass", y, p).weighted(counts, [metric])[metric]
    assert values == pytest.approx([class_reference(metric, y[d], p[d]) for d in drawn], abs=1e-12)


@pytest.mark.parametrize("metric", VALUE_METRICS)
def test_weights_equal_repeated_rows_of_numbers(metric):
    y, p = draw_values(3, n_rows=50)
    drawn = np.random.default_rng(2).integers(0, 50, size=(20, 50))
    counts = np.stack([np.bincount(d, minlength=50) for d in drawn]).astype(float)
    values = score_rows("regression", y, p, quantile=QUANTILE).weighted(counts, [metric])[metric]
    assert values == pytest.approx([value_reference(metric, y[d], p[d]) for d in drawn], rel=1e-9)


def test_macro_roc_auc_with_all_classes_is_scikit_learns_own_average():
    y, p = draw_classes(4, n_rows=80, n_classes=3)
    expected = sk.roc_auc_score(y, p, multi_class="ovr", average="macro")
    assert score("macro_roc_auc", y, p, task="multiclass") == pytest.approx(expected, abs=1e-12)


def test_closed_forms():
    """A uniform guess among four classes, and errors of +1 and -3: known without a computer."""
    uniform = np.full((4, 4), 0.25)
    assert score("log_loss", range(4), uniform, task="multiclass") == pytest.approx(math.log(4))
    assert score("brier", range(4), uniform, task="multiclass") == pytest.approx(0.75)
    assert score("macro_roc_auc", range(4), uniform, task="multiclass") == 0.5
    assert score("mae", [1, 0], [0, 3], task="regression") == 2
    assert score("rmse", [1, 0], [0, 3], task="regression") == pytest.approx(math.sqrt(5))
    assert score("pinball", [1, 0], [0, 3], task="regression", quantile=0.9) == pytest.approx((0.9 + 0.3) / 2)
    assert score("r2", [1, 3], [2, 2], task="regression") == 0


def test_a_class_that_the_model_does_not_know_is_one_that_it_never_gets_right():
    """As scikit-learn sees it once the class has a column of zeros."""
    y, p = draw_classes(6, n_rows=40, n_classes=3)
    y[:5] = -1
    widened = np.column_stack([p, np.zeros(40)])
    for metric in CLASS_METRICS:
        expected = class_reference(metric, np.where(y < 0, 3, y), widened)
        assert score(metric, y, p, task="multiclass") == pytest.approx(expected, abs=1e-12), metric
    assert score("accuracy", y, p, task="multiclass") <= 35 / 40


def test_two_models_of_other_classes_are_judged_by_the_same_codes():
    p = np.array([[0.2, 0.8], [1.0, 0.0]])
    aligned = align_classes(p, own=("b", "d"), judged=("a", "b", "c", "d"))
    assert aligned.tolist() == [[0, 0.2, 0, 0.8], [0, 1, 0, 0]]
    with pytest.raises(DataError, match="class 'd' of the model is not among the 2 classes to judge by"):
        align_classes(p, own=("b", "d"), judged=("a", "b"))


def test_one_class_has_no_macro_score_and_says_why():
    rows = score_rows("multiclass", [1] * 40, np.full((40, 3), 1 / 3))
    table = score_with_intervals(rows, random_state=0, n_bootstrap=20)
    assert math.isnan(table["macro_f1"].value)
    assert table["macro_f1"].reason == "all 40 rows are of one class: macro_f1 needs at least two"
    assert table["log_loss"].value == pytest.approx(math.log(3))


@pytest.mark.parametrize("level", [0.0, 0.1, 1e9 + 0.1])
def test_a_constant_target_has_no_r2_and_says_why(level):
    rows = score_rows("forecasting", [level] * 40, np.linspace(0, 1, 40))
    interval = score_with_intervals(rows, random_state=0, n_bootstrap=20)["r2"]
    assert math.isnan(interval.value)
    assert interval.reason == "all 40 rows have the same value: r2 needs at least two values"


def test_control_scikit_learn_gives_a_number_where_there_is_none():
    assert sk.r2_score([1, 1, 1], [1, 2, 3]) == 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert sk.recall_score([1, 1], [1, 1], average="macro") == 1


def test_a_resample_of_equal_values_has_no_r2():
    """One row differs: a third of the resamples lose it."""
    interval = score_with_intervals(score_rows("regression", [0] * 49 + [7], [0.5] * 50), random_state=0)["r2"]
    assert math.isfinite(interval.value)
    assert "resamples have no value" in interval.reason


def test_one_value_far_away_leaves_the_others_their_r2():
    """Around a mean of 1e9 the other values' spread would be rounding."""
    y, p = draw_values(5, n_rows=100)
    rows = score_rows("regression", np.r_[y, 1e11], np.r_[p, 1e11])
    without = np.r_[np.ones(100), 0.0][None, :]
    assert rows.weighted(without, ["r2"])["r2"][0] == pytest.approx(sk.r2_score(y, p), rel=1e-6)


@pytest.mark.parametrize("metric", ["log_loss", "macro_f1"])
def test_a_better_classifier_is_found_better(metric):
    rng = np.random.default_rng(0)
    y = rng.integers(0, 3, 600)
    sharp, blunt = (np.eye(3)[y] * strength + rng.random((600, 3)) for strength in (1.0, 0.2))
    d = compare_paired(
        metric, y, *(p / p.sum(axis=1, keepdims=True) for p in (sharp, blunt)), random_state=0, task="multiclass"
    )
    assert d.interval.low > 0
    assert d.p_better == 1 / 1001


@pytest.mark.parametrize("metric", ["mae", "r2", "pinball"])
def test_a_better_forecast_is_found_better(metric):
    rng = np.random.default_rng(0)
    y = rng.normal(size=600)
    near, far = (y + noise * rng.normal(size=600) for noise in (0.3, 0.9))
    d = compare_paired(metric, y, near, far, random_state=0, task="forecasting", quantile=0.7)
    assert d.interval.low > 0 > compare_paired(metric, y, far, near, random_state=0, task="forecasting").interval.high


@pytest.mark.parametrize(
    ("task", "metric", "y_true", "y_pred", "message"),
    [
        ("multiclass", "roc_auc", [0, 1], np.eye(2), "metric 'roc_auc' is unknown: known are log_loss"),
        (
            "multiclass",
            "brier",
            [0, 2],
            np.eye(2),
            "y_true holds something other than the codes 0 to 1 of the 2 classes",
        ),
        ("multiclass", "brier", [0, -2], np.eye(2), "y_true holds something other than the codes"),
        ("multiclass", "brier", [0, 0.5], np.eye(2), "y_true holds something other than the codes"),
        ("multiclass", "brier", [0, math.nan], np.eye(2), "y_true holds something other than the codes"),
        ("multiclass", "brier", [0], np.eye(2), "1 labels but 2 rows of probabilities"),
        ("multiclass", "brier", [], np.empty((0, 3)), "no rows to score"),
        (
            "multiclass",
            "brier",
            [0, 1],
            [0.1, 0.9],
            r"y_score has shape \(2,\): give one number for each row and class",
        ),
        ("multiclass", "brier", [0, 0], [[1], [1]], "give one probability for each of at least two classes"),
        ("multiclass", "brier", [0, 1], [[0.5, 0.5], [0.5, math.nan]], "1 of 2 scores are not finite"),
        ("multiclass", "brier", [0, 1], [[0.5, 0.5], [1.5, -0.5]], r"probabilities lie in \[0, 1\]"),
        ("multiclass", "brier", [0, 1], [[0.5, 0.5], [0.5, 0.4]], "the probabilities of 1 of 2 rows do not sum to 1"),
        ("regression", "accuracy", [0, 1], [0, 1], "metric 'accuracy' is unknown: known are rmse"),
        ("regression", "mae", [0, math.nan], [0, 1], "y_true: 1 of 2 values are not finite"),
        ("regression", "mae", [0, 1], [0, math.inf], "y_pred: 1 of 2 values are not finite"),
        ("regression", "mae", [0, 1], [0, 1e200], "y_pred: values reach 1e\\+200"),
        ("regression", "mae", [0, 1], [0], "2 labels but 1 predictions"),
        ("ranking", "mae", [0, 1], [0, 1], "task 'ranking' is unknown: known are classification"),
    ],
)
def test_unusable_input_is_named(task, metric, y_true, y_pred, message):
    with pytest.raises(DataError, match=message):
        score(metric, y_true, y_pred, task=task)


def test_a_senseless_quantile_is_refused():
    with pytest.raises(DataError, match=r"quantile=1\.0: give a number between 0 and 1"):
        score("pinball", [0, 1], [0, 1], task="regression", quantile=1.0)
