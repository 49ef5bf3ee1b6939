"""The search in one process: better than its parts, the same twice, and within its budget."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import log_loss, roc_auc_score

from include.selection.search import search

pytestmark = pytest.mark.claim("search")

N = 600


def table(seed: int = 0) -> tuple[pd.DataFrame, np.ndarray]:
    """Numbers with gaps, a category, a text, a time and a flag; the label follows from most of them."""
    rng = np.random.default_rng(seed)
    amount, plan = rng.lognormal(size=N), rng.choice(["basic", "plus", "pro"], N)
    words = rng.choice(["late", "broken", "fine", "quick", "kind", "slow"], (N, 5))
    logit = np.log(amount) + 1.5 * (plan == "pro") + 1.5 * (words == "broken").sum(axis=1) - 1.5
    y = rng.random(N) < 1 / (1 + np.exp(-logit))
    X = pd.DataFrame(
        {
            "amount": np.where(rng.random(N) < 0.1, np.nan, amount),
            "plan": plan,
            "said": [" ".join(row) for row in words],
            "at": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 90, N), unit="D"),
            "is_new": rng.random(N) < 0.5,
        }
    )
    return X, np.where(y, "yes", "no")


def test_text_and_numbers_together_beat_either_alone() -> None:
    X, y = table()
    train, test = np.arange(N) < 400, np.arange(N) >= 400
    auc = {}
    for name, columns in {"both": list(X), "text": ["said"], "numbers": ["amount", "plan"]}.items():
        found = search(
            X.loc[train, columns], y[train], task="classification", metric="log_loss", budget_seconds=60, max_trials=4
        )
        assert found.classes == ("no", "yes")
        auc[name] = roc_auc_score(y[test] == "yes", found.predict(X.loc[test, columns])[:, 1])
    assert auc["both"] > max(auc["text"], auc["numbers"]) + 0.02
    assert min(auc.values()) > 0.55


def test_the_same_search_finds_the_same_model() -> None:
    """Past the portfolio, so that the sampler is asked as well; another seed is the control."""
    X, y = table()
    X = X[["amount", "plan"]]
    bounds = {
        "task": "classification",
        "metric": "log_loss",
        "budget_seconds": 300.0,
        "families": ("linear",),
        "max_trials": 6,
    }
    first, second, other = (search(X, y, random_state=seed, **bounds) for seed in (0, 0, 1))  # type: ignore[arg-type]
    assert [o.configuration for o in first.outcomes] == [o.configuration for o in second.outcomes]
    assert len(first.outcomes) == 7
    np.testing.assert_array_equal(first.predict(X), second.predict(X))
    assert [o.configuration for o in first.outcomes] != [o.configuration for o in other.outcomes]


def test_several_classes_and_numbers() -> None:
    rng = np.random.default_rng(0)
    X = pd.DataFrame(rng.normal(size=(N, 3)), columns=list("abc"))
    kind = np.array(["low", "mid", "top"])[np.digitize(X["a"] + 0.3 * rng.normal(size=N), [-0.5, 0.5])]
    found = search(X[:400], kind[:400], task="multiclass", metric="log_loss", budget_seconds=60, max_trials=3)
    p = found.predict(X[400:])
    assert p.shape == (200, 3)
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert log_loss(kind[400:], p, labels=list(found.classes)) < 0.6  # knowing the shares alone gives 1.09
    price = np.exp(X["a"].to_numpy() + 0.1 * rng.normal(size=N))
    found = search(X[:400], price[:400], task="regression", metric="rmse", budget_seconds=60, max_trials=4)
    assert found.problem.has_log
    # the mean alone gives 1
    assert np.sqrt(np.mean((found.predict(X[400:]) - price[400:]) ** 2)) < 0.6 * price[400:].std()


def test_no_prediction_runs_off() -> None:
    """One wild number in a new row: a linear model alone would follow it."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame({"a": rng.normal(size=N)})
    found = search(
        X,
        3 * X["a"].to_numpy() + rng.normal(size=N),
        task="regression",
        metric="rmse",
        budget_seconds=60,
        families=("linear",),
        max_trials=1,
    )
    assert abs(found.predict(pd.DataFrame({"a": [1e9]}))[0]) < 20


@pytest.mark.parametrize("budget_seconds", [1.0, 3.0])
def test_the_budget_is_kept_and_something_is_found(budget_seconds: float, record_property) -> None:
    """In CPU time, which neighbours do not change; one fold of the costliest family may run past it."""
    X, y = table()
    found = search(X[["amount", "plan"]], y, task="classification", metric="log_loss", budget_seconds=budget_seconds)
    assert found.members
    spent = sum(o.cpu_seconds for o in found.outcomes)
    record_property("figure", f"a budget of {budget_seconds:g} CPU s: {spent:.1f} spent")
    assert sum(o.cpu_seconds for o in found.outcomes) <= 1.1 * budget_seconds + max(
        o.first_seconds for o in found.outcomes
    )
