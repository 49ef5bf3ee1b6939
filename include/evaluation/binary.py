"""Rows of a binary classifier, sorted by score once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from include.errors import DataError
from include.evaluation.scored import (
    EPS,
    FloatArray,
    as_floats,
    ends_of_runs,
    rank_auc,
    ratio,
    require_known,
    require_probabilities,
    require_rows,
    steps_by_score,
)
from include.workflow.tasks import Task

NEEDS_BOTH_CLASSES = frozenset({"average_precision", "roc_auc", "precision", "recall", "f1"})
THRESHOLD = 0.5  # a row counts as predicted positive from this score on


@dataclass(frozen=True, kw_only=True)
class ScoredRows:
    """
    Labels and scores of n rows, checked and sorted by score, highest first.

    `order` sorts the caller's rows; `group_ends` are the last positions of each run of equal scores; `terms` (n, 5) are
    what is summed: positive, predicted positive, both, log loss, squared error.
    """

    order: npt.NDArray[np.intp]
    y: FloatArray
    group_ends: npt.NDArray[np.intp]
    terms: FloatArray
    task: Task = field(default="classification", init=False)

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.y)

    @property
    def n_positives(self) -> int:
        """How many of them are positive."""
        return int(self.y.sum())

    def weighted(self, weights: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
        """
        Score under each row of weights (see `Scored`): nan where a resample has one class only and the metric needs
        two.
        """
        require_known(metrics, self.task)
        w = weights[:, self.order]
        n = w.sum(axis=1)
        positives, predicted, hits, log_loss, squared = (w @ self.terms).T
        has_both = (positives > 0) & (positives < n)
        values = {
            "accuracy": (n - positives - predicted + 2 * hits) / n,
            "precision": ratio(hits, predicted),
            "recall": ratio(hits, positives),
            "f1": ratio(2 * hits, positives + predicted),
            "log_loss": log_loss / n,
            "brier": squared / n,
        }
        if "average_precision" in metrics:
            values["average_precision"] = self._average_precision(w)
        if "roc_auc" in metrics:
            values["roc_auc"] = rank_auc(self.y, w, self.group_ends)
        return {
            name: np.where(has_both, values[name], np.nan) if name in NEEDS_BOTH_CLASSES else values[name]
            for name in metrics
        }

    def why_undefined(self, metric: str) -> str:
        """Say why a metric has no value on these rows; empty if it has one."""
        if metric in NEEDS_BOTH_CLASSES and self.n_positives in {0, self.n_rows}:
            return (
                f"all {self.n_rows} rows are {'positive' if self.n_positives else 'negative'}: {metric} needs both "
                "classes"
            )
        return ""

    def _average_precision(self, w: FloatArray) -> FloatArray:
        """Sum of precision times step of recall, with equal scores as one step."""
        hit_steps, steps = steps_by_score(self.y, w, self.group_ends)
        hits, seen = np.cumsum(hit_steps, axis=1), np.cumsum(steps, axis=1)
        return ratio(np.einsum("ij,ij->i", hit_steps, ratio(hits, seen)), hits[:, -1])


def sort_rows(y_true: Any, y_score: Any, *, threshold: float = THRESHOLD) -> ScoredRows:
    """
    Check labels and scores of a binary classifier and make them ready to be scored.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        False/True or 0/1.
    y_score : array-like of shape (n_rows,)
        Probability of the positive class, in [0, 1].
    threshold : float
        From which score on a row counts as predicted positive: precision, recall, F1 and accuracy depend on it.

    Raises
    ------
    DataError
        If labels and scores are empty, of unequal length, not binary, not finite or not in [0, 1].

    """
    y, s = check_labels(y_true), check_scores(y_score)
    require_rows(len(y), len(s))
    order = np.argsort(-s, kind="stable")
    y, s = y[order], s[order]
    predicted = (s >= threshold).astype(np.float64)
    clipped = np.clip(s, EPS, 1 - EPS)
    log_loss = -np.where(y > 0, np.log(clipped), np.log1p(-clipped))
    terms = np.stack([y, predicted, y * predicted, log_loss, (s - y) ** 2], axis=1)
    return ScoredRows(order=order, y=y, group_ends=ends_of_runs(s), terms=terms)


def check_labels(y_true: Any) -> FloatArray:
    """Labels as 0.0 and 1.0; DataError if anything else is among them."""
    y = as_floats(y_true, name="y_true")
    if not np.isin(y, (0.0, 1.0)).all():
        raise DataError("y_true holds something other than 0/1 or False/True: encode the positive label as True")
    return y


def check_scores(y_score: Any, *, name: str = "y_score") -> FloatArray:
    """Probabilities as floats; DataError if one is missing, not finite or outside [0, 1]."""
    s = as_floats(y_score, name=name)
    require_probabilities(s, name=name)
    return s
