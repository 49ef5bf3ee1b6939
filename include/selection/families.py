"""
The families of models, the portfolio of strong starting configurations, and the space around each that the search
refines.

Every trial is one `Pipeline(prepare, model)`; sizes are bounded, so that a package stays below some tens of megabytes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor

from include.selection.boosting import LightGBM
from include.selection.log_target import LogTarget
from include.selection.preparation import View
from include.selection.problem import Problem
from include.selection.svm import CalibratedSVM
from include.workflow.tasks import Family

AnyFamily = Literal[Family, "naive"]
VIEWS: dict[AnyFamily, View] = {
    "naive": "codes",
    "linear": "scaled",
    "boosting": "codes",
    "hist_boosting": "means",
    "forest": "means",
    "extra_trees": "means",
    "neighbors": "dense",
    "svm": "dense",
}
REFINED: tuple[Family, ...] = ("boosting", "extra_trees", "linear", "svm")  # families with a space to search
_MAX_ROWS: dict[str, int] = {"svm": 6_000, "neighbors": 20_000}
MAX_LEAVES = 1_500  # of a tree in a forest: a stored forest then stays below some 30 MB
_MAX_SCALED_COLUMNS = 400  # for neighbours and SVM, whose cost grows with each


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One family with its parameters: what a trial tries."""

    family: AnyFamily
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def view(self) -> View:
        """How the rows are prepared for it."""
        view: View = self.params.get("view", VIEWS[self.family])
        return view


NAIVE = Configuration(family="naive")


def _boosting(**params: Any) -> Configuration:
    defaults = {
        "learning_rate": 0.05,
        "num_leaves": 31,
        "min_data_in_leaf": 20,
        "feature_fraction": 0.8,
        "lambda_l2": 1.0,
    }
    sampling = {"bagging_fraction": 0.8, "bagging_freq": 1, "extra_trees": False}
    return Configuration(family="boosting", params={**defaults, **sampling, **params})


# Strong on many tables, unlike each other, cheap ones early: with a small budget only the first are tried.
PORTFOLIO: tuple[Configuration, ...] = (
    _boosting(),
    Configuration(family="linear", params={"C": 1.0}),
    Configuration(family="linear", params={"C": 1.0, "target": "log"}),
    Configuration(family="extra_trees", params={"n_estimators": 150, "min_samples_leaf": 2, "max_features": 0.5}),
    _boosting(target="log"),
    _boosting(num_leaves=6, learning_rate=0.08, min_data_in_leaf=40, lambda_l2=5.0, view="means"),
    Configuration(family="svm", params={"C": 10.0}),
    Configuration(family="svm", params={"C": 3.0, "target": "log"}),
    _boosting(extra_trees=True, num_leaves=48, feature_fraction=0.6, learning_rate=0.06, min_data_in_leaf=10),
    Configuration(family="neighbors", params={"n_neighbors": 9}),
    Configuration(family="forest", params={"n_estimators": 120, "min_samples_leaf": 3, "max_features": 0.4}),
    _boosting(num_leaves=96, learning_rate=0.03, min_data_in_leaf=8, feature_fraction=0.5, view="means"),
    Configuration(family="linear", params={"C": 0.03}),
    Configuration(
        family="hist_boosting",
        params={
            "learning_rate": 0.06,
            "max_iter": 150,
            "max_leaf_nodes": 15,
            "min_samples_leaf": 30,
            "l2_regularization": 1.0,
        },
    ),
    _boosting(num_leaves=3, learning_rate=0.12, min_data_in_leaf=20),
    Configuration(family="svm", params={"C": 1.0}),
    Configuration(family="extra_trees", params={"n_estimators": 150, "min_samples_leaf": 5, "max_features": 0.9}),
)


def portfolio(problem: Problem, families: Collection[str], *, n_rows: int, n_scaled: int) -> tuple[Configuration, ...]:
    """Configurations in the order of trial; families that rows or columns are too many for are left out."""
    usable = (c for c in PORTFOLIO if c.family in families and suits(c.family, n_rows=n_rows, n_scaled=n_scaled))
    return tuple(c for c in usable if problem.has_log or c.params.get("target") != "log")


def suits(family: str, *, n_rows: int, n_scaled: int) -> bool:
    """Whether a family is cheap enough for a number of rows and of prepared columns."""
    limit = _MAX_ROWS.get(family)
    return limit is None or (n_rows <= limit and n_scaled <= _MAX_SCALED_COLUMNS)


def suggest(trial: Any, families: Collection[str], *, has_log: bool = False) -> Configuration:
    """
    Configuration that an Optuna trial asks for. Every family has its own names, so that each keeps its
    own history.
    """
    family = trial.suggest_categorical("family", [family for family in REFINED if family in families])
    params = _SPACES[family](trial)
    if has_log and trial.suggest_categorical(f"{family}_target", ["plain", "log"]) == "log":
        params["target"] = "log"
    return Configuration(family=family, params=params)


def _boosting_space(trial: Any) -> dict[str, Any]:
    return {
        "learning_rate": trial.suggest_float("boosting_learning_rate", 0.015, 0.15, log=True),
        "num_leaves": trial.suggest_int("boosting_num_leaves", 3, 160, log=True),
        "min_data_in_leaf": trial.suggest_int("boosting_min_data_in_leaf", 3, 120, log=True),
        "feature_fraction": trial.suggest_float("boosting_feature_fraction", 0.25, 1.0),
        "bagging_fraction": trial.suggest_float("boosting_bagging_fraction", 0.5, 1.0),
        "bagging_freq": 1,
        "lambda_l2": trial.suggest_float("boosting_lambda_l2", 1e-2, 30.0, log=True),
        "extra_trees": trial.suggest_categorical("boosting_extra_trees", [False, True]),
        "view": trial.suggest_categorical("boosting_view", ["codes", "means"]),
    }


