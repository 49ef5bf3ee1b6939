"""Intervals and paired tests: their coverage, their errors, and the same numbers as a plain resampling."""

import math

import numpy as np
import pytest
from sklearn.metrics import average_precision_score

from include.errors import DataError
from include.evaluation.bootstrap import resample_counts, score_with_intervals
from include.evaluation.metrics import METRICS, sort_rows
from include.evaluation.paired import compare_paired, compare_sorted, holm_rejections
from tests.evaluation.rows import draw_labels, draw_scores


def test_equals_a_plain_bootstrap_on_the_same_resamples(rng):
    """The same rows, copied out and scored by scikit-learn one resample after the other."""
    feature, y_true = draw_labels(rng, 400)
    y_score = draw_scores(rng, feature, noise=0.5)
    fast = score_with_intervals(sort_rows(y_true, y_score), random_state=3, n_bootstrap=200)["average_precision"]
    counts = np.concatenate(list(resample_counts(400, 200, rng=np.random.default_rng(3)))).astype(int)
    slow = [average_precision_score(np.repeat(y_true, c), np.repeat(y_score, c)) for c in counts]
    assert (fast.low, fast.high) == pytest.approx(np.quantile(slow, [0.025, 0.975]), abs=1e-12)
    assert fast.value == pytest.approx(average_precision_score(y_true, y_score), abs=1e-12)


def test_each_resample_has_as_many_rows(rng):
    chunks = list(resample_counts(100_000, 6, rng=rng))
    assert len(chunks) == 3
    assert all((chunk.sum(axis=1) == 100_000).all() for chunk in chunks)


def test_interval_covers_the_truth_as_often_as_it_says():
    """
    Accuracy of a fair coin is 0.5: 95 % intervals miss it in about 5 % of 400 samples (three standard errors: 1.7 to
    8.3 %).
    """
    rng = np.random.default_rng(0)
    missed = 0
    for seed in range(400):
        rows = sort_rows(rng.random(300) < 0.5, np.full(300, 0.7))
        interval = score_with_intervals(rows, random_state=seed, n_bootstrap=300, metrics=["accuracy"])["accuracy"]
        missed += not interval.low <= 0.5 <= interval.high
    assert 400 * 0.017 <= missed <= 400 * 0.083


def test_the_same_seed_gives_the_same_interval(rng):
    rows = sort_rows(rng.random(200) < 0.5, rng.random(200))
    first, second, other = (score_with_intervals(rows, random_state=s, n_bootstrap=50) for s in (1, 1, 2))
    assert first == second
    assert first["roc_auc"] != other["roc_auc"]


def test_one_positive_row_gives_a_value_but_no_interval(rng):
    """A third of the resamples lose the only positive: what is left would make a biased interval."""
    interval = score_with_intervals(sort_rows(np.arange(50) == 7, rng.random(50)), random_state=0)["roc_auc"]
    assert math.isfinite(interval.value)
    assert math.isnan(interval.low)
    assert "resamples have no value: too few rows of one class" in interval.reason


def test_one_class_gives_no_number_and_the_reason(rng):
    interval = score_with_intervals(sort_rows(np.zeros(50), rng.random(50)), random_state=0)["roc_auc"]
    assert math.isnan(interval.value)
    assert interval.reason == "all 50 rows are negative: roc_auc needs both classes"


@pytest.mark.claim("gate")
def test_equal_models_are_called_worse_at_about_alpha():
    """200 pairs of equally good models at alpha = 0.1: 20 false alarms expected, 3 standard errors are 13."""
    alarms = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        feature, y_true = draw_labels(rng, 400)
        a, b = (draw_scores(rng, feature, noise=0.8) for _ in range(2))
        alarms += compare_paired("average_precision", y_true, a, b, random_state=seed, alpha=0.1).p_worse <= 0.1
    assert 7 <= alarms <= 33


@pytest.mark.parametrize("metric", ["average_precision", "log_loss"])
def test_a_better_model_is_found_better_whatever_the_metrics_direction(rng, metric):
    feature, y_true = draw_labels(rng, 2_000)
    better, worse = (draw_scores(rng, feature, noise=noise) for noise in (0.2, 1.5))
    forth, back = (compare_paired(metric, y_true, a, b, random_state=0) for a, b in ((better, worse), (worse, better)))
    assert forth.interval.low > 0 > back.interval.high
    assert forth.p_better == back.p_worse == 1 / 1001
    assert forth.p_worse == back.p_better == 1
    assert forth.interval.value == -back.interval.value


def test_pairing_is_what_makes_small_differences_visible(rng):
    """Two nearly equal models: the paired interval is far narrower than either model's own."""
    feature, y_true = draw_labels(rng, 2_000)
    a = draw_scores(rng, feature, noise=0.5)
    b = np.clip(a + 0.01 * rng.normal(size=2_000), 0, 1)
    paired = compare_paired("roc_auc", y_true, a, b, random_state=0).interval
    alone = score_with_intervals(sort_rows(y_true, a), random_state=0, metrics=["roc_auc"])["roc_auc"]
    assert paired.high - paired.low < (alone.high - alone.low) / 4


def test_a_model_against_itself_is_neither_better_nor_worse(rng):
    y_score = rng.random(100)
    d = compare_paired("roc_auc", [0, 1] * 50, y_score, y_score, random_state=0)
    assert (d.interval.value, d.interval.low, d.interval.high, d.p_worse, d.p_better) == (0, 0, 0, 1, 1)


def test_several_metrics_at_once_are_each_as_if_alone(rng):
    y_true, a, b = rng.random(100) < 0.5, rng.random(100), rng.random(100)
    together = compare_sorted(METRICS, sort_rows(y_true, a), sort_rows(y_true, b), random_state=4)
    for metric in METRICS:
        alone = compare_paired(metric, y_true, a, b, random_state=4)
        assert together[metric].p_worse == alone.p_worse
        assert together[metric].interval.low == pytest.approx(alone.interval.low, abs=1e-12)


def test_one_class_never_tells_models_apart(rng):
    d = compare_paired("roc_auc", np.zeros(100), rng.random(100), rng.random(100), random_state=0)
    assert (d.p_worse, d.p_better) == (1, 1)
    assert d.interval.reason == "all 100 rows are negative: roc_auc needs both classes"


def test_smaller_levels_take_more_resamples(rng):
    """So that a corrected test over many slices can still say no."""
    feature, y_true = draw_labels(rng, 500)
    d = compare_paired(
        "brier", y_true, np.full(500, 0.9), draw_scores(rng, feature, noise=0.1), random_state=0, alpha=0.0005
    )
    assert d.p_worse == 1 / 4001


def test_models_of_other_rows_are_refused(rng):
    with pytest.raises(DataError, match="100 labels but 99 scores"):
        compare_paired("roc_auc", [0, 1] * 50, rng.random(100), rng.random(99), random_state=0)


@pytest.mark.parametrize(
    ("p_values", "rejected"),
    [
        ([], []),
        ([0.04], [True]),
        # Holm's own steps: .005 < .0125, .01 < .0167, .03 > .025
        ([0.01, 0.04, 0.03, 0.005], [True, False, False, True]),
        ([0.03, 0.03], [False, False]),
        ([math.nan, 0.001], [False, True]),
    ],
)
def test_holm(p_values, rejected):
    assert holm_rejections(p_values, alpha=0.05) == rejected


def test_holm_refuses_a_senseless_level():
    with pytest.raises(DataError, match="alpha=0: give a probability"):
        holm_rejections([0.1], alpha=0)
