"""Scores of a model, for every task, by one set of weighted formulas: each equals scikit-learn's value."""

from __future__ import annotations

from typing import Any

import numpy as np

from include.errors import DataError
from include.evaluation.binary import NEEDS_BOTH_CLASSES, THRESHOLD, ScoredRows, check_labels, check_scores, sort_rows
from include.evaluation.multiclass import MulticlassRows, check_class_probabilities, check_codes, check_multiclass
from include.evaluation.numeric import NumericRows, check_numeric, check_values
from include.evaluation.scored import FloatArray, Scored
from include.workflow.tasks import LOWER_IS_BETTER, METRICS_OF_TASK, Task

__all__ = [
    "LOWER_IS_BETTER",
    "METRICS",
    "NEEDS_BOTH_CLASSES",
    "THRESHOLD",
    "FloatArray",
    "MulticlassRows",
    "NumericRows",
    "Scored",
    "ScoredRows",
    "check_labels",
    "check_predictions",
    "check_scores",
    "check_truth",
    "gain",
    "score",
    "score_rows",
    "sort_rows",
]

METRICS = METRICS_OF_TASK["classification"]


def score(metric: str, y_true: Any, y_pred: Any, *, task: Task = "classification", quantile: float = 0.5) -> float:
    """
    Score predictions.

    Parameters
    ----------
    metric : str
        One of the task's (`METRICS_OF_TASK`). Higher is better, but for those in `LOWER_IS_BETTER`.
    y_true, y_pred, task, quantile
        As `score_rows`.

    Returns
    -------
    float
        The value that scikit-learn gives; nan where these rows have none (`why_undefined` says why). Precision is 0
        where no row is predicted positive.

    Raises
    ------
    DataError
        If the metric is none of the task's, or as `score_rows`.

    """
    rows = score_rows(task, y_true, y_pred, quantile=quantile)
    return float(rows.weighted(np.ones((1, rows.n_rows)), [metric])[metric][0])


def score_rows(task: Task, y_true: Any, y_pred: Any, *, quantile: float = 0.5, threshold: float = THRESHOLD) -> Scored:
    """
    Check truth and predictions, as `Model.predict` gives them, and make them ready to be scored.

    Parameters
    ----------
    task : str
        What is predicted.
    y_true : array-like of shape (n_rows,)
        classification: False/True or 0/1; multiclass: codes of classes; regression and forecasting: values.
    y_pred : array-like of shape (n_rows,), or (n_rows, n_classes) for multiclass
        classification: probability of the positive class; multiclass: probabilities; regression and forecasting:
        values.
    quantile : float
        Of the pinball loss.
    threshold : float
        classification: a row counts as predicted positive from this score on.

    Raises
    ------
    DataError
        If they are unusable (see `sort_rows`, `check_multiclass`, `check_numeric`), or the task is unknown.

    """
    if task == "classification":
        return sort_rows(y_true, y_pred, threshold=threshold)
    if task == "multiclass":
        return check_multiclass(y_true, y_pred)
    if task in ("regression", "forecasting"):
        return check_numeric(y_true, y_pred, task=task, quantile=quantile)
    raise DataError(f"task {task!r} is unknown: known are {', '.join(METRICS_OF_TASK)}")


def check_truth(task: Task, y_true: Any, *, n_classes: int = 2) -> Any:
    """Labels in the task's form (see `score_rows`); DataError if they are unusable. `n_classes` is for multiclass."""
    if task == "classification":
        return check_labels(y_true)
    return check_codes(y_true, n_classes=n_classes) if task == "multiclass" else check_values(y_true, name="y_true")


def check_predictions(task: Task, y_pred: Any, *, name: str = "y_score") -> FloatArray:
    """
    Predictions in the task's form (see `score_rows`); DataError if one is missing, not finite or no probability where
    one is due.
    """
    if task == "classification":
        return check_scores(y_pred, name=name)
    return check_class_probabilities(y_pred, name=name) if task == "multiclass" else check_values(y_pred, name=name)


def gain(metric: str, value: Any, reference: Any) -> Any:
    """
    By how much `value` is better than `reference`, in units of the metric: positive is better, whatever the metric's
    direction.
    """
    return reference - value if metric in LOWER_IS_BETTER else value - reference
