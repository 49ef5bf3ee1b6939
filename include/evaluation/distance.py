"""How far two samples of scores lie apart."""

from __future__ import annotations

import bisect
from collections.abc import Sequence

MINIMUM_SCORES = 30  # fewer tell nothing of a distribution
MINIMUM_DISTINCT = 10


def score_distance(current: Sequence[float], reference: Sequence[float]) -> float | None:
    """
    Distance of two samples: the Kolmogorov-Smirnov statistic.

    Parameters
    ----------
    current, reference : sequence of float
        Finite numbers.

    Returns
    -------
    float or None
        The largest difference of their distribution functions, in [0, 1]; 0 for the same values. None, if one has fewer
        than `MINIMUM_SCORES`, or the reference fewer than `MINIMUM_DISTINCT` different ones: it was asked the same
        again and again, and any two models differ wholly then.

    Examples
    --------
    >>> low, high = [i / 100 for i in range(40)], [i / 100 for i in range(60, 100)]
    >>> score_distance(low, low), score_distance(high, low), score_distance([0.2] * 40, low)
    (0.0, 1.0, 0.5)
    >>> score_distance(low, [0.5]), score_distance(low, [0.5] * 40)
    (None, None)

    """
    if min(len(current), len(reference)) < MINIMUM_SCORES or len(set(reference)) < MINIMUM_DISTINCT:
        return None
    left, right = sorted(current), sorted(reference)
    return max(
        abs(bisect.bisect_right(left, x) / len(left) - bisect.bisect_right(right, x) / len(right))
        for x in {*left, *right}
    )
