"""
From a feature frame to numbers, in the way that a family of models needs them. Fitted on training rows alone.

| view | numbers | categories | text | for |
|---|---|---|---|---|
| codes | as they are | codes, which the model splits by set; past `MAX_CODES` of them by their mean target | score, components | boosting |
| means | median, and a mark | their mean target, learned across folds | score, components | forests, boosting |
| scaled | spread to unit deviation, outliers cut | a column each, rare ones together | a column a word | linear |
| dense | the same, | but never sparse | | neighbours, SVM |
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.compose import ColumnTransformer
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.pipeline import FeatureUnion, Pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler, TargetEncoder

from include.selection.problem import Problem
from include.selection.text import TextScore

View = Literal["codes", "means", "scaled", "dense"]
MAX_CODES = 40
_N_COMPONENTS = 30


class Clip(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn is untyped
    """
    Cut each column at what the rows fitted on hold, but for their outermost: a linear model then never runs off along
    one number.

    Parameters
    ----------
    outermost : float
        Share of rows on each side whose values are cut to the next.

    """

    def __init__(self, outermost: float = 0.002) -> None:
        self.outermost = outermost

    def fit(self, X: Any, y: Any = None) -> Clip:
        """Learn the bounds of columns of shape (n_rows, n_columns)."""
        self.n_features_in_ = X.shape[1]
        self.low_, self.high_ = np.quantile(X, [self.outermost, 1 - self.outermost], axis=0)
        return self

    def transform(self, X: Any) -> Any:
        """Array of the same shape."""
        return np.clip(X, self.low_, self.high_)


def build_view(view: View, problem: Problem, *, cardinality: dict[str, int], n_rows: int) -> ColumnTransformer:
    """
    Unfitted preparation.

    Parameters
    ----------
    view : str
        Which one.
    problem : Problem
        Its columns.
    cardinality : dict of str to int
        How many different values each category has among the rows that the search sees.
    n_rows : int
        How many rows the search sees: rare categories are those below a thousandth of them.

    Returns
    -------
    ColumnTransformer
        Blocks `numbers`, `codes`, `categories` and one for each text, as far as there are such columns.

    """
    numbers = [c.name for c in problem.columns if c.kind == "number"]
    categories = [c.name for c in problem.columns if c.kind == "category"]
    coded = [name for name in categories if view == "codes" and cardinality.get(name, 0) <= MAX_CODES]
    others = [name for name in categories if name not in coded]
    # a block of text names one column, not a list: its texts come as a column of their own
    blocks: list[tuple[str, Any, Any]]
    blocks = [
        ("numbers", _numbers(view), numbers),
        ("codes", _codes(), coded),
        ("categories", _categories(view, problem, n_rows), others),
    ]
    blocks += [
        (f"text_{i}", _text(view, problem), c.name)
        for i, c in enumerate(c for c in problem.columns if c.kind == "text")
    ]
    return ColumnTransformer([block for block in blocks if block[2]], sparse_threshold=0.3 if view == "scaled" else 0.0)


def code_positions(prepared: ColumnTransformer) -> tuple[int, ...]:
    """Positions of the coded columns in what a fitted `codes` view gives."""
    found = prepared.output_indices_.get("codes", slice(0, 0))
    return tuple(range(found.start, found.stop))


def _numbers(view: View) -> Any:
    if view == "codes":
        return "passthrough"
    impute = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
    if view == "means":
        return impute
    return Pipeline([("impute", impute), ("clip", Clip()), ("scale", StandardScaler())])


def _codes() -> Any:
    return OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)


def _categories(view: View, problem: Problem, n_rows: int) -> Any:
    if view in ("scaled", "dense"):
        return OneHotEncoder(min_frequency=max(2, min(20, n_rows // 1000)), handle_unknown="infrequent_if_exist")
    kind = "continuous" if not problem.is_classification else "binary" if problem.n_classes == 2 else "multiclass"
    folds = (StratifiedKFold if problem.is_classification else KFold)(
        5, shuffle=True, random_state=problem.random_state
    )
    return TargetEncoder(target_type=kind, smooth="auto", cv=folds)


def _text(view: View, problem: Problem) -> Any:
    words = TfidfVectorizer(
        ngram_range=(1, 2), min_df=3, max_features=20_000, sublinear_tf=True, strip_accents="unicode"
    )
    if view in ("scaled", "dense"):
        return words
    score = TextScore(is_classification=problem.is_classification, random_state=problem.random_state)
    components = Pipeline(
        [("words", words), ("components", TruncatedSVD(_N_COMPONENTS, random_state=problem.random_state))]
    )
    return FeatureUnion([("score", score), ("components", components)])
