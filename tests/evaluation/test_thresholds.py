"""A threshold is the best there is for its goal: compared with every other one, counted by hand."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import DataError
from include.evaluation.thresholds import choose_threshold
from include.workflow.goal import Costs

Y = [1, 1, 0, 1, 0, 0]
S = [0.9, 0.8, 0.7, 0.4, 0.3, 0.1]


@pytest.mark.parametrize(
    ("goal", "threshold", "precision", "recall"),
    [
        ("recall@precision=0.75", 0.35, 3 / 4, 1),
        ("recall@precision=1", 0.75, 1, 2 / 3),
        ("precision@recall=0.5", 0.75, 1, 2 / 3),
        ("precision@recall=0.9", 0.35, 3 / 4, 1),
        ("f1", 0.35, 3 / 4, 1),
        ("accuracy", 0.75, 1, 2 / 3),  # five right of six, as at 0.35: the higher one
        (Costs(false_positive=1, false_negative=5), 0.35, 3 / 4, 1),
        (Costs(false_positive=5, false_negative=1), 0.75, 1, 2 / 3),
        (Costs(false_positive=1, false_negative=0), float(np.nextafter(0.9, 1)), 0, 0),
        (Costs(false_positive=0, false_negative=1), 0.35, 3 / 4, 1),
    ],
)
def test_goals_counted_by_hand(goal, threshold, precision, recall):
    found = choose_threshold(Y, S, goal)
    assert (found.threshold, found.precision, found.recall) == pytest.approx((threshold, precision, recall))
    assert found.is_reached
    assert found.n_rows == 6


def counted(y, s, threshold):
    chosen = s >= threshold
    hits, n = int((chosen & y).sum()), int(chosen.sum())
    return hits / n if n else 0.0, hits / int(y.sum()), n - hits, int(y.sum()) - hits


@given(st.integers(0, 2**32 - 1), st.integers(2, 40), st.sampled_from([2, 5, None]), st.sampled_from([0.3, 0.6, 0.9]))
@settings(max_examples=60, deadline=None)
def test_no_other_threshold_is_better(seed, n_rows, n_levels, bound):
    rng = np.random.default_rng(seed)
    y = np.r_[True, False, rng.random(n_rows - 2) < 0.4]
    s = rng.random(n_rows) if n_levels is None else rng.integers(0, n_levels, n_rows) / n_levels
    others = [counted(y, s, t) for t in [*s, 2.0]]
    found = choose_threshold(y, s, f"recall@precision={bound}")
    assert counted(y, s, found.threshold)[:2] == pytest.approx((found.precision, found.recall))
    reached = [recall for precision, recall, *_ in others if precision >= bound]
    assert found.is_reached == bool(reached)
    if reached:
        assert found.precision >= bound
        assert found.recall == pytest.approx(max(reached))
    else:
        assert found.precision == pytest.approx(max(precision for precision, *_ in others))
    costs = Costs(false_positive=2, false_negative=3)
    found = choose_threshold(y, s, costs)
    *_, alarms, misses = counted(y, s, found.threshold)
    assert 2 * alarms + 3 * misses == pytest.approx(min(2 * a + 3 * m for *_, a, m in others))


def test_a_goal_out_of_reach_is_said_so():
    found = choose_threshold([0, 1, 0, 1], [0.9, 0.8, 0.7, 0.6], "recall@precision=0.9")
    assert not found.is_reached
    assert found.precision == 0.5
    assert found.describe().startswith("No threshold reaches recall@precision=0.9; 0.")


def test_neighbours_without_room_between_them():
    """There is no number halfway between two that follow each other: the upper one is the threshold then."""
    low = 0.5
    high = float(np.nextafter(low, 1))
    assert choose_threshold([0, 1], [low, high], "f1").threshold == high


def test_a_threshold_serves_rows_it_was_not_chosen_on(rng):
    """
    Chosen on one half for a precision of 0.6; on the other half it is about kept, and 0.5 would not have been the
    choice.
    """
    feature = rng.normal(size=20_000)
    y = rng.random(20_000) < 1 / (1 + np.exp(3 - 2 * feature))
    s = 1 / (1 + np.exp(3 - 2 * feature))
    found = choose_threshold(y[:10_000], s[:10_000], "recall@precision=0.6")
    precision, *_ = counted(y[10_000:], s[10_000:], found.threshold)
    assert precision == pytest.approx(0.6, abs=0.05)
    assert found.threshold < 0.45


@pytest.mark.parametrize(
    ("y", "goal", "message"),
    [
        ([0, 0], "f1", "cannot be chosen on 2 rows of one class"),
        ([0, 1], "profit", "goal 'profit' is unknown"),
        ([0, 1], "recall@precision=lots", "goal 'recall@precision=lots' is unknown"),
        ([0, 1], "recall@precision=0", "is unknown"),
        ([0, 1], "recall@recall=0.5", "is unknown"),
    ],
)
def test_a_senseless_goal_is_refused(y, goal, message):
    with pytest.raises(DataError, match=message):
        choose_threshold(y, [0.1, 0.2], goal)
