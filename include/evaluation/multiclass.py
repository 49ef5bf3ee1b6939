"""
Rows of a classifier of several classes.

Macro averages are scikit-learn's: the mean over the classes that occur, as truth or as prediction, with 0 where there
is nothing to divide by. The area under ROC is one class against the rest, averaged over the classes that occur among
the truths, and not all of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_matrix

from include.errors import DataError
from include.evaluation.scored import (
    EPS,
    FloatArray,
    as_floats,
    ends_of_runs,
    rank_auc,
    ratio,
    require_known,
    require_probabilities,
    require_rows,
)
from include.workflow.tasks import Task

NEEDS_TWO_CLASSES = frozenset({"macro_precision", "macro_recall", "macro_f1", "macro_roc_auc"})
_SUM_TOLERANCE = 1e-6  # of a row's probabilities: the rounding of single precision
_MIN_CLASSES = 2
UNKNOWN = -1  # code of a row whose class the model does not know


@dataclass(frozen=True, kw_only=True)
class MulticlassRows:
    """
    Codes of classes and probabilities of n rows, checked.

    `classes` (n, 3 k), sparse: which class is true, predicted, and both; `terms` (n, 3) are what is summed: log loss,
    squared error, hit.
    """

    y: npt.NDArray[np.intp]
    probabilities: FloatArray
    predicted: npt.NDArray[np.intp]
    classes: Any
    terms: FloatArray
    task: Task = field(default="multiclass", init=False)

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.y)

    @property
    def n_classes(self) -> int:
        """How many classes the model knows; some of them may not occur."""
        return int(self.probabilities.shape[1])

    def weighted(self, weights: FloatArray, metrics: Sequence[str]) -> dict[str, FloatArray]:
        """
        Score under each row of weights (see `Scored`): nan where a resample has one class only and the metric needs
        two.
        """
        require_known(metrics, self.task)
        n = weights.sum(axis=1)
        log_loss, squared, hits = (weights @ self.terms).T
        values = {"log_loss": log_loss / n, "brier": squared / n, "accuracy": hits / n}
        if NEEDS_TWO_CLASSES & set(metrics):
            # The product is computed the other way round: only then does SciPy leave the weights dense.
            true, predicted, both = np.split(np.asarray((self.classes.T @ weights.T).T), 3, axis=1)
            has_two = (true > 0).sum(axis=1) >= _MIN_CLASSES
            occurs = (true > 0) | (predicted > 0)
            by_class = {
                "macro_precision": ratio(both, predicted),
                "macro_recall": ratio(both, true),
                "macro_f1": ratio(2 * both, true + predicted),
            }
            values |= {
                name: np.where(has_two, found.sum(axis=1) / occurs.sum(axis=1), np.nan)
                for name, found in by_class.items()
            }
            if "macro_roc_auc" in metrics:
                values["macro_roc_auc"] = np.where(has_two, self._macro_auc(weights, true), np.nan)
        return {name: values[name] for name in metrics}

    def why_undefined(self, metric: str) -> str:
        """Say why a metric has no value on these rows; empty if it has one."""
        if metric in NEEDS_TWO_CLASSES and len(np.unique(self.y)) < _MIN_CLASSES:
            return f"all {self.n_rows} rows are of one class: {metric} needs at least two"
        return ""

    def _macro_auc(self, weights: FloatArray, true: FloatArray) -> FloatArray:
        total, n_judged = np.zeros(len(weights)), np.zeros(len(weights))
        for code in np.unique(self.y):
            order = np.argsort(-self.probabilities[:, code], kind="stable")
            is_class = (self.y[order] == code).astype(np.float64)
            total += rank_auc(is_class, weights[:, order], ends_of_runs(self.probabilities[order, code]))
            n_judged += true[:, code] > 0
        return ratio(total, n_judged)


def check_multiclass(y_true: Any, probabilities: Any) -> MulticlassRows:
    """
    Check codes and probabilities and make them ready to be scored.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        Codes of classes: 0 to n_classes - 1; -1 for a class that the model does not know, and so gives no probability.
    probabilities : array-like of shape (n_rows, n_classes)
        Each row sums to 1. The class of the highest one is predicted; of equal ones, the first.

    Raises
    ------
    DataError
        If there are no rows, fewer than two classes, codes without a column, or rows that are no probabilities.

    """
    p = check_class_probabilities(probabilities)
    y = check_codes(y_true, n_classes=p.shape[1])
    require_rows(len(y), len(p), what="rows of probabilities")
    y, p = with_unknown(y, p)
    predicted, index = p.argmax(axis=1), np.arange(len(y))
    is_true = np.zeros_like(p)
    is_true[index, y] = 1
    hit = y == predicted
    terms = np.stack([-np.log(np.clip(p[index, y], EPS, 1 - EPS)), ((p - is_true) ** 2).sum(axis=1), hit], axis=1)
    return MulticlassRows(
        y=y, probabilities=p, predicted=predicted, classes=_one_hot(y, predicted, n_classes=p.shape[1]), terms=terms
    )


def check_codes(y_true: Any, *, n_classes: int) -> npt.NDArray[np.intp]:
    """Codes of classes as integers, -1 for one that the model does not know; DataError for anything else."""
    y = as_floats(y_true, name="y_true")
    if not ((y >= UNKNOWN) & (y < n_classes) & (y == np.floor(y))).all():
        raise DataError(
            f"y_true holds something other than the codes 0 to {n_classes - 1} of the {n_classes} classes with a "
            "probability"
        )
    return y.astype(np.intp)


def with_unknown(y: npt.NDArray[np.intp], probabilities: FloatArray) -> tuple[npt.NDArray[np.intp], FloatArray]:
    """
    Make one more class of the rows whose class the model does not know: it gave it no probability, and
    is wrong there.
    """
    if not (y == UNKNOWN).any():
        return y, probabilities
    return np.where(y == UNKNOWN, probabilities.shape[1], y), np.column_stack([probabilities, np.zeros(len(y))])


def align_classes(probabilities: FloatArray, *, own: Sequence[Any], judged: Sequence[Any]) -> FloatArray:
    """
    Bring a model's probabilities into the order of other classes, so that two models can be judged by the same codes.

    Parameters
    ----------
    probabilities : ndarray of shape (n_rows, n_own)
        In the order of `own`.
    own : sequence
        The model's classes.
    judged : sequence
        Classes to judge by: the model's among them, in any order. One that it does not know has no probability.

    Returns
    -------
    ndarray of shape (n_rows, n_judged)

    Raises
    ------
    DataError
        If a class of the model is not among those to judge by: its probability would be lost.

    """
    places = {value: place for place, value in enumerate(judged)}
    missing = [value for value in own if value not in places]
    if missing:
        raise DataError(
            f"class {missing[0]!r} of the model is not among the {len(places)} classes to judge by: add it to them"
        )
    aligned = np.zeros((len(probabilities), len(places)))
    aligned[:, [places[value] for value in own]] = probabilities
    return aligned


def check_class_probabilities(probabilities: Any, *, name: str = "y_score") -> FloatArray:
    """
    Probabilities of shape (n_rows, n_classes); DataError if one is missing, not finite, outside [0, 1], or a row does
    not sum to 1.
    """
    p = as_floats(probabilities, name=name, n_dimensions=2)
    if p.shape[1] < _MIN_CLASSES:
        raise DataError(f"{name} has shape {p.shape}: give one probability for each of at least two classes")
    require_probabilities(p, name=name)
    n_wrong = int((np.abs(p.sum(axis=1) - 1) > _SUM_TOLERANCE).sum())
    if n_wrong:
        raise DataError(f"{name}: the probabilities of {n_wrong} of {len(p)} rows do not sum to 1: normalise them")
    return p


def _one_hot(y: npt.NDArray[np.intp], predicted: npt.NDArray[np.intp], *, n_classes: int) -> Any:
    hit = y == predicted
    rows = np.concatenate([np.arange(len(y)), np.arange(len(y)), np.flatnonzero(hit)])
    columns = np.concatenate([y, predicted + n_classes, y[hit] + 2 * n_classes])
    return csr_matrix((np.ones(len(rows)), (rows, columns)), shape=(len(y), 3 * n_classes))
