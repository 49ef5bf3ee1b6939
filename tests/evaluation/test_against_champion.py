"""
The rules against the champion: what is proven ships, what is lost is refused, and what cannot be told waits for a
person.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from include.evaluation.gate import judge
from include.workflow import Gate, Paired
from tests.evaluation.rows import draw_evidence, draw_labels, draw_scores

N = 600
CLOSE = Gate(against_champion=Paired(rule="not_worse", tolerance=0.08))
GATE = Gate(slices=("depot",))


def failed_names(verdict) -> list[str]:
    return [check.name for check in verdict.checks if check.is_failed]


def check_of(verdict, name):
    return next(check for check in verdict.checks if check.name == name)


def test_a_significantly_worse_model_is_rejected_by_either_rule():
    for gate in (Gate(), CLOSE):
        verdict = judge(draw_evidence(n_rows=N, noise=1.5, champion_noise=0.2), gate)
        assert (verdict.verdict, failed_names(verdict)) == ("REJECT", ["metric average_precision", "champion"])
        assert verdict.reasons[0].startswith("significantly worse than the champion: average_precision 0.")


def test_an_equal_model_is_held_and_ships_only_where_not_worse_is_declared():
    evidence = draw_evidence(seed=3, n_rows=2_000, noise=0.3, champion_noise=0.3)
    held, shipped = judge(evidence, Gate()), judge(evidence, CLOSE)
    assert (held.verdict, shipped.verdict) == ("HOLD", "PROMOTE")
    assert held.reasons[0].startswith("neither proven better nor worse than the champion: average_precision 0.")
    assert check_of(shipped, "champion").reason.startswith("proven not to lose 0.08 or more against the champion")


def test_not_worse_has_to_be_proven_too():
    """Of 300 rows a loss of .005 can't be told from none: what looks alike may be worse."""
    verdict = judge(draw_evidence(seed=3, n_rows=300), Gate(against_champion=Paired(rule="not_worse", tolerance=0.005)))
    assert verdict.verdict == "HOLD"
    assert verdict.reasons[0].startswith("perhaps worse than the champion by 0.005 or more")


@pytest.mark.parametrize("metric", ["log_loss", "brier", "accuracy"])
def test_metrics_of_which_lower_is_better_and_mcnemars(metric):
    better, worse = ({"noise": 0.1, "champion_noise": 6}, {"noise": 6, "champion_noise": 0.1})
    verdict = judge(draw_evidence(n_rows=3_000 if metric == "accuracy" else 1_000, metric=metric, **better), Gate())
    assert verdict.verdict == "PROMOTE"
    assert ("by McNemar's test" in check_of(verdict, "champion").reason) == (metric == "accuracy")
    assert judge(draw_evidence(n_rows=1_000, metric=metric, **worse), Gate()).verdict == "REJECT"


def with_offset(evidence, offset: float):
    """The same order of rows, with scores that promise too much: ranking is kept, log loss is not."""
    return replace(evidence, candidate=np.clip(np.asarray(evidence.candidate) + offset, 0, 1))


def test_with_several_metrics_none_may_be_worse():
    evidence, gate = draw_evidence(n_rows=N, noise=0.2, champion_noise=1.5), Gate(metrics=("roc_auc", "log_loss"))
    assert judge(evidence, gate).verdict == "PROMOTE"
    spoiled = with_offset(evidence, 0.45)
    verdict = judge(spoiled, gate)
    assert (verdict.verdict, failed_names(verdict)) == ("REJECT", ["metric log_loss", "champion"])
    assert check_of(verdict, "metric roc_auc").passed
    # the control: what is not declared is not asked
    assert judge(spoiled, Gate(metrics=("roc_auc",))).verdict == "PROMOTE"


