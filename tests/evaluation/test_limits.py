"""Limits: the calibration error and the gap between groups, each with a truth that is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from include.evaluation.gate import judge
from include.evaluation.limits import calibration_error, group_gap
from include.workflow import Fairness, Gate
from tests.evaluation.rows import draw_evidence

FIRST = {"champion": None, "seen_by_champion": None, "champion_as_of": None}
N = 3_000


def promised(rng, *, n: int = N, shift: float = 0.0):
    """Probabilities, and labels that come true with just these, or less often by `shift`."""
    p = rng.uniform(0.2, 0.8, n)
    return rng.random(n) < p - shift, p


def test_a_perfect_model_has_no_error_though_its_bins_are_noisy(rng):
    """
    Of 300 honest probabilities the plain figure is .07 on average, from noise alone: the corrected one is less, and may
    be 0.
    """
    found = [calibration_error("classification", *promised(rng, n=300), random_state=0) for _ in range(20)]
    assert np.mean([interval.value for interval in found]) < 0.05
    assert sum(interval.low == 0 for interval in found) >= 19


def test_a_known_error_lies_within_its_interval(rng):
    found = [calibration_error("classification", *promised(rng, shift=0.1), random_state=seed) for seed in range(12)]
    assert sum(interval.low <= 0.1 <= interval.high for interval in found) >= 9
    assert np.mean([interval.value for interval in found]) == pytest.approx(0.1, abs=0.01)


def test_of_several_classes_the_chosen_ones_probability_counts(rng):
    codes = rng.integers(0, 4, N)
    boast = np.full((N, 4), 0.1 / 3)
    boast[np.arange(N), rng.integers(0, 4, N)] = 0.9  # right one time in four
    assert calibration_error("multiclass", codes, boast, random_state=0).value == pytest.approx(0.65, abs=0.03)


@pytest.mark.parametrize(
    ("limit", "expected", "words"),
    [
        (0.2, "PROMOTE", "within the limit of 0.2"),
        (0.1, "HOLD", "perhaps above the limit of 0.1"),
        (0.05, "REJECT", "surely above the limit"),
    ],
)
def test_surely_above_rejects_and_perhaps_holds(rng, limit, expected, words):
    y, p = promised(rng, shift=0.1)
    verdict = judge(
        replace(draw_evidence(n_rows=N, metric="roc_auc", **FIRST), y_true=y, candidate=p),
        Gate(max_calibration_error=limit),
    )
    check = next(check for check in verdict.checks if check.name == "calibration")
    assert verdict.verdict == expected
    assert words in check.reason


def grouped(rng, *, hit_rates: dict[str, float], n: int = 400):
    """Evidence of a model that finds positives of each group at the rate given, and raises no false alarm."""
    group = np.repeat(list(hit_rates), n)
    y = rng.random(len(group)) < 0.5
    found = rng.random(len(group)) < np.array([hit_rates[name] for name in group])
    candidate = np.where(y & found, 0.9, 0.1) + 0.01 * rng.random(len(group))
    evidence = draw_evidence(n_rows=len(group), metric="roc_auc", **FIRST)
    return replace(evidence, y_true=y, candidate=candidate, naive=np.full(len(group), 0.5), slices={"depot": group})


@pytest.mark.parametrize(
    ("south", "expected", "words"),
    [(0.88, "PROMOTE", "within the limit"), (0.7, "HOLD", "perhaps above"), (0.3, "REJECT", "surely above")],
)
def test_a_gap_between_groups(rng, south, expected, words):
    evidence = grouped(rng, hit_rates={"north": 0.9, "south": south, "east": 0.9})
    verdict = judge(evidence, Gate(fairness=Fairness(groups=("depot",), metric="recall", max_gap=0.2)))
    check = next(check for check in verdict.checks if check.name == "fairness by depot")
    assert verdict.verdict == expected
    assert words in check.reason
    assert check.observed == pytest.approx(0.9 - south, abs=0.08)
    assert judge(evidence, Gate()).verdict == "PROMOTE"  # the control: without a limit it ships


@pytest.mark.claim("gate")
def test_equal_groups_are_seldom_called_unequal(rng):
    """
    Eight groups, 28 pairs: an interval for all of them at once, so that at most 5 % of 60 gaps are surely above 0 (3; 9
    by chance).
    """
    surely = 0
    for seed in range(60):
        evidence = replace(grouped(rng, hit_rates={f"g{i}": 0.7 for i in range(8)}, n=100), random_state=seed)
        groups = {f"g{i}": np.asarray(evidence.slices["depot"]) == f"g{i}" for i in range(8)}
        surely += group_gap(evidence, groups, metric="recall", alpha=0.05).gap.low > 0
    assert surely <= 9


def test_a_group_too_small_is_said_so_and_not_judged(rng):
    evidence = grouped(rng, hit_rates={"north": 0.9, "south": 0.9})
    depot = np.where(np.arange(800) < 12, "tiny", evidence.slices["depot"])
    verdict = judge(replace(evidence, slices={"depot": depot}), Gate(fairness=Fairness(groups=("depot",), max_gap=0.3)))
    tiny = next(check for check in verdict.checks if check.name == "group depot=tiny")
    assert (tiny.passed, tiny.observed, verdict.verdict) == (None, 12, "PROMOTE")
    assert any("1 of 3 groups are too small to judge" in reason for reason in verdict.reasons)


def test_fairness_that_cannot_be_judged_is_held(rng):
    evidence, gate = grouped(rng, hit_rates={"north": 0.9}), Gate(fairness=Fairness(groups=("depot",)))
    alone, missing = judge(evidence, gate), judge(replace(evidence, slices={}), gate)
    assert (alone.verdict, missing.verdict) == ("HOLD", "HOLD")
    assert "1 of 1 groups have enough rows (30, and 10 of each class): a gap needs two" in alone.reasons[0]
    assert missing.reasons[0] == "group column 'depot' is declared in fairness but not in the evidence"
