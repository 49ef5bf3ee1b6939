"""What a search is asked: the task, the metric, the columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.evaluation.metrics import score
from include.selection.columns import FeatureColumn
from include.workflow.tasks import LOWER_IS_BETTER, Task

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """
    A task on columns.

    `n_classes` is 0 where numbers are predicted; `has_log` says that they are amounts, whose logarithm is worth a
    trial. Predictions are of shape (n_rows,) for numbers and for two classes (probability of the second), else (n_rows,
    n_classes).
    """

    task: Task
    metric: str
    columns: tuple[FeatureColumn, ...]
    n_classes: int
    random_state: int
    has_log: bool = False
    quantile: float = 0.5

    @property
    def is_classification(self) -> bool:
        """Whether classes are predicted."""
        return self.n_classes > 0

    def loss(self, y_true: npt.NDArray[Any], predicted: FloatArray) -> float:
        """
        Badness by the metric: lower is better, whatever the metric's direction; infinite where it has no
        finite value.
        """
        if self.metric in _QUICK:
            value = _QUICK[self.metric](y_true, predicted)
        else:
            value = score(self.metric, y_true, predicted, task=self.task, quantile=self.quantile)
        value = value if self.metric in LOWER_IS_BETTER else -value
        return float(value) if np.isfinite(value) else float("inf")


def _log_loss(y: npt.NDArray[Any], p: FloatArray) -> float:
    chosen = np.where(y == 1, p, 1 - p) if p.ndim == 1 else p[np.arange(len(y)), y]
    return float(-np.mean(np.log(np.clip(chosen, _EPS, 1 - _EPS))))


# The losses that a search and an ensemble take by the hundred, without the checks and the sorting of
# `evaluation.metrics`.
_EPS = float(np.finfo(np.float64).eps)
_QUICK: dict[str, Callable[[npt.NDArray[Any], FloatArray], float]] = {
    "log_loss": _log_loss,
    "rmse": lambda y, p: float(np.sqrt(np.mean((y - p) ** 2))),
    "mae": lambda y, p: float(np.mean(np.abs(y - p))),
}
