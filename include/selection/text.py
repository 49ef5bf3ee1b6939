"""What a text alone says of the target, as a number for models that can't read words."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import KFold, StratifiedKFold, cross_val_predict
from sklearn.pipeline import Pipeline


class TextScore(TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    Score of a linear model over words and pairs of words.

    The rows that it is fitted on get the scores of models that did not see them (five folds), as in stacking (D. H.
    Wolpert, 1992): otherwise the model behind would trust a score that knows the answer.

    Parameters
    ----------
    is_classification : bool
        Log odds of each class (one column where there are two); else the predicted number.
    random_state : int
        Of the folds.

    """

    def __init__(self, *, is_classification: bool = True, random_state: int = 0) -> None:
        self.is_classification = is_classification
        self.random_state = random_state

    def fit(self, X: Any, y: Any) -> TextScore:
        """Fit on texts of shape (n_rows,)."""
        self.model_ = self._model().fit(X, y)
        self.n_scores_ = self._score(self.model_, X[:1]).shape[1]
        return self

    def fit_transform(self, X: Any, y: Any) -> Any:
        """Scores of shape (n_rows, n_scores), each by models that did not see the row."""
        self.fit(X, y)
        method = "decision_function" if self.is_classification else "predict"
        kind = StratifiedKFold if self.is_classification else KFold
        folds = kind(5, shuffle=True, random_state=self.random_state)
        found = np.asarray(cross_val_predict(self._model(), X, y, cv=folds, method=method))
        return found.reshape(len(found), -1)

    def transform(self, X: Any) -> Any:
        """Scores of shape (n_rows, n_scores)."""
        return self._score(self.model_, X)

    def get_feature_names_out(self, input_features: Any = None) -> Any:
        """One name a score."""
        return np.array([f"score_{i}" for i in range(self.n_scores_)], dtype=object)

    def _model(self) -> Pipeline:
        words = TfidfVectorizer(
            ngram_range=(1, 2), min_df=2, max_features=30_000, sublinear_tf=True, strip_accents="unicode"
        )
        model = LogisticRegression(C=4.0, max_iter=200) if self.is_classification else Ridge(alpha=1.0)
        return Pipeline([("words", words), ("model", model)])

    def _score(self, model: Pipeline, X: Any) -> Any:
        found = np.asarray(model.decision_function(X) if self.is_classification else model.predict(X))
        return found.reshape(len(found), -1)
