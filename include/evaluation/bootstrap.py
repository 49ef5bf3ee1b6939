"""
How sure a score is: percentile intervals over resampled rows.

Method: B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap (1993), chapter 13; the resamples are counts
(`resampling`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from include.evaluation.metrics import FloatArray, Scored
from include.evaluation.resampling import Blocks, resample_counts
from include.workflow.tasks import METRICS_OF_TASK

__all__ = ["Interval", "MetricTable", "percentile_interval", "resample_counts", "score_with_intervals"]

_MAX_UNDEFINED_SHARE = 0.05  # more one-class resamples than this: the rest would give too narrow an interval


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A value with its interval; all three are nan where there is none, and `reason` says why."""

    value: float
    low: float
    high: float
    reason: str = ""


MetricTable = dict[str, Interval]


def score_with_intervals(
    rows: Scored,
    *,
    random_state: int,
    n_bootstrap: int = 500,
    confidence: float = 0.95,
    metrics: Sequence[str] | None = None,
    blocks: Blocks | None = None,
) -> MetricTable:
    """
    Score rows by every metric, each with a percentile interval; with `blocks`, rows are drawn in stretches of time.

    Returns
    -------
    dict of str to Interval
        An interval without numbers carries the reason.

    """
    metrics = METRICS_OF_TASK[rows.task] if metrics is None else metrics
    points = rows.weighted(np.ones((1, rows.n_rows)), metrics)
    rng = np.random.default_rng(random_state)
    chunks = [
        rows.weighted(counts, metrics) for counts in resample_counts(rows.n_rows, n_bootstrap, rng=rng, blocks=blocks)
    ]
    return {
        name: percentile_interval(
            float(points[name][0]),
            np.concatenate([c[name] for c in chunks]),
            confidence=confidence,
            reason=rows.why_undefined(name),
        )
        for name in metrics
    }


def percentile_interval(value: float, resampled: FloatArray, *, confidence: float, reason: str) -> Interval:
    """
    Make an interval of what resamples gave.

    Parameters
    ----------
    value : float
        What the rows themselves gave.
    resampled : ndarray of shape (n_resamples,)
        nan where a resample gave nothing; more than one in twenty of these leaves no interval.
    confidence : float
        Share of the resamples within the interval.
    reason : str
        Why there is no value at all; empty if there is one.

    """
    if reason:
        return Interval(value=np.nan, low=np.nan, high=np.nan, reason=reason)
    defined = resampled[np.isfinite(resampled)]
    if len(defined) < (1 - _MAX_UNDEFINED_SHARE) * len(resampled):
        n_lost = len(resampled) - len(defined)
        return Interval(
            value=value,
            low=np.nan,
            high=np.nan,
            reason=f"{n_lost} of {len(resampled)} resamples have no value: too few rows of one class, or too few "
            "distinct values",
        )
    low, high = np.quantile(defined, [(1 - confidence) / 2, (1 + confidence) / 2])
    return Interval(value=value, low=float(low), high=float(high))
