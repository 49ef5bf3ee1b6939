"""
How far two samples of one column are apart, told from counts of the same cells.

The effect is the Jensen-Shannon distance (J. Lin, Divergence measures based on the Shannon entropy, 1991; its root, as
D. M. Endres and J. E. Schindelin, A new metric for probability distributions, 2003): 0 for equal shares, 1 for shares
that have no cell in common. A value that one sample alone has gives no infinity. Small samples look far apart by
chance: what chance adds on average is taken off first.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import chdtrc

from include.errors import DataError

FloatArray = npt.NDArray[np.float64]

_LEAST_EXPECTED = 1.0  # in a cell, of the smaller sample: rarer cells are tested together


@dataclass(frozen=True, kw_only=True)
class Divergence:
    """
    `effect`: corrected Jensen-Shannon distance, 0 to 1. `p_value`: chance of a difference as large where
    there is none.
    """

    effect: float
    p_value: float


def compare_counts(reference: Any, current: Any) -> Divergence:
    """
    Compare two samples by the counts of their cells.

    Parameters
    ----------
    reference, current : array-like of shape (n_cells,)
        How many values of each sample lie in each cell, >= 0.

    Raises
    ------
    DataError
        If the shapes differ, a count is negative or not finite, or a sample is empty.

    """
    first, second = (np.asarray(counts, dtype=np.float64) for counts in (reference, current))
    if first.shape != second.shape or first.ndim != 1:
        raise DataError(
            f"counts of shapes {first.shape} and {second.shape} are not of the same cells: count both alike"
        )
    if not (_is_count(first) and _is_count(second)):
        raise DataError(
            "counts of an empty sample, or ones below zero, cannot be compared: give two samples with values"
        )
    return Divergence(effect=float(distance(first, second[None, :])[0]), p_value=homogeneity_p_value(first, second))


def distance(reference: FloatArray, current: FloatArray) -> FloatArray:
    """
    Jensen-Shannon distances of samples from one reference, corrected for sampling noise: 0 to 1.

    The plug-in entropy of n draws from k cells is too small by (k - 1) / 2n on average (G. A. Miller, Note on the bias
    of information estimates, 1955); the same expansion of the mixture's entropy gives the rest. Without the correction,
    100 unchanged values in ten cells would look 0.12 apart, 100,000 of them 0.004.

    Parameters
    ----------
    reference : ndarray of shape (n_cells,)
        Counts, not all zero.
    current : ndarray of shape (n_samples, n_cells)
        Counts; of each sample not all zero.

    Returns
    -------
    ndarray of shape (n_samples,)

    """
    n, m = reference.sum(), current.sum(axis=1)
    p, q = reference / n, current / m[:, None]
    mixture = (p + q) / 2
    divergence = _entropy(mixture) - (_entropy(p) + _entropy(q)) / 2
    for shares, size in ((p, n), (q, m)):
        spread = np.divide(shares * (1 - shares), mixture, out=np.zeros_like(mixture), where=mixture > 0)
        divergence -= (np.count_nonzero(shares, axis=-1) - 1) / (4 * size) - spread.sum(axis=1) / (8 * size)
    found: FloatArray = np.sqrt(np.clip(divergence / np.log(2), 0.0, 1.0))
    return found


def adjust_p_values(p_values: Sequence[float]) -> list[float]:
    """
    Adjust p-values for their number: reject those at or below alpha, and of all rejected at most a share alpha is wrong
    on average.

    Y. Benjamini and Y. Hochberg, Controlling the false discovery rate (1995). Where nothing differs at all, that is the
    chance of any rejection.
    """
    values = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(values, kind="stable")
    scaled = values[order] * len(values) / np.arange(1, len(values) + 1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(scaled[::-1])[::-1])
    return [float(value) for value in adjusted]


def homogeneity_p_value(first: FloatArray, second: FloatArray) -> float:
    """Pearson's test that both samples come from the same cells' shares (K. Pearson, 1911, for two samples)."""
    n, m = first.sum(), second.sum()
    expected = (first + second) * (min(n, m) / (n + m))
    is_rare = expected < _LEAST_EXPECTED
    cells = [np.append(counts[~is_rare], counts[is_rare].sum()) for counts in (first, second)]
    there = cells[0] + cells[1] > 0
    a, b = cells[0][there], cells[1][there]
    if len(a) < 2:
        return 1.0
    statistic = ((np.sqrt(m / n) * a - np.sqrt(n / m) * b) ** 2 / (a + b)).sum()
    return float(chdtrc(len(a) - 1, statistic))


def _is_count(counts: FloatArray) -> bool:
    return bool(np.isfinite(counts).all() and (counts >= 0).all() and counts.sum() > 0)


def _entropy(shares: FloatArray) -> Any:
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -(shares * logarithms).sum(axis=-1)
