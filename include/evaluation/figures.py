"""The figures of a model card, as PNG bytes: of what was measured on the test rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from include.evaluation.canvas import BLUE, GREY, ORANGE, draw_line, label_lines, new_figure, to_png
from include.evaluation.checks import GateEvidence
from include.evaluation.explained_figures import draw_confusion, draw_dependence, draw_importance, draw_residuals
from include.evaluation.metrics import FloatArray, ScoredRows, sort_rows
from include.evaluation.paired import PairedDifference, PairedTest, compare_models
from include.evaluation.report import EvaluationReport
from include.evaluation.resampling import cut_blocks
from include.evaluation.titles import TITLES
from include.workflow.gate import Gate
from include.workflow.tasks import METRICS_OF_TASK

__all__ = ["TITLES", "draw_difference", "draw_figures"]

_MAX_POINTS = 2_000  # of a curve: more would not be seen
_RELATIVE = frozenset({"mae", "rmse", "pinball"})  # their tolerance is a share of the champion's value
_CALIBRATION = {
    "classification": ("Calibration", "Mean predicted probability", "Share that was positive"),
    "multiclass": (
        "Calibration of the predicted class",
        "Mean probability of the predicted class",
        "Share that was right",
    ),
}


def draw_figures(report: EvaluationReport, y_true: Any, y_pred: Any, *, metric: str) -> dict[str, bytes]:
    """
    Draw what was measured.

    Parameters
    ----------
    report : EvaluationReport
        Of these rows.
    y_true, y_pred : array-like
        Truth and predictions, in the task's form (see `metrics.score_rows`).
    metric : str
        The one shown by slice: the search's.

    Returns
    -------
    dict of str to bytes
        PNG by file name: `calibration.png`; `precision_recall.png` and `roc.png` of two classes, `confusion.png` of
        several, `residuals.png` of values; `slices.png`, `importance.png` and `dependence.png` where the report has
        them. A curve that one class alone does not have is left out.

    Raises
    ------
    DataError
        If truth or predictions are unusable.

    """
    figures = {"calibration.png": _draw_calibration(report)}
    if report.task == "classification":
        rows = sort_rows(y_true, y_pred)
        if 0 < rows.n_positives < rows.n_rows:
            figures |= {
                "precision_recall.png": _draw_precision_recall(rows, report),
                "roc.png": _draw_roc(rows, report),
            }
    elif report.confusion_matrix is not None:
        figures["confusion.png"] = draw_confusion(report.confusion_matrix)
    else:
        figures["residuals.png"] = draw_residuals(
            np.asarray(y_true, dtype=np.float64), np.asarray(y_pred, dtype=np.float64)
        )
    if report.slices:
        figures["slices.png"] = _draw_slices(report, metric)
    if report.importance:
        figures["importance.png"] = draw_importance(report.importance, metric)
    if report.dependence:
        figures["dependence.png"] = draw_dependence(report.dependence)
    return figures


def draw_difference(evidence: GateEvidence, gate: Gate) -> dict[str, bytes]:
    """
    Draw by how much the candidate is better than the champion, in every metric, on the rows that neither was trained
    on.

    Returns
    -------
    dict of str to bytes
        `difference.png`, or nothing if there is no champion or no such row.

    Raises
    ------
    DataError
        If the evidence is unusable.

    """
    if evidence.champion is None:
        return {}
    unseen = ~(np.asarray(evidence.seen_by_champion, dtype=bool) | np.asarray(evidence.seen_by_candidate, dtype=bool))
    if not unseen.any():
        return {}
    y, candidate, champion = (np.asarray(v)[unseen] for v in (evidence.y_true, evidence.candidate, evidence.champion))
    paired = gate.against_champion
    blocks = None if evidence.block is None else cut_blocks(np.asarray(evidence.times)[unseen], evidence.block)
    test = PairedTest(
        random_state=evidence.random_state, alpha=paired.alpha / 2, tolerance=paired.tolerance, blocks=blocks
    )
    differences = compare_models(evidence.task, METRICS_OF_TASK[evidence.task], y, (candidate, champion), test=test)
    deciding = gate.metrics or (evidence.metric,)
    return {"difference.png": _draw_differences(list(differences.values()), deciding, tolerance=paired.tolerance)}


def _draw_precision_recall(rows: ScoredRows, report: EvaluationReport) -> bytes:
    figure, axes = new_figure(
        "Precision and recall",
        x="Recall (share of the positives found)",
        y="Precision (share of the found that are positive)",
    )
    hits, seen = _cumulated(rows)
    axes.plot(
        *_thinned(hits / rows.n_positives, hits / seen),
        color=BLUE,
        lw=1.8,
        label=_describe(report, "average_precision"),
    )
    rate = rows.n_positives / rows.n_rows
    axes.axhline(rate, color=GREY, ls="--", lw=1.2, label=f"Chance: {rate:.3f}")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="upper right", frameon=False)
    return to_png(figure)


def _draw_roc(rows: ScoredRows, report: EvaluationReport) -> bytes:
    figure, axes = new_figure("ROC", x="False positive rate", y="True positive rate")
    hits, seen = (np.concatenate([[0.0], counts]) for counts in _cumulated(rows))
    false_rate, true_rate = (seen - hits) / (rows.n_rows - rows.n_positives), hits / rows.n_positives
    axes.plot(*_thinned(false_rate, true_rate), color=BLUE, lw=1.8, label=_describe(report, "roc_auc"))
    axes.plot([0, 1], [0, 1], color=GREY, ls="--", lw=1.2, label="Chance: 0.500")
    axes.set(xlim=(0, 1), ylim=(0, 1.02))
    axes.legend(loc="lower right", frameon=False)
    return to_png(figure)


def _draw_calibration(report: EvaluationReport) -> bytes:
    title, x_title, y_title = _CALIBRATION.get(
        report.task, ("Predicted and actual values", "Mean predicted value", "Mean actual value")
    )
    figure, axes = new_figure(title, x=x_title, y=y_title)
    x, y, low, high = (
        np.array([getattr(b, name) for b in report.calibration])
        for name in ("predicted", "observed", "observed_low", "observed_high")
    )
    low_end, high_end = _square(x, low, high, is_share=report.task in _CALIBRATION)
    axes.plot([low_end, high_end], [low_end, high_end], color=GREY, ls="--", lw=1.2, label="Perfect")
    label = f"{len(x)} bins of equal count, 95 % intervals"
    axes.errorbar(x, y, yerr=[y - low, high - y], color=BLUE, marker="o", ms=5, lw=1.4, capsize=3, label=label)
    axes.set(xlim=(low_end, high_end), ylim=(low_end, high_end))
    axes.legend(loc="upper left", frameon=False)
    return to_png(figure)


def _square(x: FloatArray, low: FloatArray, high: FloatArray, *, is_share: bool) -> tuple[float, float]:
    """Both axes' ends: from 0 for shares, else around the values."""
    bottom, top = float(min(x.min(), low.min())), float(max(x.max(), high.max()))
    if is_share:
        return 0.0, min(1.0, 1.08 * top + 0.01)
    room = 0.05 * (top - bottom) or max(1e-9, 0.05 * abs(top)) or 1.0
    return bottom - room, top + room


