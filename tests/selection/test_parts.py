"""Splits, preparation, ensemble, plan."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge
from sklearn.tree import DecisionTreeRegressor

from include.errors import DataError
from include.selection.columns import FeatureColumn, as_frame, kind_of_strings, read_frame
from include.selection.ensemble import WeightedEnsemble, greedy_weights, reach_of, within_reach
from include.selection.families import NAIVE, PORTFOLIO, Configuration
from include.selection.log_target import LogTarget, is_skewed
from include.selection.plan import Plan, Tried
from include.selection.preparation import Clip
from include.selection.problem import Problem
from include.selection.splits import grouped_folds, k_folds
from include.selection.text import TextScore

PROBLEM = Problem(
    task="classification",
    metric="log_loss",
    columns=(FeatureColumn(name="a", kind="number"),),
    n_classes=2,
    random_state=0,
)


@given(st.integers(6, 20), st.integers(2, 5), st.integers(0, 9))
@settings(max_examples=30, deadline=None)
def test_a_group_is_never_on_both_sides(n_groups: int, n_folds: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups, y = rng.integers(0, n_groups, 200), rng.integers(0, 2, 200)
    groups[:n_groups] = np.arange(n_groups)
    folds = grouped_folds(PROBLEM, y, groups.tolist(), n_folds=n_folds)
    for train, held in folds:
        assert not set(groups[train]) & set(groups[held])
    assert sorted(np.concatenate([held for _, held in folds])) == list(range(200))


def test_too_few_groups_are_named() -> None:
    with pytest.raises(DataError, match="2 groups for 5 folds"):
        grouped_folds(PROBLEM, np.array([0, 1] * 10), ["a", "b"] * 10, n_folds=5)


def test_folds_keep_the_share_of_a_rare_class() -> None:
    y = np.zeros(1000, dtype=np.int64)
    y[:50] = 1
    assert {int(y[held].sum()) for _, held in k_folds(PROBLEM, y, n_folds=5)} == {10}


@given(st.integers(0, 50), st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_an_ensemble_is_never_worse_than_its_best_member(seed: int, max_members: int) -> None:
    rng = np.random.default_rng(seed)
    y = rng.integers(0, 2, 80)
    predictions = [
        np.clip(0.5 + 0.3 * (y - 0.5) * rng.random() + 0.2 * rng.normal(size=80), 0.01, 0.99) for _ in range(6)
    ]
    weights = greedy_weights(PROBLEM, y, predictions, max_members=max_members)
    assert weights.sum() == pytest.approx(1)
    assert np.count_nonzero(weights) <= max_members
    mixed = PROBLEM.loss(y, np.tensordot(weights, np.stack(predictions), axes=1))
    assert mixed <= min(PROBLEM.loss(y, p) for p in predictions) + 1e-12


def test_no_member_runs_off_from_the_best_one() -> None:
    """A line through the middle of a step, far outside of it: without a reach it decides, with one it does not."""
    problem = replace(PROBLEM, task="regression", metric="rmse", n_classes=0)
    X = np.linspace(0, 1, 200).reshape(-1, 1)
    y = np.where(X[:, 0] > 0.5, 10.0, 0.0)
    step, line = DecisionTreeRegressor(max_depth=1).fit(X, y + 1), Ridge().fit(X, y)
    reach = reach_of(problem, y, best=step.predict(X), family="boosting")
    assert reach == pytest.approx(3)  # the step is wrong by one everywhere
    far = np.array([[100.0], [-100.0]])
    cut = WeightedEnsemble(members=[step, line], weights=[0.5, 0.5], reach=reach).predict(far)
    assert cut.tolist() == pytest.approx([11 + 1.5, 1 - 1.5])
    uncut = WeightedEnsemble(members=[step, line], weights=[0.5, 0.5]).predict(far)
    assert abs(uncut[0]) > 100
    # A model that may run off itself bounds nobody, and neither do probabilities.
    assert reach_of(problem, y, best=line.predict(X), family="linear") is None
    assert reach_of(PROBLEM, y, best=y, family="boosting") is None
    assert within_reach([y, y + 1e6], None)[1].tolist() == (y + 1e6).tolist()


def test_the_member_that_bounds_the_others_is_one() -> None:
    """Cut near the best one, another may be better than it: then it alone would get the weight, and nothing be cut."""
    problem = replace(PROBLEM, task="regression", metric="rmse", n_classes=0)
    y = np.arange(100.0)
    best, other = y + 1, y + np.where(y == 50, 1000, 0.1)
    predictions = within_reach([best, other], reach_of(problem, y, best=best, family="boosting"))
    assert greedy_weights(problem, y, predictions)[0] == 0
    weights = greedy_weights(problem, y, predictions, starts_with_first=True)
    assert weights[0] > 0
    assert problem.loss(y, np.tensordot(weights, np.stack(predictions), axes=1)) < problem.loss(y, best)


def test_a_text_is_scored_by_models_that_did_not_see_it() -> None:
    """On labels that follow from nothing: scores of the fitted model itself know them, those across folds do not."""
    rng = np.random.default_rng(0)
    texts = np.array([" ".join(rng.choice([f"w{i}" for i in range(300)], 8)) for _ in range(400)])
    y = rng.integers(0, 2, 400)
    encoder = TextScore(is_classification=True, random_state=0)
    across = encoder.fit_transform(texts, y)[:, 0]
    assert abs(np.corrcoef(across, y)[0, 1]) < 0.15
    assert np.corrcoef(encoder.transform(texts)[:, 0], y)[0, 1] > 0.7


def test_columns_are_read_by_what_they_hold() -> None:
    said = [f"the engine number {i} broke" for i in range(300)]
    X = pd.DataFrame(
        {
            "n": range(300),
            "flag": [True, False] * 150,
            "at": pd.date_range("2026-01-01", periods=300),
            "code": "x",
            "said": said,
        }
    )
    X["empty"] = np.nan
    columns, frame = read_frame(X)
    kinds = {c.name: c.kind for c in columns}
    assert kinds == {
        **dict.fromkeys(("n", "flag", "at_month", "at_weekday", "at_day_number"), "number"),
        "code": "category", "said": "text",
    }  # fmt: skip
    other = as_frame(pd.DataFrame({"n": [1], "more": ["y"]}), columns)
    assert list(other) == list(frame)
    assert other["said"].tolist() == ["(missing)"]
    assert kind_of_strings([f"name{i}" for i in range(300)]) == "category"
    with pytest.raises(DataError, match="no column with a value"):
        read_frame(pd.DataFrame({"empty": [np.nan, np.nan]}))


def test_numbers_are_cut_at_what_was_seen() -> None:
    X = np.arange(1000.0).reshape(-1, 1)
    clip = Clip().fit(X)
    assert clip.transform(np.array([[-5.0], [500.0], [1e9]])).ravel().tolist() == pytest.approx([1.998, 500, 997.002])


def test_a_log_target_keeps_the_mean() -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, 1))
    y = np.exp(X[:, 0] + rng.normal(size=2000))
    assert is_skewed(y)
    assert not is_skewed(-y)
    means = {
        is_mean: LogTarget(estimator=Ridge(), is_mean=is_mean).fit(X, y).predict(X).mean() for is_mean in (True, False)
    }
    assert means[True] == pytest.approx(y.mean(), rel=0.01)
    assert means[False] < 0.8 * y.mean()


def plan_of(**changes: object) -> Plan:
    return Plan(**{"problem": PROBLEM, "families": ("boosting", "linear"), "n_rows": 1000, "n_scaled": 5, **changes})  # type: ignore[arg-type]


def test_the_baseline_and_the_last_search_come_first() -> None:
    warm = (Configuration(family="linear", params={"C": 0.5}), Configuration(family="svm", params={"C": 1.0}))
    fixed = plan_of(before=[Tried(number=i, configuration=c, loss=None) for i, c in enumerate(warm)]).fixed
    assert fixed[:2] == (NAIVE, warm[0])  # the SVM is not among the declared families
    assert all(configuration in PORTFOLIO for configuration in fixed[2:])


def test_families_that_rows_are_too_many_for_are_left_out() -> None:
    families = ("svm", "neighbors", "linear")
    assert {c.family for c in plan_of(families=families).fixed} == {"naive", *families}
    assert {c.family for c in plan_of(families=families, n_rows=100_000).fixed} == {"naive", "linear"}


def test_the_sampler_learns_from_what_was_tried() -> None:
    """
    Told that small C is good, it suggests smaller ones than when told the contrary; two numbers differ, the same one
    does not.
    """
    plan = plan_of(families=("linear",))
    grid = np.logspace(-3, 1.4, 25)
    tried = {
        sign: [
            Tried(number=i, configuration=Configuration(family="linear", params={"C": c}), loss=sign * np.log(c))
            for i, c in enumerate(grid)
        ]
        for sign in (1, -1)
    }
    asked = {
        sign: [plan.configuration(n, tried[sign], families=("linear",)).params["C"] for n in range(50, 62)]
        for sign in (1, -1)
    }
    assert np.median(asked[1]) < np.median(asked[-1]) / 10
    assert asked[1] == [plan.configuration(n, tried[1], families=("linear",)).params["C"] for n in range(50, 62)]
    assert len(set(asked[1])) == 12


@pytest.mark.parametrize(("sign", "n_again", "is_believed"), [(1, 6, True), (-1, 6, False), (1, 4, False)])
def test_the_last_search_is_believed_where_it_ranks_the_same(sign: int, n_again: int, is_believed: bool) -> None:
    """
    Losses were lower by 7 then. Where six of its configurations come out in the same order again, the sampler is told
    of all of them, at this search's level; else of none.
    """
    before = [
        Tried(number=i, configuration=Configuration(family="linear", params={"C": float(c)}), loss=float(np.log(c)))
        for i, c in enumerate(np.logspace(-3, 1.4, 25))
    ]
    tried = [
        Tried(number=i, configuration=t.configuration, loss=7 + sign * (t.loss or 0.0))
        for i, t in enumerate(before[:: 25 // n_again][:n_again])
    ]
    again = [t.configuration for t in tried]
    moved = [
        Tried(number=-1 - t.number, configuration=t.configuration, loss=7 + (t.loss or 0.0))
        for t in before
        if t.configuration not in again
    ]
    warm, cold = plan_of(families=("linear",), before=before), plan_of(families=("linear",))
    for number in range(50, 55):
        found = warm.configuration(number, tried, families=("linear",))
        assert found == cold.configuration(number, [*(moved if is_believed else ()), *tried], families=("linear",))
