"""Distances of samples, beside truths in closed form and other libraries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2_contingency, false_discovery_control, norm

from include.errors import DataError
from include.evaluation.divergence import adjust_p_values, compare_counts

counts = st.lists(st.integers(0, 500), min_size=2, max_size=12).filter(any)
pairs = counts.flatmap(
    lambda a: st.tuples(st.just(a), st.lists(st.integers(0, 500), min_size=len(a), max_size=len(a)).filter(any))
)


@pytest.mark.parametrize(
    ("reference", "current", "expected"),
    [
        ([10**6, 0], [0, 10**6], 1.0),  # nothing in common
        ([10**6, 10**6], [10**6, 10**6], 0.0),
        # p = (1, 0), q = (1/2, 1/2): H(3/4, 1/4) - H(q)/2 = 0.3113 bits
        ([10**6, 0], [10**6, 10**6], 0.3112781**0.5),
    ],
)
def test_distances_known_in_closed_form(reference, current, expected):
    assert compare_counts(reference, current).effect == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize("shift", [0.1, 0.25, 0.5])
def test_a_small_shift_of_a_normal_has_the_distance_of_its_fisher_information(shift):
    """Of unit normals a distance d apart, the divergence tends to d² / 8 nats."""
    edges = np.linspace(-4, 4, 200)
    shares = [np.diff(norm.cdf(edges, loc)) for loc in (0, shift)]
    found = compare_counts(*(1e9 * share for share in shares)).effect
    assert found == pytest.approx((shift**2 / 8 / np.log(2)) ** 0.5, rel=0.02)


@pytest.mark.parametrize("n_rows", [100, 1_000, 100_000])
def test_chance_adds_nothing_on_average_whatever_the_sample(n_rows):
    """
    What is left of unchanged shares after the correction is far below any bound; without it 100 rows lie
    0.12 apart.
    """
    rng = np.random.default_rng(1)
    reference = np.full(11, 100_000 / 11)
    drawn = rng.multinomial(n_rows, np.full(11, 1 / 11), size=400)
    effects = np.array([compare_counts(reference, one).effect for one in drawn])
    # Half of the corrected divergences are below zero, and cut there.
    assert np.median(effects) < 0.04
    assert np.mean(effects) < 0.05


def test_the_correction_leaves_a_true_difference_as_it_is():
    rng = np.random.default_rng(2)
    p, q = np.full(10, 0.1), np.array([0.05] * 5 + [0.15] * 5)
    truth = compare_counts(1e9 * p, 1e9 * q).effect
    for n_rows in (200, 20_000):
        squares = [compare_counts(1e6 * p, one).effect ** 2 for one in rng.multinomial(n_rows, q, size=300)]
        assert np.mean(squares) == pytest.approx(truth**2, rel=0.1)


@given(pairs)
def test_a_distance_is_between_0_and_1_symmetric_and_blind_to_the_cells_order(pair):
    first, second = pair
    found = compare_counts(first, second)
    assert 0 <= found.effect <= 1
    assert 0 <= found.p_value <= 1
    assert compare_counts(second, first).effect == pytest.approx(found.effect, abs=1e-9)
    assert compare_counts(first[::-1], second[::-1]).effect == pytest.approx(found.effect, abs=1e-9)


def test_the_p_value_is_scipys_where_no_cell_is_rare():
    first, second = [120, 80, 60, 40], [30, 45, 20, 25]
    assert compare_counts(first, second).p_value == pytest.approx(
        chi2_contingency([first, second], correction=False).pvalue
    )


def test_rare_cells_are_tested_together_and_raise_no_false_alarm():
    """A hundred names of one value each: a test cell by cell would have a hundred cells without a meaning."""
    rng = np.random.default_rng(3)
    shares = np.append(np.full(100, 0.0005), 0.95)
    reference = rng.multinomial(100_000, shares)
    p_values = [compare_counts(reference, one).p_value for one in rng.multinomial(200, shares, size=500)]
    assert np.mean(np.array(p_values) <= 0.05) <= 0.08


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30))
def test_adjusted_p_values_are_scipys(p_values):
    assert adjust_p_values(p_values) == pytest.approx(false_discovery_control(p_values), abs=1e-12)


def test_no_p_value_has_no_adjusted_one():
    assert adjust_p_values([]) == []


@pytest.mark.parametrize(
    ("reference", "current", "said"),
    [
        ([1, 2], [1, 2, 3], "same cells"),
        ([0, 0], [1, 2], "empty sample"),
        ([1, 2], [-1, 2], "below zero"),
        ([1, 2], [np.nan, 1], "empty"),
    ],
)
def test_unusable_counts_are_refused(reference, current, said):
    with pytest.raises(DataError, match=said):
        compare_counts(reference, current)
