"""Figures of what a model answers by, and of the way it is wrong."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes

from include.evaluation.canvas import BLUE, COLOURS, GREY, ORANGE, draw_line, label_lines, new_figure, shorten, to_png
from include.evaluation.explanation import FeatureImportance, PartialDependence
from include.evaluation.metrics import FloatArray
from include.evaluation.mistakes import ConfusionMatrix
from include.evaluation.titles import TITLES

_MAX_IMPORTANT = 20
_MAX_DOTS = 2_000  # of a cloud: more would be one blot


def draw_importance(importance: Sequence[FeatureImportance], metric: str) -> bytes:
    """Draw what each column is worth, the most important on top."""
    shown = importance[:_MAX_IMPORTANT]
    title = f"What {TITLES[metric]} loses when a column is shuffled"
    figure, axes = new_figure(title, x=f"Loss in {TITLES[metric]}, 95 % intervals", n_lines=len(shown))
    for position, item in enumerate(shown):
        draw_line(axes, position, (item.loss.value, item.loss.low, item.loss.high), color=BLUE)
    axes.axvline(0, color=GREY, ls="--", lw=1.2)
    label_lines(axes, [item.column for item in shown])
    return to_png(figure)


def draw_dependence(dependence: Sequence[PartialDependence]) -> bytes:
    """Draw how the mean answer moves with each column, one panel each."""
    figure, first = new_figure(
        "How the mean answer moves with a column", x="", y="Mean answer", width=3.4 * len(dependence) + 0.6
    )
    first.remove()
    panels = figure.subplots(1, len(dependence), squeeze=False)[0]
    for axes, item in zip(panels, dependence, strict=True):
        _draw_panel(axes, item)
    panels[0].set_ylabel("Mean answer")
    return to_png(figure)


def _draw_panel(axes: Axes, item: PartialDependence) -> None:
    answers = np.array(item.answers)
    positions = np.array([float(value) for value in item.grid]) if item.is_number else np.arange(len(item.grid))
    for index, output in enumerate(item.outputs):
        colour = COLOURS[index % len(COLOURS)]
        axes.plot(
            positions,
            answers[:, index],
            color=colour,
            marker="o",
            ms=4,
            lw=1.4 if item.is_number else 0,
            label=shorten(output),
        )
    if not item.is_number:
        axes.set_xticks(positions, [shorten(value)[:18] for value in item.grid], rotation=60, ha="right", fontsize=8)
    axes.set_title(shorten(item.column), fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", lw=0.8)
    if len(item.outputs) > 1:
        axes.legend(frameon=False, fontsize=8)


def draw_confusion(matrix: ConfusionMatrix) -> bytes:
    """Draw which class was taken for which, as shares of each true class, with the counts written in."""
    counts = np.array(matrix.counts, dtype=np.float64)
    n = len(matrix.classes)
    side = 2.2 + 0.45 * max(n, 5)
    figure, axes = new_figure("Which class was taken for which", x="Predicted", y="True", width=side + 0.8, height=side)
    axes.imshow(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1), cmap="Blues", vmin=0, vmax=1, aspect="auto")
    axes.grid(visible=False)
    for row, column in np.ndindex(n, n):
        if counts[row, column]:
            is_dark = counts[row, column] > counts[row].sum() / 2
            axes.text(
                column,
                row,
                f"{int(counts[row, column]):,}",
                ha="center",
                va="center",
                fontsize=7,
                color="white" if is_dark else "black",
            )
    names = [shorten(name)[:24] for name in matrix.classes]
    axes.set_xticks(range(n), names, rotation=60, ha="right", fontsize=8)
    axes.set_yticks(range(n), names, fontsize=8)
    return to_png(figure)


def draw_residuals(y_true: FloatArray, y_pred: FloatArray) -> bytes:
    """Draw each row's error against its prediction, with the middle half and the middle nine tenths of the errors."""
    figure, axes = new_figure("Errors", x="Predicted value", y="Actual less predicted value")
    error = y_true - y_pred
    shown = np.linspace(0, len(error) - 1, min(len(error), _MAX_DOTS)).astype(int)
    axes.plot(
        y_pred[shown],
        error[shown],
        ls="",
        marker=".",
        ms=4,
        color=BLUE,
        alpha=0.4,
        label=f"{len(shown):,} of {len(error):,} rows",
    )
    for outer, alpha, label in ((0.05, 0.10, "Nine rows in ten"), (0.25, 0.18, "Every second row")):
        low, high = np.quantile(error, [outer, 1 - outer])
        axes.axhspan(low, high, color=ORANGE, alpha=alpha, lw=0, label=label)
    axes.axhline(0, color="black", lw=1)
    axes.legend(loc="best", frameon=False, fontsize=8)
    return to_png(figure)
