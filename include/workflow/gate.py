"""The gate's part of a declaration: what a candidate must prove before it ships."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, model_validator

from include.workflow.durations import Duration
from include.workflow.part import Part
from include.workflow.source import Identifier
from include.workflow.tasks import Metric

Rule = Literal["better", "not_worse"]


class Paired(Part):
    """
    The paired test of candidate against champion, on the same rows.

    `alpha` is for both directions together: of two equally good models one is called better or worse at most so often.
    """

    # Below a ten-thousandth the bootstrap would need more resamples than anybody waits for.
    alpha: float = Field(default=0.05, ge=0.0001, lt=0.5)
    tolerance: float = Field(
        default=0.005,
        ge=0,
        lt=1,
        description="loss of a metric that still counts as 'not worse'; of mae, rmse and pinball, as a share of the "
        "champion's",
    )
    rule: Rule = Field(
        default="better",
        description="'better' promotes what is proven better; 'not_worse' also what is proven to lose less than the "
        "tolerance",
    )
    block: Duration | None = Field(
        default=None,
        description="rows this close in time depend on each other, and are drawn together; without it a day for "
        "forecasting, else none",
    )


class Fairness(Part):
    """How far apart groups of rows may lie in a metric."""

    groups: tuple[str, ...] = Field(min_length=1, description="columns of the accepted rows; each value is a group")
    metric: Metric = "recall"
    max_gap: float = Field(
        default=0.1, gt=0, description="between the best and the worst group of a column, in units of the metric"
    )


class Gate(Part):
    """What a candidate must prove before it ships."""

    minimum: dict[Metric, float] = Field(
        default_factory=dict, description="what each metric must reach: at most, where lower is better"
    )
    naive: str | None = Field(
        default=None,
        pattern=Identifier,
        description="column that forecasts by itself (the last value, or that of one season ago): the candidate has "
        "to beat it; without "
        "one, or where it is the stronger, a constant: the share of each class, the mean, the median",
    )
    metrics: tuple[Metric, ...] = Field(
        default=(), description="what the champion is challenged in; by default the search's metric"
    )
    slices: tuple[str, ...] = ()
    against_champion: Paired = Field(default_factory=lambda: Paired())
    minimum_rows: int = Field(default=200, ge=20, description="fewer test rows hold the candidate back")
    max_calibration_error: float | None = Field(
        default=None, gt=0, lt=1, description="expected calibration error, of classifiers"
    )
    fairness: Fairness | None = None
    max_latency_ms: float | None = Field(default=None, gt=0)
    max_size_mb: float | None = Field(default=None, gt=0)
    approval: Duration | None = Field(
        default=timedelta(days=1),
        description="how long a person may think about a candidate that is held; None: nobody is asked",
    )
    approvers: tuple[str, ...] = Field(
        default=(), description="ids of the Airflow users who may approve; without any, whoever may answer for the Dag"
    )

    @model_validator(mode="after")
    def _check_metrics(self) -> Gate:
        if len(set(self.metrics)) < len(self.metrics):
            raise ValueError(f"metrics={self.metrics!r} names one twice: each is a test of its own, name it once")
        return self
