"""A greedy weighted ensemble of the trials' own predictions on rows that they did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from include.selection.problem import FloatArray, Problem

_STEPS = 30
_REACH = 3.0  # root mean squared errors of the best trial
# Families that answer with means of what they were fitted on. The others may run off where a row is unlike those.
_STAYS_WITHIN = {"boosting", "hist_boosting", "forest", "extra_trees", "neighbors"}


def greedy_weights(
    problem: Problem,
    y_true: npt.NDArray[Any],
    predictions: Sequence[FloatArray],
    *,
    max_members: int = 8,
    starts_with_first: bool = False,
) -> FloatArray:
    """
    Weights of an average of predictions that has the least loss on `y_true`.

    Members are added one at a time, with repeats, as long as the loss falls (R. Caruana et al., 2004: Ensemble
    selection from libraries of models). The first is the best single one, so the average is never worse than it on
    these rows.

    Parameters
    ----------
    problem : Problem
        Its metric's loss is what falls.
    y_true : ndarray of shape (n_rows,)
        Codes or numbers.
    predictions : sequence of ndarray
        One a trial, each for the same rows.
    max_members : int
        How many different ones may have a weight: each costs latency and size.
    starts_with_first : bool
        Whether the first one is a member in any case: the one that bounds the others (see `reach_of`).

    Returns
    -------
    ndarray of shape (n_trials,)
        Not negative; they sum to 1.

    """
    counts = np.zeros(len(predictions))
    total, best = np.zeros_like(predictions[0]), float("inf")
    if starts_with_first:
        counts[0], total, best = 1, predictions[0], problem.loss(y_true, predictions[0])
    for step in range(1 + starts_with_first, _STEPS + 1):
        full = np.count_nonzero(counts) >= max_members
        open_to = [i for i in range(len(predictions)) if counts[i] or not full]
        losses = [problem.loss(y_true, (total + predictions[i]) / step) for i in open_to]
        chosen = int(np.argmin(losses))
        # The same members again may leave the loss where it is for a step; the best mixture seen counts.
        if losses[chosen] >= best - 1e-9 * max(1.0, abs(best)):
            break
        best = losses[chosen]
        counts[open_to[chosen]] += 1
        total = total + predictions[open_to[chosen]]
    if not counts.sum():
        counts[0] = 1
    weights: FloatArray = counts / counts.sum()
    return weights


def reach_of(problem: Problem, y_true: npt.NDArray[Any], *, best: FloatArray, family: str) -> float | None:
    """
    How far the other members' numbers may lie from those of the best trial: a weight that is right for most rows is
    wrong for a row where a linear model runs off, and squared errors make that row decide.

    Parameters
    ----------
    problem : Problem
        Its task: probabilities need no bound.
    y_true, best : ndarray of shape (n_rows,)
        Numbers, and what the best trial predicted for them without having seen them.
    family : str
        The best trial's: one that may run off itself is no measure for others.

    Returns
    -------
    float
        In units of the target; None, where nothing is bounded.

    """
    if problem.is_classification or family not in _STAYS_WITHIN:
        return None
    return float(_REACH * np.sqrt(np.mean((y_true - best) ** 2)))


def within_reach(predictions: Sequence[FloatArray], reach: float | None) -> list[FloatArray]:
    """Predictions of which the first is the best trial's, the others cut where they lie further from it."""
    best = predictions[0]
    return [found if reach is None else np.clip(found, best - reach, best + reach) for found in predictions]


class WeightedEnsemble(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    A weighted mean of fitted pipelines over the same feature frame.

    Parameters
    ----------
    members : sequence of Pipeline
        Fitted; the best one first.
    weights : sequence of float
        One a member; they sum to 1.
    reach : float, optional
        How far the others' numbers may lie from the first one's (see `reach_of`).

    """

    reach: float | None = None  # of models that were stored before there was a bound

    def __init__(
        self, *, members: Sequence[Any] = (), weights: Sequence[float] = (), reach: float | None = None
    ) -> None:
        self.members = members
        self.weights = weights
        self.reach = reach

    @property
    def classes_(self) -> Any:
        """Codes of the classes."""
        return self.members[0].classes_

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of shape (n_rows, n_classes)."""
        return self._mean([member.predict_proba(X) for member in self.members])

    def predict(self, X: Any) -> FloatArray:
        """Numbers of shape (n_rows,)."""
        found = [np.asarray(member.predict(X), dtype=np.float64) for member in self.members]
        return self._mean(within_reach(found, self.reach))

    def _mean(self, found: Sequence[Any]) -> FloatArray:
        total: FloatArray = np.zeros_like(np.asarray(found[0], dtype=np.float64))
        for weight, values in zip(self.weights, found, strict=True):
            total += weight * np.asarray(values, dtype=np.float64)
        return total
