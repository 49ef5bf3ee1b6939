"""The report of several classes and of numbers: counted by hand, and the same after JSON; its figures are drawn."""

import json
import math
from datetime import timedelta

import numpy as np
import pytest

from include.evaluation.evaluate import Scoring, evaluate
from include.evaluation.figures import draw_figures
from include.evaluation.mistakes import confuse_classes, worst_rows
from include.evaluation.report import EvaluationReport
from include.evaluation.study import best_so_far, draw_study

NAMES = ("red", "green", "<b>blue</b>")


def measure(y_true, y_pred, *, slices=None, **scoring):
    return evaluate(y_true, y_pred, scoring=Scoring(**scoring), slices=slices or {}, random_state=0, n_bootstrap=30)


def draw_classes(rng, n_rows=200):
    y = rng.integers(0, 3, n_rows)
    p = np.eye(3)[y] + rng.random((n_rows, 3))
    return y, p / p.sum(axis=1, keepdims=True)


def test_classes_are_confused_as_counted_by_hand():
    matrix = confuse_classes(np.array([0, 0, 1, 2, 2, 2]), np.eye(3)[[0, 1, 1, 2, 2, 0]], classes=NAMES)
    assert matrix.classes == ("<b>blue</b>", "red", "green")  # the most frequent first
    assert matrix.counts == ((2, 1, 0), (0, 1, 1), (0, 0, 1))
    assert matrix.n_left_out == 0


def test_of_many_classes_the_rare_ones_are_left_out_and_counted():
    y = np.repeat(np.arange(30), np.arange(30, 0, -1))
    matrix = confuse_classes(y, np.eye(30)[y], classes=[str(code) for code in range(30)])
    assert len(matrix.classes) == 20
    assert matrix.n_left_out == sum(range(1, 11))


def test_a_report_of_classes_survives_json(rng):
    y, p = draw_classes(rng)
    report = measure(y, p, task="multiclass", classes=NAMES, slices={"depot": rng.choice(["n", "s"], 200)})
    text = json.dumps(report.to_dict(), allow_nan=False)
    again = EvaluationReport.from_dict(json.loads(text))
    assert again == report
    assert again.classes == NAMES
    assert (again.n_positives, again.positive_rate, again.confusion, again.residuals) == (None, None, None, None)
    assert {"confusion.png", "calibration.png", "slices.png"} == set(draw_figures(again, y, p, metric="log_loss"))


def test_rows_of_an_unknown_class_are_reported_as_such(rng):
    y, p = draw_classes(rng)
    y[:7] = -1
    report = measure(y, p, task="multiclass", classes=NAMES)
    place = report.confusion_matrix.classes.index("(a class that it does not know)")
    assert sum(report.confusion_matrix.counts[place]) == 7
    assert report.confusion_matrix.counts[place][place] == 0
    assert set(worst_rows("multiclass", y, p, n=7)) == set(range(7))


def test_the_predicted_classs_probability_is_what_is_calibrated(rng):
    """Of a model that is right as often as it says, the bins lie on the diagonal."""
    p = rng.dirichlet([1, 1, 1], size=30_000)
    y = (rng.random(30_000)[:, None] > np.cumsum(p, axis=1)).sum(axis=1).clip(0, 2)
    bins = measure(y, p, task="multiclass").calibration
    assert all(b.observed == pytest.approx(b.predicted, abs=0.035) for b in bins)
    assert min(b.predicted for b in bins) > 1 / 3


def test_a_report_of_numbers_is_counted_by_hand_and_survives_json(rng):
    y = rng.normal(50, 10, 300)
    report = measure(y, y - 2 + rng.normal(size=300), task="forecasting", quantile=0.9)
    assert report.residuals.mean == pytest.approx(2, abs=0.2)
    assert report.residuals.mean_low < 2 < report.residuals.mean_high
    assert report.residuals.quantiles[2] == pytest.approx(2, abs=0.2)
    # nearly all are too low
    assert report.metrics["pinball"].value == pytest.approx(0.9 * report.metrics["mae"].value, rel=0.15)
    again = EvaluationReport.from_dict(json.loads(json.dumps(report.to_dict(), allow_nan=False)))
    assert again == report
    assert {"residuals.png", "calibration.png"} == set(draw_figures(again, y, y - 2, metric="mae"))


