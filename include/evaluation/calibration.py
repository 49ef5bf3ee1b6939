"""What was predicted, and what happened: rows of similar prediction, compared by their means."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from include.evaluation.metrics import FloatArray
from include.workflow.tasks import Task

_N_BINS = 10
_Z = 1.959964  # of a 95 % interval


@dataclass(frozen=True, kw_only=True)
class CalibrationBin:
    """
    Rows whose prediction lies from `low` to `high`: their mean prediction, and the mean of what happened, with its 95 %
    interval.

    classification: the probability, and the share of positives; multiclass: the probability of the predicted class, and
    the share of rows where that class is true; regression and forecasting: predicted and actual value.
    """

    low: float
    high: float
    n_rows: int
    predicted: float
    observed: float
    observed_low: float
    observed_high: float


def calibrate(task: Task, y_true: FloatArray, y_pred: FloatArray) -> tuple[CalibrationBin, ...]:
    """
    Compare predictions with what happened, in at most ten bins of about equal counts; equal predictions stay together.

    Parameters
    ----------
    task, y_true, y_pred
        As `metrics.score_rows`, checked.

    """
    predicted, observed = y_pred, np.asarray(y_true, dtype=np.float64)
    if task == "multiclass":
        predicted, observed = y_pred.max(axis=1), (y_pred.argmax(axis=1) == y_true).astype(np.float64)
    edges = np.unique(np.quantile(predicted, np.linspace(0, 1, _N_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, predicted, side="right") - 1, 0, max(len(edges) - 2, 0))
    is_share = task in ("classification", "multiclass")
    return tuple(
        _describe(predicted[bins == index], observed[bins == index], is_share=is_share) for index in np.unique(bins)
    )


def _describe(predicted: FloatArray, observed: FloatArray, *, is_share: bool) -> CalibrationBin:
    mean = float(observed.mean())
    low, high = wilson(mean, len(observed)) if is_share else _around_mean(observed)
    return CalibrationBin(
        low=float(predicted.min()),
        high=float(predicted.max()),
        n_rows=len(predicted),
        predicted=float(predicted.mean()),
        observed=mean,
        observed_low=low,
        observed_high=high,
    )


def wilson(share: float, n: int) -> tuple[float, float]:
    """95 % interval of a share (E. B. Wilson, 1927)."""
    scale = 1 + _Z**2 / n
    centre = (share + _Z**2 / (2 * n)) / scale
    half = _Z * np.sqrt(share * (1 - share) / n + _Z**2 / (4 * n**2)) / scale
    # At a share of 0 or 1 rounding can put the bound a hair inside the share.
    return float(min(centre - half, share)), float(max(centre + half, share))


def _around_mean(values: FloatArray) -> tuple[float, float]:
    half = _Z * float(values.std(ddof=1)) / np.sqrt(len(values)) if len(values) > 1 else 0.0
    return float(values.mean() - half), float(values.mean() + half)
