"""What was measured of a model on held-out rows, as a record that survives JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic import TypeAdapter, ValidationError

from include.errors import DataError
from include.evaluation.bootstrap import Interval, MetricTable
from include.evaluation.calibration import CalibrationBin
from include.evaluation.explanation import ErrorExample, FeatureImportance, PartialDependence
from include.evaluation.mistakes import ConfusionCounts, ConfusionMatrix, ResidualSummary
from include.evaluation.slices import MIN_SLICE_ROWS, SliceReport, split_by_slices
from include.workflow.tasks import Task

__all__ = ["CONFIDENCE", "MIN_SLICE_ROWS", "EvaluationReport", "split_by_slices"]

CONFIDENCE = 0.95
_INTERVAL = {"value", "low", "high", "reason"}


@dataclass(frozen=True, kw_only=True)
class EvaluationReport:
    """
    All that was measured on the test rows. Intervals are percentile bootstrap, 95 %.

    `n_positives` and `confusion` are of two classes, `classes` and `confusion_matrix` of several, `residuals` of
    numbers; `importance` (the most important first), `dependence` and `examples` are empty where the model itself was
    not at hand.
    """

    task: Task
    n_rows: int
    metrics: MetricTable
    slices: tuple[SliceReport, ...]
    calibration: tuple[CalibrationBin, ...]
    n_bootstrap: int
    random_state: int
    block_seconds: float | None = None  # rows this close in time were drawn together
    # of classifiers: how far promised probabilities are from what happened, on average
    calibration_error: Interval | None = None
    n_positives: int | None = None
    classes: tuple[str, ...] = ()
    confusion: ConfusionCounts | None = None
    confusion_matrix: ConfusionMatrix | None = None
    residuals: ResidualSummary | None = None
    importance: tuple[FeatureImportance, ...] = ()
    dependence: tuple[PartialDependence, ...] = ()
    examples: tuple[ErrorExample, ...] = ()

    @property
    def positive_rate(self) -> float | None:
        """Share of positive rows; None where there are not two classes."""
        return None if self.n_positives is None else self.n_positives / self.n_rows

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: a number that is not finite is null, and its interval's `reason` says why."""
        content: dict[str, Any] = _to_json(asdict(self))
        return content

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EvaluationReport:
        """
        Read what `to_dict` wrote; an interval's null becomes nan.

        Raises
        ------
        DataError
            If it is no such record.

        """
        try:
            return TypeAdapter(cls).validate_python(_from_json(content))
        except ValidationError as error:
            where = ".".join(map(str, error.errors()[0]["loc"]))
            raise DataError(f"this is no evaluation report (at {where}): evaluate the version again") from None


def _to_json(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_json(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _from_json(value: Any) -> Any:
    if isinstance(value, Mapping):
        is_interval = set(value) == _INTERVAL
        return {key: math.nan if is_interval and item is None else _from_json(item) for key, item in value.items()}
    return [_from_json(item) for item in value] if isinstance(value, list | tuple) else value