def test_with_several_metrics_one_has_to_be_better():
    """Equal in both, and proven close in both: enough for "not_worse", too little for "better"."""
    evidence, metrics = draw_evidence(seed=0, n_rows=1_000, noise=0.3, champion_noise=0.3), ("roc_auc", "brier")
    strict = judge(evidence, Gate(metrics=metrics, against_champion=Paired(tolerance=0.1)))
    assert (strict.verdict, failed_names(strict)) == ("HOLD", ["champion"])
    assert strict.reasons[0].startswith("proven better than the champion in none of 2 metrics: proven not to lose")
    assert (
        judge(evidence, Gate(metrics=metrics, against_champion=Paired(rule="not_worse", tolerance=0.1))).verdict
        == "PROMOTE"
    )


def spoil_slice(rng, n_rows: int = 4_000):
    """A candidate that is better everywhere but in the east, where it guesses."""
    feature, y_true = draw_labels(rng, n_rows)
    depot = rng.choice(["north", "south", "east"], n_rows, p=[0.46, 0.46, 0.08])
    candidate, champion = draw_scores(rng, feature, noise=0.2), draw_scores(rng, feature, noise=1.5)
    candidate[depot == "east"] = rng.permutation(candidate[depot == "east"])
    return draw_evidence(n_rows=n_rows, y_true=y_true, candidate=candidate, champion=champion, slices={"depot": depot})


def test_a_slice_that_got_worse_holds_a_model_that_is_better_overall(rng):
    verdict = judge(spoil_slice(rng), GATE)
    assert verdict.verdict == "HOLD"
    assert failed_names(verdict) == ["slice depot=east", "slices by depot"]
    assert verdict.reasons[0].startswith(
        "depot: 3 of 3 slices judged, 1 significantly worse, 0 too small to judge: depot = east got"
    )


def test_control_without_declared_slices_it_ships(rng):
    assert judge(spoil_slice(rng), GATE.model_copy(update={"slices": ()})).verdict == "PROMOTE"


@pytest.mark.parametrize("which", ["seen_by_champion", "seen_by_candidate"])
def test_rows_that_either_model_was_trained_on_are_left_out(which):
    """Who was trained on a row knows its answer; on the others each is what it is."""
    evidence = draw_evidence(n_rows=2 * N, noise=0.2, champion_noise=1.5)
    if which == "seen_by_candidate":
        evidence = replace(evidence, candidate=evidence.champion, champion=evidence.candidate)
    seen = np.arange(2 * N) < N
    name = which.removeprefix("seen_by_")
    known = np.where(seen, np.where(evidence.y_true, 0.99, 0.01), getattr(evidence, name))
    expected, fooled = ("PROMOTE", "REJECT") if name == "champion" else ("REJECT", "PROMOTE")
    assert judge(replace(evidence, **{name: known, which: seen}), Gate()).verdict == expected
    assert judge(replace(evidence, **{name: known}), Gate()).verdict == fooled  # the control: counted, they decide


@pytest.mark.parametrize("task", ["multiclass", "regression"])
def test_other_tasks_are_judged_by_the_same_rules(rng, task):
    if task == "multiclass":
        y = rng.integers(0, 3, N)
        good, poor = (s * np.eye(3)[y] + (1 - s) * rng.dirichlet([1, 1, 1], N) for s in (0.4, 0.2))
        naive, metric = np.full((N, 3), 1 / 3), "log_loss"
    else:
        y = rng.normal(size=N)
        good, poor = y + 0.5 * rng.normal(size=N), y + 0.9 * rng.normal(size=N)
        naive, metric = np.zeros(N), "rmse"
    evidence = draw_evidence(n_rows=N, task=task, metric=metric, y_true=y, naive=naive, candidate=good, champion=poor)
    assert judge(evidence, Gate()).verdict == "PROMOTE"
    assert judge(replace(evidence, candidate=poor, champion=good), Gate()).verdict == "REJECT"
    assert judge(replace(evidence, naive=good, candidate=poor, champion=good), Gate()).verdict == "REJECT"
