"""Support vector machines whose classification scores are probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC, SVR


class CalibratedSVM(BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    SVM with a radial kernel, for small tables.

    Its decision values become probabilities by a logistic model over them, fitted on a fifth of the rows that a first
    machine did not see (J. Platt, 1999); then the machine itself is fitted on all rows. Numbers are predicted in units
    of their deviation.

    Parameters
    ----------
    n_classes : int
        0 for numbers.
    C : float
        Weight of errors.
    gamma : float
        Width of the kernel, in multiples of scikit-learn's `scale`.
    random_state : int
        Of the fifth.

    """

    def __init__(self, *, n_classes: int = 2, C: float = 1.0, gamma: float = 1.0, random_state: int = 0) -> None:
        self.n_classes = n_classes
        self.C = C
        self.gamma = gamma
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> CalibratedSVM:
        """Fit on X of shape (n_rows, n_features) and y of shape (n_rows,)."""
        X = _dense(X)
        gamma = self.gamma / max(X.shape[1] * X.var(), 1e-12)
        if not self.n_classes:
            self.center_, self.scale_ = float(np.mean(y)), float(np.std(y)) or 1.0
            self.machine_ = SVR(C=self.C, gamma=gamma).fit(X, (y - self.center_) / self.scale_)
            return self
        fit, held = train_test_split(np.arange(len(y)), test_size=0.2, random_state=self.random_state, stratify=y)
        first = SVC(C=self.C, gamma=gamma).fit(X[fit], y[fit])
        self.calibration_ = LogisticRegression(max_iter=300).fit(_column(first.decision_function(X[held])), y[held])
        self.machine_ = SVC(C=self.C, gamma=gamma).fit(X, y)
        self.classes_ = np.arange(self.n_classes)
        return self

    def predict_proba(self, X: Any) -> Any:
        """Probabilities of shape (n_rows, n_classes)."""
        return self.calibration_.predict_proba(_column(self.machine_.decision_function(_dense(X))))

    def predict(self, X: Any) -> Any:
        """Numbers, or codes of the likeliest classes; shape (n_rows,)."""
        if self.n_classes:
            return self.predict_proba(X).argmax(axis=1)
        return self.machine_.predict(_dense(X)) * self.scale_ + self.center_


def _dense(X: Any) -> Any:
    return X.toarray() if hasattr(X, "toarray") else np.asarray(X)


def _column(values: Any) -> Any:
    return values.reshape(len(values), -1)
