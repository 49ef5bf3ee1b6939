"""One trial: a configuration fitted on each fold's train rows and judged on the others."""

from __future__ import annotations

import pickle
import time
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.pipeline import Pipeline

from include.selection.families import Configuration, build_estimator, predict_with
from include.selection.preparation import View, build_view, code_positions
from include.selection.problem import FloatArray, Problem
from include.selection.splits import Fold

# share of the best trial's gain over the baseline, on the first fold, below which the other folds are not fitted
_HOPELESS = 0.55


@dataclass(kw_only=True)
class SearchData:
    """Rows to search on: `folds` are pairs of positions (train, held out)."""

    problem: Problem
    X: pd.DataFrame
    y: npt.NDArray[Any]
    folds: Sequence[Fold]
    cardinality: dict[str, int] = field(default_factory=dict)
    _prepared: dict[tuple[View, int], tuple[Any, Any, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.cardinality = {c.name: self.X[c.name].nunique() for c in self.problem.columns if c.kind == "category"}

    @property
    def held_out(self) -> npt.NDArray[np.intp]:
        """Positions of all rows that some fold holds out, in the order of the folds."""
        return np.concatenate([held for _, held in self.folds])

    def prepared(self, view: View, fold: int) -> tuple[Any, Any, Any]:
        """Fitted preparation, train rows and held-out rows of a fold; made once."""
        key = (view, fold)
        if key not in self._prepared:
            train, held = self.folds[fold]
            prepare = self.new_view(view)
            X_train = prepare.fit_transform(self.X.iloc[train], self.y[train])
            self._prepared[key] = (prepare, X_train, prepare.transform(self.X.iloc[held]))
        return self._prepared[key]

    def new_view(self, view: View) -> Any:
        """Unfitted preparation."""
        return build_view(view, self.problem, cardinality=self.cardinality, n_rows=len(self.y))


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """
    What came of a trial. `predictions` are for `SearchData.held_out`; None where it was given up on the first fold, or
    failed.
    """

    configuration: Configuration
    loss: float
    first_loss: float
    cpu_seconds: float
    first_seconds: float
    n_rounds: int | None = None
    predictions: FloatArray | None = None
    models: tuple[Pipeline, ...] = ()
    error: str | None = None
    n_train: int = 0
    latency_ms: float | None = None
    size_mb: float | None = None


def run_trial(
    data: SearchData, configuration: Configuration, *, bar: float | None = None, deadline: float | None = None
) -> Outcome:
    """
    Fit and judge a configuration.

    Parameters
    ----------
    data : SearchData
        Rows and folds.
    configuration : Configuration
        What to try.
    bar : float, optional
        Loss on the first fold above which the other folds are left.
    deadline : float, optional
        Value of `time.process_time()` at which boosting ends its rounds, and after which no further fold is begun.

    """
    started = time.process_time()
    found, models, rounds, losses, first_seconds = [], [], [], [], 0.0
    for fold, (_, held) in enumerate(data.folds):
        model, predicted = _fit_fold(data, configuration, fold, deadline=deadline)
        models.append(model)
        found.append(predicted)
        rounds.append(getattr(model.named_steps["model"], "n_iter_", None))
        losses.append(data.problem.loss(data.y[held], predicted))
        now = time.process_time()
        first_seconds = first_seconds or now - started
        is_hopeless = bar is not None and losses[0] > bar
        if is_hopeless or (deadline is not None and now + first_seconds > deadline):
            break
    is_whole = len(found) == len(data.folds)
    predictions = np.concatenate(found) if is_whole else None
    loss = data.problem.loss(data.y[data.held_out], predictions) if predictions is not None else float("inf")
    known = [n for n in rounds if isinstance(n, int)]
    latency_ms, size_mb = _measure(data, configuration, models[0])
    return Outcome(
        configuration=configuration,
        loss=loss,
        first_loss=losses[0],
        cpu_seconds=time.process_time() - started,
        first_seconds=first_seconds,
        n_rounds=int(np.mean(known)) if known else None,
        predictions=predictions,
        models=tuple(models) if is_whole else (),
        n_train=len(data.folds[0][0]),
        latency_ms=latency_ms,
        size_mb=size_mb,
    )


def _measure(data: SearchData, configuration: Configuration, model: Pipeline) -> tuple[float, float]:
    """Milliseconds for a row alone, of the model without its preparation, and megabytes in memory."""
    row = data.prepared(configuration.view, 0)[2][:1]
    started = time.perf_counter()
    predict_with(model.named_steps["model"], row, n_classes=data.problem.n_classes)
    latency_ms = 1000 * (time.perf_counter() - started)
    # never loaded, only counted
    return round(latency_ms, 4), round(len(pickle.dumps(model.named_steps["model"], protocol=5)) / 1e6, 4)


def bar_for(naive: Outcome, best: Outcome) -> float:
    """
    Loss on the first fold above which a trial is hopeless: it gains little of what the best one gains over the
    baseline.
    """
    gained = naive.first_loss - best.first_loss
    return naive.first_loss - _HOPELESS * gained if gained > 0 else float("inf")


def rounds_for_all(n_rounds: int | None, *, n_train: int, n_all: int) -> int | None:
    """
    Boosting rounds for a fit on all rows: as many as the folds found best, and more as there are more rows (at most by
    half).
    """
    return None if n_rounds is None else max(1, round(n_rounds * min(1.5, n_all / max(n_train, 1))))


def fit_whole(problem: Problem, X: pd.DataFrame, y: npt.NDArray[Any], configuration: Configuration) -> Pipeline:
    """Fit a configuration on all rows; steps `prepare` and `model`."""
    data = SearchData(problem=problem, X=X, y=y, folds=())
    prepare = data.new_view(configuration.view)
    X_prepared = prepare.fit_transform(X, y)
    estimator = build_estimator(configuration, problem, categorical=code_positions(prepare))
    return Pipeline([("prepare", prepare), ("model", _fit(estimator, X_prepared, y))])


def _fit_fold(
    data: SearchData, configuration: Configuration, fold: int, *, deadline: float | None
) -> tuple[Pipeline, FloatArray]:
    train, held = data.folds[fold]
    prepare, X_train, X_held = data.prepared(configuration.view, fold)
    estimator = build_estimator(configuration, data.problem, categorical=code_positions(prepare))
    extra = {"evaluation": (X_held, data.y[held]), "deadline": deadline} if configuration.family == "boosting" else {}
    _fit(estimator, X_train, data.y[train], **extra)
    return Pipeline([("prepare", prepare), ("model", estimator)]), predict_with(
        estimator, X_held, n_classes=data.problem.n_classes
    )


def _fit(estimator: Any, X: Any, y: Any, **extra: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # an unfinished fit is judged by its score, as any other
        return estimator.fit(X, y, **extra)
