"""Pairs of models of every task: McNemar's test, margins, and what cannot be compared."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy.stats import binomtest

from include.errors import DataError
from include.evaluation.paired import PairedTest, compare_models, is_right, mcnemar
from include.evaluation.resampling import cut_blocks
from tests.evaluation.test_resampling import DAY, hours

TEST = PairedTest(random_state=0, alpha=0.025)


@pytest.mark.parametrize(("n_a", "n_b"), [(0, 0), (0, 3), (1, 0), (6, 0), (7, 2), (40, 25), (600, 500)])
def test_mcnemar_is_the_binomials_tail(n_a, n_b):
    right_a = np.repeat([True, False, True, False], [n_a, n_b, 30, 20])
    right_b = np.repeat([False, True, True, False], [n_a, n_b, 30, 20])
    expected = binomtest(n_a, n_a + n_b, alternative="greater").pvalue if n_a + n_b else 1.0
    assert mcnemar(right_a, right_b) == pytest.approx(expected, rel=1e-9)


def test_accuracy_is_compared_by_mcnemars_test_and_by_blocks_where_rows_depend(rng):
    y = rng.random(240) < 0.5
    a, b = np.where(rng.random(240) < 0.1, 1 - y, y), np.where(rng.random(240) < 0.3, 1 - y, y)
    alone = compare_models("classification", ["accuracy", "brier"], y, (a, b), test=TEST)
    assert (alone["accuracy"].method, alone["brier"].method) == ("McNemar", "bootstrap")
    right_a, right_b = (is_right("classification", y, model) for model in (a, b))
    assert alone["accuracy"].p_better == mcnemar(right_a, right_b) < 1e-4
    assert alone["accuracy"].p_worse == mcnemar(right_b, right_a) > 0.99
    blocked = PairedTest(random_state=0, alpha=0.025, blocks=cut_blocks(hours(240), DAY))
    assert compare_models("classification", ["accuracy"], y, (a, b), test=blocked)["accuracy"].method == "bootstrap"


def test_of_several_classes_the_most_probable_one_counts():
    assert is_right("multiclass", [0, 1, 2], [[0.5, 0.3, 0.2], [0.5, 0.3, 0.2], [0.1, 0.2, 0.7]]).tolist() == [
        True,
        False,
        True,
    ]
    assert is_right("classification", [True, True, False], [0.5, 0.4, 0.4]).tolist() == [True, False, True]


def test_models_of_several_classes(rng):
    codes = rng.integers(0, 3, 400)
    blurred = [0.5 * np.eye(3)[codes] + 0.5 * rng.dirichlet([1, 1, 1], 400), rng.dirichlet([1, 1, 1], 400)]
    found = compare_models(
        "multiclass", ["log_loss", "macro_f1", "accuracy"], codes, (blurred[0], blurred[1]), test=TEST
    )
    assert all(d.p_better <= 0.001 < 0.9 <= d.p_worse for d in found.values())


@pytest.mark.parametrize("task", ["regression", "forecasting"])
def test_models_of_numbers_have_a_margin_in_shares_of_the_others_error(rng, task):
    """
    Errors have the target's unit: a tolerance of .05 is 5 % of the champion's error. R² has none, and keeps it as it
    is.
    """
    y = rng.normal(size=300)
    a, b = y + rng.normal(size=300), y + rng.normal(size=300)
    test = PairedTest(random_state=0, alpha=0.025, tolerance=0.05)
    found = compare_models(task, ["mae", "r2"], y, (a, b), test=test)
    assert found["mae"].margin == pytest.approx(0.05 * np.abs(b - y).mean())
    assert found["r2"].margin == 0.05


def test_a_model_a_little_worse_is_close_and_not_better(rng):
    y = rng.normal(size=400)
    b = y + rng.normal(size=400)
    a = y + 1.01 * (b - y)
    d = compare_models("regression", ["mae"], y, (a, b), test=PairedTest(random_state=0, alpha=0.025, tolerance=0.05))[
        "mae"
    ]
    assert d.p_close == pytest.approx(1 / 1001)
    assert d.p_better == 1
    strict = compare_models("regression", ["mae"], y, (a, b), test=TEST)["mae"]
    assert strict.p_close == 1  # the control: without a tolerance


def test_too_few_blocks_of_time_tell_nothing(rng):
    y = rng.normal(size=96)
    test = PairedTest(random_state=0, blocks=cut_blocks(hours(96), timedelta(days=1)))
    d = compare_models("forecasting", ["mae"], y, (y, y + 5), test=test)["mae"]
    assert (d.p_better, d.p_worse, d.p_close) == (1, 1, 1)
    assert d.interval.reason.startswith("the rows are 4 blocks of time long: at least 5 are needed")


def test_a_metric_of_another_task_is_refused(rng):
    with pytest.raises(DataError, match="metric 'roc_auc' is unknown"):
        compare_models("regression", ["roc_auc"], [1.0, 2.0], ([1.0, 2.0], [1.0, 2.0]), test=TEST)
