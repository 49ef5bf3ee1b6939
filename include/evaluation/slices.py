"""Rows cut by the value of a column, and scores of each part."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.errors import DataError
from include.evaluation.bootstrap import Interval, MetricTable
from include.evaluation.metrics import Scored, ScoredRows
from include.workflow.tasks import METRICS_OF_TASK

MIN_SLICE_ROWS = 30  # fewer rows give a value, but no interval
MAX_SLICE_VALUES = 20  # of one column; the rarer ones are one slice together, so that the cost stays bounded
OTHER, MISSING = "(other)", "(missing)"


@dataclass(frozen=True, kw_only=True)
class SliceReport:
    """Scores on the rows where `column` is `value`; `n_positives` of two classes only."""

    column: str
    value: str
    n_rows: int
    n_positives: int | None
    metrics: MetricTable


def split_by_slices(slices: Mapping[str, Any], *, n_rows: int) -> Iterator[tuple[str, str, npt.NDArray[np.bool_]]]:
    """
    Yield column, value and the mask of its rows, the most frequent values first.

    Raises
    ------
    DataError
        If a column has not one value for each row.

    """
    for column, values in slices.items():
        labels = np.array([_label(v) for v in values], dtype=object)
        if len(labels) != n_rows:
            raise DataError(
                f"slice column {column!r} has {len(labels)} values for {n_rows} rows: give one for each row"
            )
        names, counts = np.unique(labels.astype(str), return_counts=True)
        ranked = [str(name) for name in names[np.argsort(-counts, kind="stable")]]
        kept = ranked if len(ranked) <= MAX_SLICE_VALUES else ranked[:MAX_SLICE_VALUES]
        for name in kept:
            yield column, name, labels == name
        if len(kept) < len(ranked):
            yield column, OTHER, ~np.isin(labels.astype(str), kept)


def count_positives(rows: Scored) -> int | None:
    """How many rows are positive; None where there are not two classes."""
    return rows.n_positives if isinstance(rows, ScoredRows) else None


def points_only(rows: Scored) -> MetricTable:
    """Every metric without an interval, for few rows."""
    metrics = METRICS_OF_TASK[rows.task]
    points = rows.weighted(np.ones((1, rows.n_rows)), metrics)
    few = f"{rows.n_rows} rows: fewer than {MIN_SLICE_ROWS} give no interval"
    return {
        name: Interval(value=float(points[name][0]), low=np.nan, high=np.nan, reason=rows.why_undefined(name) or few)
        for name in metrics
    }


def _label(value: Any) -> str:
    # None, NaN, NaT and pandas' NA all mean that the value is missing; NA refuses to be a bool, so compare by text.
    return MISSING if value is None or str(value) in {"nan", "NaT", "<NA>"} else str(value)
