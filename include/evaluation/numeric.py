"""Rows of a model that predicts a number: regression, and forecasting."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from include.errors import DataError
from include.evaluation.scored import FloatArray, as_floats, ratio, require_known, require_rows
from include.workflow.tasks import Task

_CONSTANT = 1e-12  # of the mean square: less variance than this is rounding
_LARGEST = 1e100  # what can be squared and summed


@dataclass(frozen=True, kw_only=True)
class NumericRows:
    """
    True and predicted values of n rows, checked.

    `terms` (n, 5) are what is summed: absolute error, squared error, pinball loss, the true value less the median, and
    its square.
    """

    task: Task
    y: FloatArray
    y_pred: FloatArray
    terms: FloatArray

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.y)

    def weighted(self, weights: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
        """Score under each row of weights (see `Scored`): R² is nan where all values of a resample are equal."""
        require_known(metrics, self.task)
        n = weights.sum(axis=1)
        absolute, squared, pinball, value, value_squared = (weights @ self.terms).T
        spread = value_squared - value**2 / n
        varies = spread > _CONSTANT * value_squared
        values = {
            "mae": absolute / n,
            "rmse": np.sqrt(squared / n),
            "r2": np.where(varies, 1 - ratio(squared, np.where(varies, spread, 0)), np.nan),
            "pinball": pinball / n,
        }
        return {name: values[name] for name in metrics}

    def why_undefined(self, metric: str) -> str:
        """Say why a metric has no value on these rows; empty if it has one."""
        if metric == "r2" and self.y.min() == self.y.max():
            return f"all {self.n_rows} rows have the same value: r2 needs at least two values"
        return ""


def check_numeric(y_true: Any, y_pred: Any, *, task: Task = "regression", quantile: float = 0.5) -> NumericRows:
    """
    Check true and predicted values and make them ready to be scored.

    Parameters
    ----------
    y_true, y_pred : array-like of shape (n_rows,)
        In the target's unit.
    task : str
        "regression" or "forecasting".
    quantile : float
        In (0, 1): which one the pinball loss is of. At 0.5 it is half the mean absolute error.

    Raises
    ------
    DataError
        If there are no rows, values are missing or not finite, lengths differ, or the quantile is none.

    """
    if not 0 < quantile < 1:
        raise DataError(f"quantile={quantile}: give a number between 0 and 1")
    y, p = check_values(y_true, name="y_true"), check_values(y_pred, name="y_pred")
    require_rows(len(y), len(p), what="predictions")
    error = y - p
    # Around the median and not around the mean: one value far away would leave the others nothing but rounding.
    centred = y - np.median(y)
    pinball = np.where(error >= 0, quantile * error, (quantile - 1) * error)
    return NumericRows(
        task=task, y=y, y_pred=p, terms=np.stack([np.abs(error), error**2, pinball, centred, centred**2], axis=1)
    )


def check_values(values: Any, *, name: str) -> FloatArray:
    """Numbers as floats; DataError if one is missing, not finite, or too large to be squared."""
    array = as_floats(values, name=name)
    n_bad = int((~np.isfinite(array)).sum())
    if n_bad:
        raise DataError(f"{name}: {n_bad} of {len(array)} values are not finite: give a number for every row")
    if len(array) and np.abs(array).max() > _LARGEST:
        raise DataError(
            f"{name}: values reach {np.abs(array).max():.3g}: beyond {_LARGEST:g} no error can be computed, scale the "
            "target"
        )
    return array
