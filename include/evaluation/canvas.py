"""
The paper that figures are drawn on, as PNG bytes.

matplotlib's object API with the Agg canvas: no display, and none of pyplot's state, which threads and forks would
share.
"""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont, get_font

from include.evaluation.canvas_colours import BLUE, GREY, ORANGE

__all__ = ["BLUE", "COLOURS", "GREY", "ORANGE", "draw_line", "label_lines", "new_figure", "shorten", "to_png"]

COLOURS = (BLUE, ORANGE, "#2f8f5b", "#7a4fa3", GREY)
_ROW_INCHES = 0.27


def new_figure(
    title: str, *, x: str, y: str = "", n_lines: int | None = None, width: float = 6.0, height: float = 4.6
) -> tuple[Figure, Axes]:
    """Begin a figure. Sizes are in inches; lines by name are drawn on a figure as high as they need."""
    size = (width, height) if n_lines is None else (7.6, 1.5 + _ROW_INCHES * n_lines)
    figure = Figure(figsize=size, dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    figure.suptitle(title, fontsize=12, fontweight="bold")
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#e6e8eb", lw=0.8)
    axes.set_axisbelow(True)
    return figure, axes


def draw_line(axes: Axes, position: int, bounds: tuple[float, float, float], *, color: str) -> None:
    """Draw value and interval on the line of `position`; a value without an interval is hollow."""
    value, low, high = bounds
    if np.isfinite(value):
        axes.plot(
            [value], [position], marker="o", ms=5, color=color, ls="", fillstyle="full" if np.isfinite(low) else "none"
        )
    if np.isfinite(low):
        axes.hlines(position, low, high, color=color, lw=1.6)


def label_lines(axes: Axes, labels: Sequence[str]) -> None:
    """Name the lines, the first on top."""
    axes.set_yticks(range(len(labels)), [shorten(label) for label in labels], fontsize=9)
    axes.set_ylim(len(labels) - 0.5, -0.5)


def shorten(label: str) -> str:
    """
    One line of at most 60 characters. What the font cannot draw becomes a box (the card's table has the
    text itself).
    """
    known = get_font(findfont(FontProperties())).get_charmap()
    line = "".join(c if ord(c) in known else "□" for c in " ".join(label.split()))
    line = line if len(line) <= 60 else f"{line[:38]}…{line[-21:]}"
    return line.replace("$", r"\$")  # a dollar sign would start a formula


def to_png(figure: Figure) -> bytes:
    """The same drawing gives the same bytes."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return buffer.getvalue()
