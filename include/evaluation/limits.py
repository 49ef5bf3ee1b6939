"""
Limits that a candidate must surely keep: the calibration error of its probabilities, and the gap between groups.

Surely above the limit is a REJECT, perhaps above it (the limit lies within the interval) a HOLD.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.evaluation.bootstrap import Interval
from include.evaluation.checks import Check, GateEvidence, failed, not_judged, passed
from include.evaluation.metrics import score_rows
from include.evaluation.paired import is_right
from include.evaluation.report import MIN_SLICE_ROWS, split_by_slices
from include.evaluation.resampling import Blocks, FloatArray, seeded_counts
from include.workflow.gate import Fairness, Gate
from include.workflow.tasks import Task

N_RESAMPLES = 1000
_N_BINS = 10
_MAX_UNDEFINED_SHARE = 0.05
_MIN_CLASS_ROWS = 10  # a group whose three positives were all found has no spread, and proves nothing


@dataclass(frozen=True, kw_only=True)
class GroupGap:
    """
    Greatest difference of a metric between two groups of a column, with an interval that holds for all pairs of groups
    at once.

    `values` are the metric's, by group; `too_small` names groups with too few rows to be compared, and how many they
    have.
    """

    gap: Interval
    values: Mapping[str, float]
    too_small: Mapping[str, int]


def check_limits(evidence: GateEvidence, gate: Gate) -> list[Check]:
    """Check the declared limits; an empty list if there are none."""
    checks = []
    if gate.max_calibration_error is not None:
        checks.append(_check_calibration(evidence, gate.max_calibration_error, alpha=gate.against_champion.alpha))
    if gate.fairness is not None:
        for column in gate.fairness.groups:
            checks += _check_groups(column, evidence, gate.fairness, alpha=gate.against_champion.alpha)
    return checks


def calibration_error(
    task: Task, y_true: Any, predicted: Any, *, random_state: int, alpha: float = 0.05, blocks: Blocks | None = None
) -> Interval:
    """
    Estimate the expected calibration error: how far promised probabilities are from what happened, on average over the
    rows.

    Rows are sorted into ten bins of about equal counts by the promised probability (of the positive class; of several
    classes, of the chosen one); the error is the mean of the bins' gaps. Noise in the bins makes the plain figure too
    large, even that of a perfect model: value and upper bound are corrected by as much as resampling adds to it (the
    basic bootstrap: Davison and Hinkley 1997, chapter 5). The lower bound takes off all that noise in the bins can make
    up (by the triangle inequality), so that no sound model is refused for it.

    Returns
    -------
    Interval
        Of confidence 1 - alpha, >= 0.

    """
    y, p = np.asarray(y_true, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    if task == "multiclass":
        y, p = is_right(task, y, p).astype(np.float64), p.max(axis=1)
    edges = np.unique(np.quantile(p, np.linspace(0, 1, _N_BINS + 1)))
    bins = np.clip(np.searchsorted(edges, p, side="right") - 1, 0, max(len(edges) - 2, 0))
    gaps = np.zeros((len(p), int(bins.max()) + 1))
    gaps[np.arange(len(p)), bins] = y - p
    plain = float(np.abs(gaps.sum(axis=0)).sum() / len(p))
    counts = seeded_counts(len(p), N_RESAMPLES, random_state=random_state, blocks=blocks)
    resampled = np.concatenate([chunk @ gaps / len(p) for chunk in counts])
    errors = np.abs(resampled).sum(axis=1)
    noise = np.quantile(np.abs(resampled - gaps.mean(axis=0)).sum(axis=1), 1 - alpha / 2)
    value, low, high = (
        max(0.0, float(x))
        for x in (2 * plain - errors.mean(), plain - noise, 2 * plain - np.quantile(errors, alpha / 2))
    )
    return Interval(value=value, low=low, high=high)


def group_gap(
    evidence: GateEvidence,
    groups: Mapping[str, npt.NDArray[np.bool_]],
    *,
    metric: str,
    alpha: float,
    blocks: Blocks | None = None,
) -> GroupGap:
    """
    Measure how far the best and the worst group lie apart.

    With each group's error e (resampled less measured value) the range of all errors bounds what any two of them differ
    by, so the gap plus and minus its quantile holds for all pairs at once, however many groups there are (the idea of
    J. W. Tukey's honest significant difference, with resampled errors in place of normal ones).

    Parameters
    ----------
    evidence : GateEvidence
        Rows and the candidate's predictions.
    groups : mapping of str to ndarray of bool, of shape (n_rows,)
        Which rows belong to each group.
    metric : str
        One of the task's.
    alpha : float
        The interval has confidence 1 - alpha.
    blocks : Blocks, optional
        Draw stretches of time.

    Returns
    -------
    GroupGap
        Without a value, and with the reason, where fewer than two groups are large enough.

    """
    y, predicted = np.asarray(evidence.y_true), np.asarray(evidence.candidate)
    large = {name: mask for name, mask in groups.items() if _is_large(evidence.task, y[mask])}
    scored = {name: score_rows(evidence.task, y[mask], predicted[mask]) for name, mask in large.items()}
    values = {
        name: float(rows.weighted(np.ones((1, rows.n_rows)), [metric])[metric][0]) for name, rows in scored.items()
    }
    resampled: dict[str, list[FloatArray]] = {name: [] for name in large}
    for counts in seeded_counts(evidence.n_rows, N_RESAMPLES, random_state=evidence.random_state, blocks=blocks):
        for name, mask in large.items():
            resampled[name].append(_weighted(scored[name], counts[:, mask], metric))
    errors = {name: np.concatenate(chunks) - values[name] for name, chunks in resampled.items()}
    judged = [n for n in large if math.isfinite(values[n]) and np.isnan(errors[n]).mean() <= _MAX_UNDEFINED_SHARE]
    too_small = {name: int(mask.sum()) for name, mask in groups.items() if name not in judged}
    shown = {name: values[name] for name in judged}
    if len(judged) < 2:
        needed = f"{MIN_SLICE_ROWS}, and {_MIN_CLASS_ROWS} of each class"
        reason = f"{len(judged)} of {len(groups)} groups have enough rows ({needed}): a gap needs two"
        return GroupGap(
            gap=Interval(value=np.nan, low=np.nan, high=np.nan, reason=reason), values=shown, too_small=too_small
        )
    table = np.stack([errors[name] for name in judged])
    reach = float(np.quantile(np.nanmax(table, axis=0) - np.nanmin(table, axis=0), 1 - alpha))
    gap = max(shown.values()) - min(shown.values())
    return GroupGap(
        gap=Interval(value=gap, low=max(0.0, gap - reach), high=gap + reach), values=shown, too_small=too_small
    )


def _is_large(task: Task, y: npt.NDArray[Any]) -> bool:
    n_positives = int(y.astype(np.float64).sum()) if task == "classification" else _MIN_CLASS_ROWS
    return len(y) >= MIN_SLICE_ROWS and n_positives >= _MIN_CLASS_ROWS and len(y) - n_positives >= _MIN_CLASS_ROWS


def _weighted(rows: Any, counts: FloatArray, metric: str) -> FloatArray:
    """Score resamples of a group; nan where none of its rows was drawn."""
    drawn = counts.sum(axis=1) > 0
    values = np.full(len(counts), np.nan)
    if drawn.any():
        values[drawn] = rows.weighted(counts[drawn], [metric])[metric]
    return values


def _check_calibration(evidence: GateEvidence, bound: float, *, alpha: float) -> Check:
    error = calibration_error(
        evidence.task,
        evidence.y_true,
        evidence.candidate,
        random_state=evidence.random_state,
        alpha=alpha,
        blocks=evidence.blocks(),
    )
    return _judge_limit("calibration", "the expected calibration error", error, bound=bound, alpha=alpha)


def _check_groups(column: str, evidence: GateEvidence, fairness: Fairness, *, alpha: float) -> list[Check]:
    name, metric = f"fairness by {column}", fairness.metric
    if column not in evidence.slices:
        return [failed(name, "HOLD", f"group column {column!r} is declared in fairness but not in the evidence")]
    groups = {
        value: mask for _, value, mask in split_by_slices({column: evidence.slices[column]}, n_rows=evidence.n_rows)
    }
    found = group_gap(evidence, groups, metric=metric, alpha=alpha, blocks=evidence.blocks())
    small = [
        not_judged(
            f"group {column}={value}",
            f"{column} = {value}: not judged, {n_rows} rows are too few for {metric}",
            observed=float(n_rows),
        )
        for value, n_rows in found.too_small.items()
    ]
    if found.gap.reason:
        return [
            *small,
            failed(
                name,
                "HOLD",
                f"{column}: the gap in {metric} cannot be judged: {found.gap.reason}",
                bound=fairness.max_gap,
            ),
        ]
    low, high = min(found.values, key=found.values.__getitem__), max(found.values, key=found.values.__getitem__)
    what = (
        f"the gap in {metric} between {column} = {low} ({found.values[low]:.4f}) and {high} ({found.values[high]:.4f})"
    )
    check = _judge_limit(name, what, found.gap, bound=fairness.max_gap, alpha=alpha, more=_tell_small(found))
    return [*small, check]


def _tell_small(found: GroupGap) -> str:
    return (
        f"; {len(found.too_small)} of {len(found.too_small) + len(found.values)} groups are too small to judge"
        if found.too_small
        else ""
    )


def _judge_limit(name: str, what: str, interval: Interval, *, bound: float, alpha: float, more: str = "") -> Check:
    facts = {"observed": interval.value, "bound": bound}
    text = (
        f"{what} is {interval.value:.4f} ({100 * (1 - alpha):.4g} % interval {interval.low:.4f} to {interval.high:.4f})"
    )
    if not math.isfinite(interval.value):
        return failed(name, "HOLD", f"{what} has no value{more}", **facts)
    if interval.low > bound:
        return failed(name, "REJECT", f"{text}, surely above the limit of {bound:g}{more}", **facts)
    if not interval.high <= bound:
        return failed(name, "HOLD", f"{text}, perhaps above the limit of {bound:g}{more}", **facts)
    return passed(name, f"{text}, within the limit of {bound:g}{more}", **facts)
