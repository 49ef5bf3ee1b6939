"""Predict a number through its logarithm: for amounts whose errors grow with them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator

_MIN_SKEW = 1.0


class LogTarget(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    Fit an estimator to log(1 + y), and answer in units of y.

    The mean of the answers on the rows fitted on is brought to the mean of y: the exponential of a mean logarithm is a
    median, which for skewed numbers lies below their mean (N. Duan, 1983: Smearing estimate).

    Parameters
    ----------
    estimator : estimator
        Unfitted.
    is_mean : bool
        Whether the mean is asked for; without it answers are left at the median, as absolute errors ask for.

    """

    def __init__(self, *, estimator: Any = None, is_mean: bool = True) -> None:
        self.estimator = estimator
        self.is_mean = is_mean

    def fit(self, X: Any, y: Any, *, evaluation: tuple[Any, Any] | None = None, **extra: Any) -> LogTarget:
        """Fit on y of shape (n_rows,), none below 0."""
        if evaluation is not None:
            extra["evaluation"] = (evaluation[0], np.log1p(evaluation[1]))
        self.estimator.fit(X, np.log1p(y), **extra)
        if hasattr(self.estimator, "n_iter_"):
            self.n_iter_ = self.estimator.n_iter_
        self.factor_ = 1.0
        if self.is_mean:
            mean = float(np.mean(self.predict(X)))
            self.factor_ = float(np.clip(np.mean(y) / mean, 0.5, 2.0)) if mean > 0 else 1.0
        return self

    def predict(self, X: Any) -> Any:
        """Numbers of shape (n_rows,)."""
        return np.expm1(np.clip(self.estimator.predict(X), -1.0, 50.0)) * self.factor_


def is_skewed(y: Any) -> bool:
    """Whether numbers are amounts: none below 0, and a long tail above."""
    y = np.asarray(y, dtype=np.float64)
    spread = y.std()
    return bool(y.min() >= 0 and spread > 0 and np.mean(((y - y.mean()) / spread) ** 3) > _MIN_SKEW)
