"""
Resamples as counts: as many rows as there were, each as often as the others, and stretches of time where rows depend on
each other.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from scipy.signal import lfilter

from include.errors import DataError
from include.evaluation.metrics import score_rows
from include.evaluation.paired import PairedTest, compare_rows
from include.evaluation.resampling import Blocks, cut_blocks, resample_counts, seeded_counts

DAY = timedelta(days=1)


def hours(n: int) -> np.ndarray:
    """Consecutive hours from a Monday on."""
    return np.datetime64("2026-01-05", "us") + np.arange(n) * np.timedelta64(1, "h")


def test_a_block_of_a_day_holds_a_day_of_rows():
    blocks = cut_blocks(hours(240), DAY)
    assert (blocks.length, blocks.n_blocks) == (24, 10)
    assert cut_blocks(hours(240), timedelta(hours=5)).length == 5


def test_each_resample_is_made_of_whole_stretches(rng):
    blocks = cut_blocks(hours(240), DAY)
    counts = np.concatenate(list(resample_counts(240, 50, rng=rng, blocks=blocks)))
    assert (counts.sum(axis=1) == 240).all()
    # Ten stretches have ten starts and ten ends: on a circle the count changes at no more than twenty places.
    assert ((counts != np.roll(counts, 1, axis=1)).sum(axis=1) <= 20).all()
    alone = np.concatenate(list(resample_counts(240, 50, rng=rng)))
    assert ((alone != np.roll(alone, 1, axis=1)).sum(axis=1) > 100).all()  # the control: rows drawn one by one


def test_every_row_is_drawn_as_often_as_the_others(rng):
    """
    On a circle: the plain moving block draws the first and the last rows less often. 4,000 resamples, 1 ± 5 standard
    errors.
    """
    counts = np.concatenate(list(resample_counts(60, 4_000, rng=rng, blocks=Blocks(order=np.arange(60), length=7))))
    assert np.abs(counts.mean(axis=0) - 1).max() < 5 / np.sqrt(4_000)


def test_counts_come_in_the_callers_order(rng):
    """Rows in any order: those of one stretch of time are drawn together all the same."""
    shuffled = rng.permutation(240)
    blocks = cut_blocks(hours(240)[shuffled], DAY)
    counts = np.concatenate(list(resample_counts(240, 20, rng=rng, blocks=blocks)))
    in_time = counts[:, np.argsort(shuffled)]
    assert ((in_time != np.roll(in_time, 1, axis=1)).sum(axis=1) <= 20).all()


@pytest.mark.parametrize("n_rows", [30, 300])
def test_kept_counts_are_those_that_the_seed_draws(n_rows):
    drawn = np.concatenate(list(resample_counts(n_rows, 1_000, rng=np.random.default_rng(4))))
    kept = np.concatenate(list(seeded_counts(n_rows, 1_000, random_state=4)))
    assert np.array_equal(drawn, kept)


def test_few_blocks_widen_as_students_t_does():
    """Seven days: t of six degrees, 2.447 in place of 1.960, and a variance of 7/6."""
    blocks = Blocks(order=np.arange(70), length=10)
    assert blocks.widening(0.025) == pytest.approx(2.4469 / 1.95996 * np.sqrt(7 / 6), rel=1e-4)
    assert Blocks(order=np.arange(7_000), length=1).widening(0.025) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("times", [(), np.array(["2026-01-05", "NaT"], dtype="datetime64[us]")])
def test_rows_without_a_time_cannot_be_cut(times):
    with pytest.raises(DataError, match="blocks of time need a time for each row"):
        cut_blocks(times, DAY)


def _false_answers(*, block: timedelta | None, n_pairs: int) -> int:
    """How often one of two equally good forecasts is called better, where errors of neighbouring hours are alike."""
    rng, n, found = np.random.default_rng(0), 24 * 20, 0
    for _ in range(n_pairs):
        noise = lfilter([1], [1, -0.9], rng.normal(size=(2, n)))
        a, b = (score_rows("forecasting", np.zeros(n), series) for series in noise)
        blocks = None if block is None else cut_blocks(hours(n), block)
        d = compare_rows(["mae"], a, b, test=PairedTest(random_state=0, alpha=0.025, blocks=blocks))["mae"]
        found += d.p_better <= 0.025 or d.p_worse <= 0.025
    return found


@pytest.mark.claim("gate")
def test_blocks_keep_the_level_where_rows_depend_on_each_other():
    """
    AR(1) errors with .9: of 80 pairs 4 may be told apart at 5 % (99.9 % bound: 12). Drawn one by one, more than a third
    are.
    """
    assert _false_answers(block=DAY, n_pairs=80) <= 12
    assert _false_answers(block=None, n_pairs=24) >= 8