def test_a_constant_target_is_reported_and_drawn(rng):
    report = measure([5.0] * 60, rng.normal(5, 1, 60), task="regression", slices={"depot": ["n"] * 60})
    assert math.isnan(report.metrics["r2"].value)
    assert report.calibration[0].observed_low == 5
    assert "slices.png" in draw_figures(report, [5.0] * 60, [5.0] * 60, metric="r2")


def test_bounds_of_a_bin_hold_the_truth_as_often_as_they_say():
    """
    The mean of a bin of 30 values: 95 % intervals miss it in about 6 % of 1,000 bins (normal quantiles,
    few rows).
    """
    rng = np.random.default_rng(0)
    missed = 0
    for _ in range(100):
        p = rng.random(300)
        bins = measure(p + rng.normal(size=300), p, task="regression").calibration
        missed += sum(not b.observed_low <= b.predicted <= b.observed_high for b in bins)
    assert 20 < missed < 110


@pytest.mark.parametrize(
    ("task", "y", "p", "expected"),
    [
        ("classification", [1, 0, 1, 0], [0.9, 0.2, 0.1, 0.8], [2, 3]),
        ("multiclass", [0, 1, 1, 0], [[0.9, 0.1], [0.3, 0.7], [1.0, 0.0], [0.4, 0.6]], [2, 3]),
        ("regression", [1, 2, 3, 4], [1, 2, -3, 6], [2, 3]),
    ],
)
def test_the_worst_rows_come_first(task, y, p, expected):
    assert worst_rows(task, np.array(y), np.array(p, float), n=2).tolist() == expected


def test_a_threshold_moves_precision_and_recall_and_the_counts():
    y, s = [1, 1, 0, 0], [0.9, 0.3, 0.35, 0.1]
    report = measure(y, s, threshold=0.2)
    assert (report.metrics["recall"].value, report.metrics["precision"].value) == (1, pytest.approx(2 / 3))
    assert (report.confusion.threshold, report.confusion.true_positives, report.confusion.false_positives) == (
        0.2,
        2,
        1,
    )
    assert measure(y, s).metrics["recall"].value == 0.5  # control: at 0.5


def test_a_study_is_drawn_from_two_trials_on():
    trials = [
        {"number": 1, "family": "boosting $x$", "score": 0.6, "cpu_seconds": 2.0},
        {"number": 0, "family": "linear", "score": 0.5, "cpu_seconds": 0.0},
        {"number": 2, "family": "forest", "score": None, "cpu_seconds": 0.1, "error": "MemoryError"},
    ]
    assert set(draw_study(trials, "roc_auc")) == {"search.png"}
    assert draw_study(trials[1:], "roc_auc") == {}
    assert draw_study([{"family": "odd"}], "roc_auc") == {}


def test_the_best_so_far_knows_the_metrics_direction():
    assert best_so_far([0.5, 0.7, 0.6], "roc_auc") == [0.5, 0.7, 0.7]
    assert best_so_far([0.5, 0.7, 0.4], "rmse") == [0.5, 0.5, 0.4]


def test_stretches_of_time_make_an_interval_as_wide_as_the_errors_depend(rng):
    """Each day's 24 errors are one error: an interval of single rows would be far too narrow."""
    times = np.datetime64("2026-01-01", "us") + np.arange(1_200) * np.timedelta64(3600, "s")
    error = np.repeat(rng.normal(size=50), 24)
    common = {
        "scoring": Scoring(task="forecasting"),
        "slices": {"site": ["a", "b"] * 600},
        "random_state": 0,
        "n_bootstrap": 200,
    }
    alone, together = (
        evaluate(error, np.zeros(1_200), times=times, block=block, **common) for block in (None, timedelta(days=1))
    )
    widths = [report.metrics["rmse"].high - report.metrics["rmse"].low for report in (alone, together)]
    assert widths[1] > 2.5 * widths[0]  # about the root of 24 for rows that are all alike
    slices = [report.slices[0].metrics["rmse"] for report in (alone, together)]
    assert slices[1].high - slices[1].low > 1.8 * (slices[0].high - slices[0].low)
    assert together.block_seconds == 86_400
