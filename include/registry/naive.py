"""
The naive forecast that a candidate has to beat: one that asks for no search, and that a person could make with one
number in hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from sklearn.linear_model import LogisticRegression

from include.errors import EvidenceError
from include.evaluation.evaluate import Scoring
from include.evaluation.metrics import gain
from include.modeling.labels import labels_of
from include.registry.scoring import scoring_of
from include.workflow import Workflow

FloatArray = npt.NDArray[np.float64]


def naive_scores(workflow: Workflow, fitted: pa.Table, test: pa.Table, *, classes: Sequence[Any] = ()) -> FloatArray:
    """Predict the test rows as the naive baseline does (see `naive_predictions`), by the labels of the fitted rows."""
    y = labels_of(workflow, fitted, classes=classes)
    return naive_predictions(workflow, fitted, test, y_fitted=y, n_classes=len(classes))


def naive_predictions(
    workflow: Workflow, fitted: pa.Table, test: pa.Table, *, y_fitted: npt.NDArray[Any], n_classes: int = 2
) -> FloatArray:
    """
    Predict as the naive baselines do: the one of them that is best on the rows fitted on.

    The first asks no column: the share of positives or of each class, or the mean (for mae and pinball, the median and
    the quantile that these ask for). The column that `gate.naive` names is another: the last value makes it
    persistence, the value one season ago (a day's, a week's) the seasonal one. Of two classes, and of several with a
    column of numbers, it is a logistic curve over the column.

    Parameters
    ----------
    workflow : Workflow
        Its task, `gate.naive`, and the metric to choose by.
    fitted, test : Table
        Rows that the candidate was fitted on, and those to predict. Where the column is missing, the constant's value
        (of a curve, the column's median) stands in.
    y_fitted : ndarray of shape (n_fitted,)
        Truth of the fitted rows, in the task's form.
    n_classes : int
        Of several classes.

    Returns
    -------
    ndarray of shape (n_test,), or (n_test, n_classes) for several classes
        Predictions, as a model's.

    Raises
    ------
    EvidenceError
        If the column is not there, or holds no numbers where numbers are needed.

    """
    name, scoring = workflow.gate.naive, scoring_of(workflow)
    constant = _constant(scoring, y_fitted, metric=workflow.metric, n_classes=n_classes)
    known, asked = (np.array(np.broadcast_to(constant, (table.num_rows, *constant.shape))) for table in (fitted, test))
    if name is None:
        return asked
    if name not in fitted.schema.names or name not in test.schema.names:
        raise EvidenceError(f"gate.naive={name!r} is no column of the validated rows: correct the name")
    by_column = _by_column(name, fitted[name], test[name], y=y_fitted, scoring=scoring, constant=constant)
    # Of equally good ones, what was declared.
    worth = [_worth(scoring, y_fitted, scores, metric=workflow.metric) for scores in (by_column[0], known)]
    return np.array(by_column[1]) if worth[0] >= worth[1] else asked


def _constant(scoring: Scoring, y: npt.NDArray[Any], *, metric: str, n_classes: int) -> FloatArray:
    if scoring.task == "classification":
        return np.asarray(y.mean(), dtype=np.float64)
    if scoring.task == "multiclass":
        return np.asarray(np.bincount(y, minlength=n_classes) / len(y))
    levels = {"mae": 0.5, "pinball": scoring.quantile}
    return np.asarray(np.quantile(y, levels[metric]) if metric in levels else y.mean())


def _by_column(
    name: str,
    known: pa.ChunkedArray,
    asked: pa.ChunkedArray,
    *,
    y: npt.NDArray[Any],
    scoring: Scoring,
    constant: FloatArray,
) -> tuple[FloatArray, ...]:
    """Predictions for the fitted rows and for those to judge on, from one column."""
    is_number = pa.types.is_integer(known.type) or pa.types.is_floating(known.type)
    if scoring.task == "multiclass" and not is_number:
        return _by_shares(known, asked, y=y, prior=constant)
    if not is_number:
        raise EvidenceError(f"gate.naive={name!r} holds no numbers but {known.type}: name a column of numbers")
    x_known, x_asked = (
        np.asarray(pc.fill_null(column.cast(pa.float64()), np.nan).to_numpy(), dtype=np.float64)
        for column in (known, asked)
    )
    if scoring.task in ("regression", "forecasting"):
        # The value itself is the forecast; where there is none, the constant.
        return tuple(np.where(np.isfinite(x), x, constant) for x in (x_known, x_asked))
    return _by_curve(x_known, x_asked, y=y, prior=constant)


def _by_curve(
    known: FloatArray, asked: FloatArray, *, y: npt.NDArray[Any], prior: FloatArray
) -> tuple[FloatArray, ...]:
    """A logistic curve over the numbers, so that the larger one has the higher (or always the lower) score."""
    finite = known[np.isfinite(known)]
    median, spread = (float(np.median(finite)), float(finite.std())) if len(finite) else (0.0, 0.0)
    if not spread or len(np.unique(y)) < 2:
        return tuple(np.broadcast_to(prior, (len(x), *prior.shape)) for x in (known, asked))
    x_known, x_asked = (
        ((np.where(np.isfinite(x), x, median) - median) / spread).reshape(-1, 1) for x in (known, asked)
    )
    curve = LogisticRegression().fit(x_known, y)
    if not prior.shape:
        return tuple(curve.predict_proba(x)[:, 1] for x in (x_known, x_asked))
    found = []
    for x in (x_known, x_asked):
        scores = np.zeros((len(x), len(prior)))
        scores[:, curve.classes_] = curve.predict_proba(x)
        found.append(scores)
    return tuple(found)


def _by_shares(
    known: pa.ChunkedArray, asked: pa.ChunkedArray, *, y: npt.NDArray[Any], prior: FloatArray
) -> tuple[FloatArray, ...]:
    """
    Shares of the classes among the fitted rows with the same value (the last class, say), drawn a little to the shares
    of all rows.
    """
    known_values, asked_values = known.to_pylist(), asked.to_pylist()
    counts: dict[Any, FloatArray] = {}
    for value, code in zip(known_values, y, strict=True):
        counts.setdefault(value, prior.copy())[code] += 1
    shares = {value: count / count.sum() for value, count in counts.items()}
    return tuple(np.stack([shares.get(value, prior) for value in values]) for values in (known_values, asked_values))


def _worth(scoring: Scoring, y: npt.NDArray[Any], predicted: FloatArray, *, metric: str) -> float:
    rows = scoring.rows(y, predicted)
    value = float(gain(metric, rows.weighted(np.ones((1, rows.n_rows)), [metric])[metric][0], 0.0))
    return value if np.isfinite(value) else -np.inf
