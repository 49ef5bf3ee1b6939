"""What every task's rows have in common once they are checked, and the checks of arrays that come from outside."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from include.errors import DataError
from include.workflow.tasks import METRICS_OF_TASK, Task

FloatArray = npt.NDArray[np.float64]

EPS = float(np.finfo(np.float64).eps)  # scikit-learn's clip of probabilities in log_loss


class Scored(Protocol):
    """
    Truth and predictions of n rows, checked once, and ready to be scored under many weightings.

    A bootstrap resample is the same rows with other weights (how often each was drawn), so `weighted` takes a whole
    matrix of weights at once. The point estimate is the case "every weight is one": both come from the same code.
    """

    @property
    def task(self) -> Task:
        """Whose metrics these rows have."""

    @property
    def n_rows(self) -> int:
        """How many rows."""

    def weighted(self, weights: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
        """
        Score under each row of `weights`.

        Parameters
        ----------
        weights : ndarray of shape (n_resamples, n_rows)
            How much each row counts, >= 0 and not all zero, in the order of the caller's rows.
        metrics : sequence of str
            Some of the task's.

        Returns
        -------
        dict of str to ndarray of shape (n_resamples,)
            nan where a metric has no value under these weights.

        Raises
        ------
        DataError
            If a metric is none of the task's.

        """

    def why_undefined(self, metric: str) -> str:
        """Say why a metric has no value on these rows; empty if it has one."""


def require_known(metrics: Sequence[str], task: Task) -> None:
    """
    Refuse a metric that the task does not have.

    Raises
    ------
    DataError
        If there is one.

    """
    known = METRICS_OF_TASK[task]
    unknown = [name for name in metrics if name not in known]
    if unknown:
        raise DataError(f"metric {unknown[0]!r} is unknown: known are {', '.join(known)} (task {task})")


def require_rows(n_labels: int, n_predictions: int, *, what: str = "scores") -> None:
    """
    Refuse labels and predictions that are not of the same rows, or of none.

    Raises
    ------
    DataError
        If they are.

    """
    if n_labels != n_predictions:
        raise DataError(f"{n_labels} labels but {n_predictions} {what}: give one for each row")
    if n_labels == 0:
        raise DataError("no rows to score: give at least one")


def as_floats(values: Any, *, name: str, n_dimensions: int = 1) -> FloatArray:
    """
    Numbers as an array.

    Raises
    ------
    DataError
        If they are no numbers, or the array has another number of dimensions.

    """
    try:
        array = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError):
        raise DataError(f"{name} is not numeric: give numbers, one for each row") from None
    if array.ndim != n_dimensions:
        each = ("row, shape (n_rows,)", "row and class, shape (n_rows, n_classes)")[n_dimensions - 1]
        raise DataError(f"{name} has shape {array.shape}: give one number for each {each}")
    return array


def require_probabilities(values: FloatArray, *, name: str) -> None:
    """
    Refuse what is no probability.

    Raises
    ------
    DataError
        If a value is missing, not finite or outside [0, 1].

    """
    is_bad = ~np.isfinite(values)
    n_bad = int((is_bad if values.ndim == 1 else is_bad.any(axis=1)).sum())
    if n_bad:
        raise DataError(
            f"{name}: {n_bad} of {len(values)} scores are not finite: a model must give a probability for every row"
        )
    if values.size and (values.min() < 0 or values.max() > 1):
        raise DataError(
            f"{name}: scores reach from {values.min():.6g} to {values.max():.6g}: probabilities lie in [0, 1]"
        )


def ratio(part: FloatArray, whole: FloatArray) -> FloatArray:
    """Divide; 0 where there is nothing to divide by."""
    return np.divide(part, whole, out=np.zeros(np.broadcast_shapes(part.shape, whole.shape)), where=whole > 0)


def rank_auc(y: FloatArray, w: FloatArray, group_ends: npt.NDArray[np.intp]) -> FloatArray:
    """
    Compute the area under ROC (trapezoids), with equal scores as one step.

    Parameters
    ----------
    y : ndarray of shape (n_rows,)
        1.0 for a positive row, else 0.0; sorted by score, highest first.
    w : ndarray of shape (n_resamples, n_rows)
        Weights, in that order.
    group_ends : ndarray of int
        Last position of each run of equal scores.

    Returns
    -------
    ndarray of shape (n_resamples,)
        0 where a resample has one class only.

    """
    hit_steps, steps = steps_by_score(y, w, group_ends)
    hits = np.cumsum(hit_steps, axis=1)
    positives, n = hits[:, -1], steps.sum(axis=1)
    pairs = np.einsum("ij,ij->i", steps - hit_steps, hits - hit_steps / 2)
    return ratio(pairs, positives * (n - positives))


def steps_by_score(y: FloatArray, w: FloatArray, group_ends: npt.NDArray[np.intp]) -> tuple[FloatArray, FloatArray]:
    """Sum the weights of positives, and of all rows, over each run of equal scores; shapes (n_resamples, n_groups)."""
    hit_steps, steps = w * y, w
    if len(group_ends) < len(y):
        starts = np.append(0, group_ends[:-1] + 1)
        return np.add.reduceat(hit_steps, starts, axis=1), np.add.reduceat(steps, starts, axis=1)
    return hit_steps, steps


def ends_of_runs(sorted_values: FloatArray) -> npt.NDArray[np.intp]:
    """Last position of each run of equal values."""
    return np.append(np.flatnonzero(np.diff(sorted_values)), len(sorted_values) - 1)
