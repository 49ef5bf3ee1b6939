"""Measure predictions on held-out rows: by metric, by slice, by what was promised, by the way they are wrong."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from include.evaluation.bootstrap import MetricTable, score_with_intervals
from include.evaluation.calibration import calibrate
from include.evaluation.limits import calibration_error
from include.evaluation.metrics import THRESHOLD, FloatArray, Scored, check_predictions, check_truth, score_rows
from include.evaluation.mistakes import confuse, confuse_classes, summarise_residuals
from include.evaluation.multiclass import with_unknown
from include.evaluation.report import CONFIDENCE, EvaluationReport
from include.evaluation.resampling import Blocks, cut_blocks
from include.evaluation.slices import MIN_SLICE_ROWS, SliceReport, count_positives, points_only, split_by_slices
from include.workflow.tasks import Task

UNKNOWN_NAME = "(a class that it does not know)"


@dataclass(frozen=True, kw_only=True)
class Scoring:
    """
    How one workflow's predictions are scored.

    `quantile` is the pinball loss's, `threshold` the score from which a row counts as predicted positive, `classes` the
    names of several classes, in the order of their codes.
    """

    task: Task = "classification"
    quantile: float = 0.5
    threshold: float = THRESHOLD
    classes: tuple[str, ...] = ()

    def rows(self, y_true: Any, y_pred: Any) -> Scored:
        """Check truth and predictions and make them ready to be scored (raises as `metrics.score_rows`)."""
        return score_rows(self.task, y_true, y_pred, quantile=self.quantile, threshold=self.threshold)


def evaluate(  # noqa: PLR0913 - rows, what they are scored by, and how intervals are drawn
    y_true: Any,
    y_pred: Any,
    *,
    scoring: Scoring,
    slices: Mapping[str, Any],
    random_state: int,
    n_bootstrap: int = 500,
    times: Any = None,
    block: timedelta | None = None,
) -> EvaluationReport:
    """
    Evaluate predictions on held-out rows.

    Parameters
    ----------
    y_true, y_pred : array-like
        Truth and predictions, in the task's form (see `metrics.score_rows`).
    scoring : Scoring
        The task, and what its scores depend on.
    slices : mapping of str to array-like of shape (n_rows,)
        By column: the value of each row. The 20 most frequent values of a column are judged one by one, the others
        together.
    random_state : int
        Seed of the resamples.
    n_bootstrap : int
        Resamples of each interval.
    times : array-like of datetime64, of shape (n_rows,), optional
        When each row's event took place.
    block : timedelta, optional
        Rows this close in time depend on each other: intervals are of whole stretches of time.

    Returns
    -------
    EvaluationReport

    Raises
    ------
    DataError
        If truth or predictions are unusable (see `metrics.score_rows`), or a slice column has another length.

    """
    rows = scoring.rows(y_true, y_pred)
    p = check_predictions(scoring.task, y_pred)
    y = check_truth(scoring.task, y_true, n_classes=p.shape[-1])
    if scoring.task == "multiclass":
        y, p = with_unknown(y, p)

    def blocks_of(mask: npt.NDArray[np.bool_]) -> Blocks | None:
        return None if block is None else cut_blocks(np.asarray(times)[mask], block)

    def intervals(part: Scored, mask: npt.NDArray[np.bool_]) -> MetricTable:
        blocks = blocks_of(mask)
        return score_with_intervals(
            part, random_state=random_state, n_bootstrap=n_bootstrap, confidence=CONFIDENCE, blocks=blocks
        )

    def score_slice(column: str, value: str, mask: npt.NDArray[np.bool_]) -> SliceReport:
        part = scoring.rows(y[mask], p[mask])
        table = points_only(part) if part.n_rows < MIN_SLICE_ROWS else intervals(part, mask)
        return SliceReport(
            column=column, value=value, n_rows=part.n_rows, n_positives=count_positives(part), metrics=table
        )

    everything = np.ones(rows.n_rows, dtype=np.bool_)
    is_classifier = scoring.task in ("classification", "multiclass")
    return EvaluationReport(
        task=scoring.task,
        n_rows=rows.n_rows,
        n_positives=count_positives(rows),
        metrics=intervals(rows, everything),
        slices=tuple(
            score_slice(column, value, mask) for column, value, mask in split_by_slices(slices, n_rows=rows.n_rows)
        ),
        calibration=calibrate(scoring.task, y, p),
        calibration_error=(
            calibration_error(scoring.task, y, p, random_state=random_state, blocks=blocks_of(everything))
            if is_classifier
            else None
        ),
        n_bootstrap=n_bootstrap,
        random_state=random_state,
        block_seconds=None if block is None else block.total_seconds(),
        **_mistakes(scoring, y, p),
    )


def evaluate_classifier(
    y_true: Any, y_score: Any, *, slices: Mapping[str, Any], random_state: int, n_bootstrap: int = 500
) -> EvaluationReport:
    """Evaluate a binary classifier (see `evaluate`): False/True or 0/1, and the probability of the positive class."""
    return evaluate(
        y_true, y_score, scoring=Scoring(), slices=slices, random_state=random_state, n_bootstrap=n_bootstrap
    )


def _mistakes(scoring: Scoring, y: Any, p: FloatArray) -> dict[str, Any]:
    """What one task alone has."""
    if scoring.task == "classification":
        return {"confusion": confuse(y, p, threshold=scoring.threshold)}
    if scoring.task == "multiclass":
        names = class_names(scoring.classes, n_classes=p.shape[1])
        return {"classes": tuple(names), "confusion_matrix": confuse_classes(y, p, classes=names)}
    return {"residuals": summarise_residuals(y, p)}


def class_names(classes: Sequence[str], *, n_classes: int) -> Sequence[str]:
    """
    Names of the classes; their codes, where none were given. One class more is the one that the model
    does not know.
    """
    if len(classes) == n_classes - 1:
        return [*classes, UNKNOWN_NAME]
    return classes if len(classes) == n_classes else [str(code) for code in range(n_classes)]
