"""A greedy weighted ensemble of the trials' own predictions on rows that they did not see."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator

from include.selection.problem import FloatArray, Problem

_STEPS = 30


def greedy_weights(
    problem: Problem, y_true: npt.NDArray[Any], predictions: Sequence[FloatArray], *, max_members: int = 8
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

    Returns
    -------
    ndarray of shape (n_trials,)
        Not negative; they sum to 1.

    """
    counts = np.zeros(len(predictions))
    total, best = np.zeros_like(predictions[0]), float("inf")
    for step in range(1, _STEPS + 1):
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


class WeightedEnsemble(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    A weighted mean of fitted pipelines over the same feature frame.

    Parameters
    ----------
    members : sequence of Pipeline
        Fitted.
    weights : sequence of float
        One a member; they sum to 1.

    """

    def __init__(self, *, members: Sequence[Any] = (), weights: Sequence[float] = ()) -> None:
        self.members = members
        self.weights = weights

    @property
    def classes_(self) -> Any:
        """Codes of the classes."""
        return self.members[0].classes_

    def predict_proba(self, X: Any) -> FloatArray:
        """Probabilities of shape (n_rows, n_classes)."""
        return self._mean([member.predict_proba(X) for member in self.members])

    def predict(self, X: Any) -> FloatArray:
        """Numbers of shape (n_rows,)."""
        return self._mean([member.predict(X) for member in self.members])

    def _mean(self, found: Sequence[Any]) -> FloatArray:
        total: FloatArray = np.zeros_like(np.asarray(found[0], dtype=np.float64))
        for weight, values in zip(self.weights, found, strict=True):
            total += weight * np.asarray(values, dtype=np.float64)
        return total
