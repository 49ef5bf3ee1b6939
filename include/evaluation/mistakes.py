"""
In which way a model is wrong: counts of confused classes, the spread of its errors, and the rows where it is most
wrong.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.evaluation.metrics import FloatArray
from include.evaluation.multiclass import with_unknown
from include.workflow.tasks import Task

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
_MAX_CLASSES = 20  # shown one by one: of more, the rarer ones are left out of the matrix
_EPS = float(np.finfo(np.float64).tiny)


@dataclass(frozen=True, kw_only=True)
class ConfusionCounts:
    """Counts at one threshold: a row with at least that score is predicted positive."""

    threshold: float
    true_positives: int
    false_positives: int
    false_negatives: int
    true_negatives: int


@dataclass(frozen=True, kw_only=True)
class ConfusionMatrix:
    """
    How many rows of each class (`counts[i]`) were predicted as each (`counts[i][j]`), the most frequent
    classes first.
    """

    classes: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    n_left_out: int  # rows of, or predicted as, a class that is not shown


@dataclass(frozen=True, kw_only=True)
class ResidualSummary:
    """
    Errors (true less predicted), in the target's unit: their mean, with a 95 % interval, and quantiles
    at `QUANTILES`.
    """

    mean: float
    mean_low: float
    mean_high: float
    quantiles: tuple[float, ...]


def confuse(y_true: FloatArray, y_score: FloatArray, *, threshold: float) -> ConfusionCounts:
    """Count hits and misses of a binary classifier. Arrays of shape (n_rows,)."""
    predicted, actual = y_score >= threshold, y_true > 0
    return ConfusionCounts(
        threshold=threshold,
        true_positives=int((predicted & actual).sum()),
        false_positives=int((predicted & ~actual).sum()),
        false_negatives=int((~predicted & actual).sum()),
        true_negatives=int((~predicted & ~actual).sum()),
    )


def confuse_classes(
    y_true: npt.NDArray[np.intp], probabilities: FloatArray, *, classes: Sequence[str]
) -> ConfusionMatrix:
    """Count which class was taken for which. Shapes (n_rows,) and (n_rows, n_classes)."""
    predicted = probabilities.argmax(axis=1)
    n_classes = len(classes)
    counts = np.bincount(y_true * n_classes + predicted, minlength=n_classes**2).reshape(n_classes, n_classes)
    shown = np.argsort(-counts.sum(axis=1), kind="stable")[:_MAX_CLASSES]
    kept = counts[np.ix_(shown, shown)]
    return ConfusionMatrix(
        classes=tuple(classes[code] for code in shown),
        counts=tuple(tuple(int(n) for n in row) for row in kept),
        n_left_out=int(counts.sum() - kept.sum()),
    )


def summarise_residuals(y_true: FloatArray, y_pred: FloatArray) -> ResidualSummary:
    """Sum the errors of a forecast up. Arrays of shape (n_rows,)."""
    error = y_true - y_pred
    half = 1.959964 * float(error.std(ddof=1)) / np.sqrt(len(error)) if len(error) > 1 else 0.0
    mean = float(error.mean())
    quantiles = tuple(float(value) for value in np.quantile(error, QUANTILES))
    return ResidualSummary(mean=mean, mean_low=mean - half, mean_high=mean + half, quantiles=quantiles)


def worst_rows(task: Task, y_true: FloatArray, y_pred: FloatArray, *, n: int) -> npt.NDArray[np.intp]:
    """
    Find the rows where a model is most wrong, the worst first: the least probability given to the truth, or the
    greatest error.
    """
    if task == "classification":
        loss = -np.log(np.maximum(np.where(y_true > 0, y_pred, 1 - y_pred), _EPS))
    elif task == "multiclass":
        codes, probabilities = with_unknown(y_true.astype(np.intp), y_pred)
        loss = -np.log(np.maximum(probabilities[np.arange(len(codes)), codes], _EPS))
    else:
        loss = np.abs(y_true - y_pred)
    return np.argsort(-loss, kind="stable")[:n]
