"""
Two models on the same rows: by how much one is better, and whether that may be chance.

The bootstrap resamples both together (B. Efron and R. J. Tibshirani, An Introduction to the Bootstrap, 1993, chapters
15 and 16). For accuracy, where a row is either right or wrong, McNemar's exact test takes its place: of the rows on
which just one of the models is right, each model should have half (Q. McNemar, Note on the sampling error of the
difference between correlated proportions, 1947).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from scipy.special import betainc

from include.errors import DataError
from include.evaluation.bootstrap import Interval, percentile_interval
from include.evaluation.metrics import gain, score_rows
from include.evaluation.resampling import MIN_BLOCKS, Blocks, FloatArray, seeded_counts
from include.evaluation.scored import Scored
from include.workflow.tasks import Task

MIN_PAIRED_RESAMPLES = 1000
# Errors in the target's own unit: a loss of them is told as a share of what the other model has.
RELATIVE = frozenset({"mae", "rmse", "pinball"})


@dataclass(frozen=True, kw_only=True)
class PairedTest:
    """
    How two models are compared.

    `alpha` is the level of each one-sided test that will be made; intervals have confidence 1 - 2 alpha, so that A is
    significantly worse where the whole interval lies below zero. Smaller levels take more resamples (at least 1,000;
    the smallest p-value is half of alpha). `tolerance` is a loss that does not count, see `PairedDifference.margin`.
    With `blocks`, rows are drawn in stretches of time.
    """

    random_state: int
    alpha: float = 0.05
    tolerance: float = 0.0
    blocks: Blocks | None = None


@dataclass(frozen=True, kw_only=True)
class PairedDifference:
    """
    By how much model A is better than model B on the same rows (positive: A is better, whatever the metric's
    direction).

    `p_worse`, `p_better` and `p_close` are one-sided p-values: small ones say that A is worse, that A is better, and
    that A does not lose `margin` or more. The margin is the tolerance, or of mae, rmse and pinball that share of B's
    value.
    """

    metric: str
    value_a: float
    value_b: float
    interval: Interval
    p_worse: float
    p_better: float
    p_close: float
    margin: float
    n_rows: int
    alpha: float
    method: Literal["bootstrap", "McNemar"] = "bootstrap"

    def __str__(self) -> str:
        """`+0.0120 (90 % interval +0.0030 to +0.0210, 6,012 rows)`."""
        i = self.interval
        return (
            f"{i.value:+.4f} ({100 * (1 - 2 * self.alpha):.4g} % interval {i.low:+.4f} to {i.high:+.4f}, "
            f"{self.n_rows:,} rows)"
        )


def compare_paired(  # noqa: PLR0913 - what is compared, and how; a record of both would be no shorter
    metric: str,
    y_true: Any,
    score_a: Any,
    score_b: Any,
    *,
    random_state: int,
    alpha: float = 0.05,
    task: Task = "classification",
    quantile: float = 0.5,
) -> PairedDifference:
    """
    Compare two models in one metric by the bootstrap: `compare_rows` at its simplest.

    Raises
    ------
    DataError
        If labels or scores are unusable, or of unequal length.

    """
    a, b = (score_rows(task, y_true, scores, quantile=quantile) for scores in (score_a, score_b))
    return compare_rows([metric], a, b, test=PairedTest(random_state=random_state, alpha=alpha))[metric]


def compare_sorted(
    metrics: Sequence[str], a: Scored, b: Scored, *, random_state: int, alpha: float = 0.05
) -> dict[str, PairedDifference]:
    """Compare as `compare_rows`, without blocks or tolerance."""
    return compare_rows(metrics, a, b, test=PairedTest(random_state=random_state, alpha=alpha))


def compare_models(
    task: Task, metrics: Sequence[str], y_true: Any, predictions: tuple[Any, Any], *, test: PairedTest
) -> dict[str, PairedDifference]:
    """
    Compare two models of any task on the same rows.

    Parameters
    ----------
    task : str
        What is predicted.
    metrics : sequence of str
        Some of the task's.
    y_true : array-like of shape (n_rows,)
        What turned out to be true.
    predictions : pair of array-like
        Model A's and model B's, as `score_rows` takes them.
    test : PairedTest
        How.

    Returns
    -------
    dict of str to PairedDifference
        By metric. P-values are 1 where a difference has no value; its interval's reason says why.

    Raises
    ------
    DataError
        If labels or predictions are unusable, of unequal length, or a metric is none of the task's.

    """
    a, b = (score_rows(task, y_true, values) for values in predictions)
    differences = compare_rows(metrics, a, b, test=test)
    if "accuracy" in differences and test.blocks is None:
        right_a, right_b = (is_right(task, y_true, values) for values in predictions)
        p_worse, p_better = (mcnemar(*pair) for pair in ((right_b, right_a), (right_a, right_b)))
        differences["accuracy"] = replace(differences["accuracy"], p_worse=p_worse, p_better=p_better, method="McNemar")
    return differences


def compare_rows(metrics: Sequence[str], a: Scored, b: Scored, *, test: PairedTest) -> dict[str, PairedDifference]:
    """Compare by the bootstrap, in several metrics on the same resamples (see `compare_models`)."""
    ones = np.ones((1, a.n_rows))
    values_a, values_b = (rows.weighted(ones, metrics) for rows in (a, b))
    gains: dict[str, list[FloatArray]] = {metric: [] for metric in metrics}
    n_resamples = max(MIN_PAIRED_RESAMPLES, math.ceil(2 / test.alpha))
    for counts in seeded_counts(a.n_rows, n_resamples, random_state=test.random_state, blocks=test.blocks):
        scores_a, scores_b = (rows.weighted(counts, metrics) for rows in (a, b))
        for metric in metrics:
            gains[metric].append(gain(metric, scores_a[metric], scores_b[metric]))
    return {
        metric: _difference(
            metric,
            (float(values_a[metric][0]), float(values_b[metric][0])),
            np.concatenate(gains[metric]),
            reason=a.why_undefined(metric),
            test=test,
            n_rows=a.n_rows,
        )
        for metric in metrics
    }


def margin_of(metric: str, value: float, *, tolerance: float) -> float:
    """How much of a metric may be lost against a model that has `value` of it."""
    return tolerance * (abs(value) if metric in RELATIVE else 1.0)


def mcnemar(right_a: npt.NDArray[np.bool_], right_b: npt.NDArray[np.bool_]) -> float:
    """
    Test whether A is right more often than B.

    Parameters
    ----------
    right_a, right_b : ndarray of bool, of shape (n_rows,)
        Whether each model is right, row by row.

    Returns
    -------
    float
        One-sided exact p-value: the chance of at least as many rows on which A alone is right, were it a coin's throw.
        1 if there is none.

    """
    n_a, n_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    # The binomial's upper tail: P(X >= n_a) of n_a + n_b throws.
    return 1.0 if n_a == 0 else float(betainc(n_a, n_b + 1, 0.5))


def is_right(task: Task, y_true: Any, predicted: Any) -> npt.NDArray[np.bool_]:
    """
    Whether a classifier's most probable class is the true one, row by row; at 0.5 and more a row counts
    as positive.
    """
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    chosen = p.argmax(axis=1) if task == "multiclass" else p >= 0.5
    return np.asarray(chosen == y, dtype=np.bool_)


def holm_rejections(p_values: Sequence[float], *, alpha: float) -> list[bool]:
    """Which of several hypotheses are rejected, with at most `alpha` chance of one false rejection (S. Holm, 1979)."""
    if not 0 < alpha < 1:
        raise DataError(f"alpha={alpha}: give a probability between 0 and 1")
    rejected = [False] * len(p_values)
    for rank, index in enumerate(np.argsort(p_values, kind="stable")):
        if not p_values[index] <= alpha / (len(p_values) - rank):
            break
        rejected[index] = True
    return rejected


def _too_few(blocks: Blocks | None) -> str:
    if blocks is None or blocks.n_blocks >= MIN_BLOCKS:
        return ""
    return (
        f"the rows are {blocks.n_blocks} blocks of time long: at least {MIN_BLOCKS} are needed to tell how much one "
        "differs from the next"
    )


def _difference(
    metric: str, values: tuple[float, float], gains: FloatArray, *, reason: str, test: PairedTest, n_rows: int
) -> PairedDifference:
    observed = gain(metric, *values)
    if test.blocks is not None:
        gains = observed + (gains - observed) * test.blocks.widening(test.alpha)
    interval = percentile_interval(observed, gains, confidence=1 - 2 * test.alpha, reason=reason)
    if not interval.reason and (too_few := _too_few(test.blocks)):
        interval = Interval(value=observed, low=np.nan, high=np.nan, reason=too_few)
    defined = gains[np.isfinite(gains)]
    margin = margin_of(metric, values[1], tolerance=test.tolerance)
    p_worse, p_better, p_close = (
        1.0 if interval.reason else _p_value(is_against)
        for is_against in (defined >= 0, defined <= 0, defined <= -margin)
    )
    return PairedDifference(
        metric=metric,
        value_a=values[0],
        value_b=values[1],
        interval=interval,
        p_worse=p_worse,
        p_better=p_better,
        p_close=p_close,
        margin=margin,
        n_rows=n_rows,
        alpha=test.alpha,
    )


def _p_value(is_against: npt.NDArray[np.bool_]) -> float:
    # The sample itself counts as one more resample (Davison and Hinkley 1997, 4.2): a p-value is never 0.
    return float((1 + is_against.sum()) / (1 + len(is_against)))
