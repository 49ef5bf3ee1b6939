"""Figures of a search: each trial's score, the best so far, and what a better score has cost."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogLocator, NullLocator

from include.evaluation.canvas import BLUE, COLOURS, GREY, ORANGE, new_figure, shorten, to_png
from include.evaluation.titles import TITLES
from include.workflow.tasks import LOWER_IS_BETTER

_MIN_TRIALS = 2  # fewer make no picture


def draw_study(leaderboard: Sequence[Mapping[str, Any]], metric: str) -> dict[str, bytes]:
    """
    Draw a search.

    Parameters
    ----------
    leaderboard : sequence of mappings
        Trials with at least `number`, `family`, `score` and `cpu_seconds`; those without a finite score are left out.
    metric : str
        What the score is.

    Returns
    -------
    dict of str to bytes
        `search.png`, or nothing of fewer than two trials with a score.

    """
    trials = sorted((t for t in leaderboard if _is_number(t.get("score"))), key=lambda t: int(t.get("number") or 0))
    if len(trials) < _MIN_TRIALS:
        return {}
    title = TITLES.get(metric, metric)
    figure, first = new_figure("The search", x="", width=10.0, height=4.2)
    first.remove()
    over_trials, against_cost = figure.subplots(1, 2, sharey=True)
    for axes in (over_trials, against_cost):
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#e6e8eb", lw=0.8)
    _draw_history(over_trials, trials, metric)
    _draw_cost(against_cost, trials)
    over_trials.set_ylabel(f"{title} on validation rows")
    return {"search.png": to_png(figure)}


def best_so_far(scores: Sequence[float], metric: str) -> list[float]:
    """Best score up to each trial."""
    best = np.minimum.accumulate(scores) if metric in LOWER_IS_BETTER else np.maximum.accumulate(scores)
    return [float(value) for value in best]


def _draw_history(axes: Axes, trials: Sequence[Mapping[str, Any]], metric: str) -> None:
    scores = [float(t["score"]) for t in trials]
    numbers = range(1, len(trials) + 1)
    axes.step(numbers, best_so_far(scores, metric), where="post", color=ORANGE, lw=1.4, label="Best so far")
    axes.plot(numbers, scores, ls="", marker="o", ms=5, color=BLUE, label="A trial")
    axes.set_xlabel("Trial, in the order of the search")
    axes.legend(frameon=False, fontsize=8)


def _draw_cost(axes: Axes, trials: Sequence[Mapping[str, Any]]) -> None:
    families = list(dict.fromkeys(str(t.get("family", "?")) for t in trials))
    for index, family in enumerate(families):
        own = [t for t in trials if str(t.get("family", "?")) == family and _is_number(t.get("cpu_seconds"))]
        colour = COLOURS[index] if index < len(COLOURS) else GREY
        axes.plot(
            [max(float(t["cpu_seconds"]), 1e-3) for t in own],
            [float(t["score"]) for t in own],
            ls="",
            marker="o",
            ms=5,
            color=colour,
            label=shorten(family),
        )
    axes.set_xscale("log")
    # Within a decade or two the usual marks are either none, or written over each other.
    low, high = axes.get_xlim()
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 300 * low else (1,)))
    axes.xaxis.set_major_formatter(lambda seconds, _: f"{seconds:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("CPU seconds of the trial")
    axes.legend(frameon=False, fontsize=8)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