def _extra_trees_space(trial: Any) -> dict[str, Any]:
    return {
        "n_estimators": 150,
        "min_samples_leaf": trial.suggest_int("extra_trees_min_samples_leaf", 1, 20, log=True),
        "max_features": trial.suggest_float("extra_trees_max_features", 0.15, 1.0),
    }


def _linear_space(trial: Any) -> dict[str, Any]:
    return {"C": trial.suggest_float("linear_C", 1e-3, 30.0, log=True)}


def _svm_space(trial: Any) -> dict[str, Any]:
    return {
        "C": trial.suggest_float("svm_C", 0.3, 100.0, log=True),
        "gamma": trial.suggest_float("svm_gamma", 0.2, 3.0, log=True),
    }


_SEARCHED: dict[str, tuple[str, ...]] = {
    "boosting": (
        *(
            "learning_rate",
            "num_leaves",
            "min_data_in_leaf",
            "feature_fraction",
            "bagging_fraction",
            "lambda_l2",
            "extra_trees",
            "view",
        ),
    ),
    "extra_trees": ("min_samples_leaf", "max_features"),
    "linear": ("C",),
    "svm": ("C", "gamma"),
}
_SPACES = {"boosting": _boosting_space, "extra_trees": _extra_trees_space, "linear": _linear_space, "svm": _svm_space}


def search_point(configuration: Configuration) -> dict[str, Any]:
    """Names and values by which Optuna knows a configuration."""
    family = configuration.family
    given = {"gamma": 1.0, "target": "plain", "view": configuration.view, **configuration.params}
    return {"family": family, **{f"{family}_{name}": given[name] for name in (*_SEARCHED[family], "target")}}


def build_estimator(configuration: Configuration, problem: Problem, *, categorical: tuple[int, ...] = ()) -> Any:
    """Unfitted estimator of a configuration; `categorical` are the positions of coded columns."""
    params = dict(configuration.params)
    is_log = params.pop("target", "plain") == "log"
    estimator = _BUILDERS[configuration.family](params, problem, categorical)
    return LogTarget(estimator=estimator, is_mean=problem.metric in ("rmse", "r2")) if is_log else estimator


def _build_naive(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    if problem.is_classification:
        return DummyClassifier(strategy="prior")
    if problem.metric == "pinball":
        return DummyRegressor(strategy="quantile", quantile=problem.quantile)
    return DummyRegressor(strategy="median" if problem.metric == "mae" else "mean")


def _build_linear(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    if problem.is_classification:
        return LogisticRegression(C=params["C"], max_iter=300, random_state=problem.random_state)
    return Ridge(alpha=1.0 / params["C"], random_state=problem.random_state)


def _build_boosting(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    params.pop("view", None)
    n_rounds = params.pop("n_rounds", 1500)
    if problem.metric == "mae":
        params["objective"] = "regression_l1"
    elif problem.metric == "pinball":
        params |= {"objective": "quantile", "alpha": problem.quantile}
    return LightGBM(
        n_classes=problem.n_classes,
        params=params,
        n_rounds=n_rounds,
        categorical=categorical,
        random_state=problem.random_state,
    )


def _build_hist(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    kind = HistGradientBoostingClassifier if problem.is_classification else HistGradientBoostingRegressor
    if problem.metric == "mae":
        params["loss"] = "absolute_error"
    elif problem.metric == "pinball":
        params |= {"loss": "quantile", "quantile": problem.quantile}
    return kind(early_stopping=False, random_state=problem.random_state, **params)


def _build_trees(classifier: type, regressor: type) -> Any:
    def build(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
        kind = classifier if problem.is_classification else regressor
        return kind(
            random_state=problem.random_state, max_leaf_nodes=params.pop("max_leaf_nodes", MAX_LEAVES), **params
        )

    return build


def _build_neighbors(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    kind = KNeighborsClassifier if problem.is_classification else KNeighborsRegressor
    return kind(weights="distance", algorithm="brute", **params)  # a tree of neighbours can't be stored without code


def _build_svm(params: dict[str, Any], problem: Problem, categorical: tuple[int, ...]) -> Any:
    return CalibratedSVM(n_classes=problem.n_classes, random_state=problem.random_state, **params)


_BUILDERS = {
    "naive": _build_naive,
    "linear": _build_linear,
    "boosting": _build_boosting,
    "hist_boosting": _build_hist,
    "forest": _build_trees(RandomForestClassifier, RandomForestRegressor),
    "extra_trees": _build_trees(ExtraTreesClassifier, ExtraTreesRegressor),
    "neighbors": _build_neighbors,
    "svm": _build_svm,
}


def with_rounds(configuration: Configuration, n_rounds: int | None) -> Configuration:
    """The configuration with a fixed number of boosting rounds; others as they are."""
    if n_rounds is None or configuration.family != "boosting":
        return configuration
    return Configuration(family=configuration.family, params={**configuration.params, "n_rounds": n_rounds})


def predict_with(estimator: Any, X: Any, *, n_classes: int) -> Any:
    """Predictions in the shapes of `Problem`; `n_classes` is 0 for numbers."""
    if not n_classes:
        return np.asarray(estimator.predict(X), dtype=np.float64)
    found = np.asarray(estimator.predict_proba(X), dtype=np.float64)
    if found.shape[1] < n_classes:  # a class that the rows fitted on do not have
        known, found = found, np.zeros((len(found), n_classes))
        found[:, estimator.classes_] = known
    return found[:, 1] if n_classes == 2 else found
