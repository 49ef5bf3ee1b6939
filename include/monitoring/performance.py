"""Whether a version still does what it did on its test rows, once a window's labels are there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from include.errors import DataError, TrainingError
from include.evaluation.bootstrap import score_with_intervals
from include.evaluation.metrics import LOWER_IS_BETTER
from include.evaluation.resampling import cut_blocks
from include.modeling.labels import labels_of
from include.modeling.model import ModelManifest
from include.registry.scoring import scoring_of
from include.workflow import Decay, Workflow

_RELATIVE = frozenset({"mae", "rmse", "pinball"})  # they have the target's unit: a drop is a share of the reference

Verdict = Literal["ok", "decay", "unknown"]


@dataclass(frozen=True, kw_only=True)
class Performance:
    """
    A window's metric with its 95 % interval, beside its value on the model's test rows. Numbers are None
    where unknown.
    """

    verdict: Verdict
    reason: str
    metric: str
    n_rows: int
    n_labelled: int
    value: float | None = None
    low: float | None = None
    high: float | None = None
    reference: float | None = None

    @property
    def coverage(self) -> float:
        """Share of the window's rows that have a label."""
        return self.n_labelled / self.n_rows if self.n_rows else 0.0


def metric_of(workflow: Workflow, settings: Decay) -> str:
    """Metric that decay is judged by."""
    return settings.metric or workflow.metric


def judge_performance(  # noqa: PLR0913 - truth and answers, and what they are held against
    workflow: Workflow,
    manifest: ModelManifest,
    truth: Sequence[Any],
    scores: npt.NDArray[np.float64],
    *,
    times: Any,
    reference: float | None,
    settings: Decay,
) -> Performance:
    """
    Hold a window's predictions against the model's value on its test rows.

    Decayed is a window whose whole 95 % bootstrap interval is worse than the reference by more than `settings.drop`.

    Parameters
    ----------
    truth : sequence of shape (n_rows,)
        Labels as the target column holds them, None where there is none yet.
    scores : ndarray of shape (n_rows,)
        What was answered.
    times : array-like of datetime64, of shape (n_rows,)
        When.
    reference : float or None
        The metric on the test rows; None where it is not known.

    Returns
    -------
    Performance
        "unknown" below the declared coverage, with too few rows, or where the metric has no value.

    """
    metric = metric_of(workflow, settings)
    known = np.array([value is not None for value in truth], dtype=np.bool_)
    counts = {"metric": metric, "n_rows": len(known), "n_labelled": int(known.sum()), "reference": reference}
    base = Performance(verdict="unknown", reason="", **counts)  # type: ignore[arg-type]  # of mixed types
    wanted = workflow.monitoring.label_coverage
    if base.coverage < wanted:
        return _unknown(
            counts,
            f"{base.n_labelled} of {base.n_rows} predictions have a label, label_coverage={wanted:g} is asked for",
        )
    if base.n_labelled < settings.minimum_rows:
        return _unknown(
            counts, f"{base.n_labelled} labelled rows: decay.minimum_rows={settings.minimum_rows} are needed"
        )
    if reference is None:
        return _unknown(counts, f"{metric} on the model's test rows is not known: evaluate the version again")
    labels = pa.table({workflow.target.column: pa.array([value for value in truth if value is not None])})
    blocks = None if workflow.block is None else cut_blocks(np.asarray(times)[known], workflow.block)
    try:
        y_true = labels_of(workflow, labels, classes=manifest.classes)
        rows = scoring_of(workflow, manifest).rows(y_true, scores[known])
    except (DataError, TrainingError) as error:
        return _unknown(counts, f"the window cannot be scored: {error}")
    seed = workflow.training.random_state
    interval = score_with_intervals(rows, random_state=seed, metrics=[metric], blocks=blocks)[metric]
    if not np.isfinite([interval.value, interval.low, interval.high]).all():
        return _unknown(counts, f"{metric} has no interval here: {interval.reason}")
    bound = _bound(metric, reference, settings.drop)
    is_worse = interval.low > bound if metric in LOWER_IS_BETTER else interval.high < bound
    said = (
        f"{metric} {interval.value:.4g} ({interval.low:.4g} to {interval.high:.4g}) in the window, {reference:.4g} on "
        "the test rows"
    )
    return Performance(
        verdict="decay" if is_worse else "ok",
        reason=f"{said}: "
        + (f"all of the interval beyond {bound:.4g}" if is_worse else f"not surely worse than {bound:.4g}"),
        value=interval.value,
        low=interval.low,
        high=interval.high,
        **counts,  # type: ignore[arg-type]
    )


def _bound(metric: str, reference: float, drop: float) -> float:
    loss = drop * abs(reference) if metric in _RELATIVE else drop
    return reference + loss if metric in LOWER_IS_BETTER else reference - loss


def _unknown(counts: dict[str, Any], reason: str) -> Performance:
    return Performance(verdict="unknown", reason=reason, **counts)
