"""From which score on a row counts as positive: chosen on validation rows, for a declared goal."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from include.errors import DataError
from include.evaluation.binary import ScoredRows, sort_rows
from include.evaluation.scored import FloatArray, ratio
from include.workflow.goal import Costs


@dataclass(frozen=True, kw_only=True)
class ThresholdChoice:
    """
    A threshold, and what it reached on the `n_rows` rows that it was chosen on.

    `is_reached` is False where no threshold keeps the goal's bound: then it is the one that comes closest to it.
    """

    threshold: float
    goal: str
    precision: float
    recall: float
    n_rows: int
    is_reached: bool

    def describe(self) -> str:
        """Tell the choice in a sentence."""
        told = (
            f"precision {self.precision:.3f} and recall {self.recall:.3f} on the {self.n_rows:,} validation rows that "
            "it was chosen on"
        )
        if self.is_reached:
            return f"The threshold {self.threshold:.4g} was chosen for {self.goal}: {told}."
        return f"No threshold reaches {self.goal}; {self.threshold:.4g} comes closest: {told}."


def choose_threshold(y_true: Any, y_score: Any, goal: str | Costs) -> ThresholdChoice:
    """
    Choose the threshold that serves a goal best on these rows: out-of-sample ones, and not those that the model is
    judged on.

    Parameters
    ----------
    y_true : array-like of shape (n_rows,)
        False/True or 0/1, both of them.
    y_score : array-like of shape (n_rows,)
        Probability of the positive class.
    goal : str or Costs
        "recall@precision=0.6": the greatest recall at a precision of at least 0.6; "precision@recall=0.8": the reverse;
        "f1"; "accuracy"; or what each kind of mistake costs: the least sum.

    Returns
    -------
    ThresholdChoice
        Halfway between the lowest score that counts as positive and the next lower one. Of equally good ones, the
        highest.

    Raises
    ------
    DataError
        If labels or scores are unusable, the rows are of one class, or the goal is none.

    """
    rows = sort_rows(y_true, y_score)
    if rows.n_positives in {0, rows.n_rows}:
        raise DataError(f"a threshold cannot be chosen on {rows.n_rows} rows of one class: validate on a longer window")
    hits, alarms = _counts(rows)
    precision, recall = ratio(hits, hits + alarms), hits / rows.n_positives
    value, bound_kept = _worth(goal, hits, alarms, rows=rows, precision=precision, recall=recall)
    is_reached = bool(bound_kept.any())
    # Without a threshold that keeps the bound, the one that comes closest to it.
    best = int(np.argmax(np.where(bound_kept, value, -np.inf) if is_reached else _bounded(goal, precision, recall)))
    scores = np.sort(np.asarray(y_score, dtype=np.float64))[::-1][rows.group_ends]
    return ThresholdChoice(
        threshold=_between(scores, best),
        goal=goal
        if isinstance(goal, str)
        else f"the least cost (false alarm {goal.false_positive:g}, miss {goal.false_negative:g})",
        precision=float(precision[best]),
        recall=float(recall[best]),
        n_rows=rows.n_rows,
        is_reached=is_reached,
    )


def _counts(rows: ScoredRows) -> tuple[FloatArray, FloatArray]:
    """
    Hits and false alarms for each threshold: above all scores first, then at each distinct score, from the highest
    down.
    """
    hits = np.cumsum(rows.y)[rows.group_ends]
    return np.append(0.0, hits), np.append(0.0, rows.group_ends + 1 - hits)


def _worth(
    goal: str | Costs,
    hits: FloatArray,
    alarms: FloatArray,
    *,
    rows: ScoredRows,
    precision: FloatArray,
    recall: FloatArray,
) -> tuple[FloatArray, Any]:
    """Give each threshold's worth, and whether it keeps the goal's bound."""
    always = np.ones(len(hits), dtype=bool)
    if isinstance(goal, Costs):
        return -(goal.false_positive * alarms + goal.false_negative * (rows.n_positives - hits)), always
    if goal == "f1":
        return ratio(2 * hits, hits + alarms + rows.n_positives), always
    if goal == "accuracy":
        return hits - alarms, always
    asked, _, rest = goal.partition("@")
    given, _, bound = rest.partition("=")
    shares = {"precision": precision, "recall": recall}
    try:
        least = float(bound)
    except ValueError:
        least = np.nan
    if {asked, given} != set(shares) or not 0 < least <= 1:
        raise DataError(
            f"goal {goal[:60]!r} is unknown: give recall@precision=0.6, precision@recall=0.8, f1, accuracy or Costs"
        )
    # Nothing found has no precision. A hair of room: 3/5 is not quite 0.6 in every sum.
    return shares[asked] + 1e-9 * shares[given], (shares[given] >= least - 1e-12) & (hits + alarms > 0)


def _bounded(goal: str | Costs, precision: FloatArray, recall: FloatArray) -> FloatArray:
    return precision if isinstance(goal, str) and goal.startswith("recall@") else recall


def _between(scores: FloatArray, index: int) -> float:
    """
    Threshold that lets the first `index` distinct scores pass, halfway to the next; above the highest,
    nothing passes.
    """
    if index == 0:
        return float(np.nextafter(scores[0], np.inf))
    lowest = float(scores[index - 1])
    if index == len(scores):
        return lowest
    middle = (lowest + float(scores[index])) / 2
    return middle if middle > scores[index] else lowest