def _draw_slices(report: EvaluationReport, metric: str) -> bytes:
    overall = report.metrics[metric]
    figure, axes = new_figure(
        f"{TITLES[metric]} by slice", x=f"{TITLES[metric]}, 95 % intervals", n_lines=len(report.slices)
    )
    for position, item in enumerate(report.slices):
        interval = item.metrics[metric]
        draw_line(axes, position, (interval.value, interval.low, interval.high), color=BLUE)
        if not np.isfinite(interval.value):
            why = "one value only" if metric == "r2" else "one class only"
            axes.text(0.01, position, why, transform=axes.get_yaxis_transform(), va="center", color=GREY, fontsize=8)
    if np.isfinite(overall.low):
        axes.axvline(overall.value, color=ORANGE, ls="--", lw=1.2, label=f"All rows: {overall.value:.3g}")
        axes.axvspan(overall.low, overall.high, color=ORANGE, alpha=0.12, lw=0)
        axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    label_lines(axes, [_slice_label(item.column, item.value, item.n_rows, item.n_positives) for item in report.slices])
    return to_png(figure)


def _slice_label(column: str, value: str, n_rows: int, n_positives: int | None) -> str:
    positives = "" if n_positives is None else f", {n_positives:,} pos."
    return f"{column} = {value}  ({n_rows:,} rows{positives})"


def _draw_differences(differences: Sequence[PairedDifference], deciding: Sequence[str], *, tolerance: float) -> bytes:
    """
    Draw one line a metric. What has the target's unit is shown as a share of the champion's value, as the tolerance is
    meant.
    """
    d = differences[0]
    is_share = any(item.metric in _RELATIVE for item in differences)
    figure, axes = new_figure(
        "Candidate against champion",
        x=f"By how much the candidate is better{', as a share' if is_share else ''} "
        f"({100 * (1 - 2 * d.alpha):.4g} % intervals, {d.n_rows:,} rows)",
        n_lines=len(differences),
    )
    for position, item in enumerate(differences):
        unit = abs(item.value_b) if item.metric in _RELATIVE and item.value_b else 1.0
        bounds = (item.interval.value / unit, item.interval.low / unit, item.interval.high / unit)
        draw_line(axes, position, bounds, color=BLUE if item.metric in deciding else GREY)
    axes.axvline(0, color="black", lw=1)
    axes.axvline(-tolerance, color=ORANGE, ls="--", lw=1.2, label=f"Tolerance: {-tolerance:g}")
    label_lines(axes, [TITLES[item.metric] + (" (decides)" if item.metric in deciding else "") for item in differences])
    axes.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), frameon=False)
    return to_png(figure)


def _describe(report: EvaluationReport, metric: str) -> str:
    i = report.metrics[metric]
    return f"{TITLES[metric]}: {i.value:.3f} ({i.low:.3f} to {i.high:.3f})"


def _cumulated(rows: ScoredRows) -> tuple[FloatArray, FloatArray]:
    """Positives and rows at or above each distinct score, from the highest score down."""
    return np.cumsum(rows.y)[rows.group_ends], np.asarray(rows.group_ends + 1, dtype=np.float64)


def _thinned(x: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray]:
    if len(x) <= _MAX_POINTS:
        return x, y
    # dense where the curve is steep: at the highest scores
    kept = np.unique(np.geomspace(1, len(x), _MAX_POINTS).astype(int) - 1)
    return x[kept], y[kept]
