"""What is watched in production, and when a new training is asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from pydantic import Field, field_validator

from include.workflow.durations import Duration
from include.workflow.part import Part
from include.workflow.tasks import Metric


class Drift(Part):
    """When a window's inputs, or the answers to them, count as drifted from the rows that the model was trained on."""

    minimum_effect: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="Jensen-Shannon distance, 0 to 1, from which a feature has drifted; more, where the training "
        "rows' own windows "
        "lay further apart. 0.1 is a normal feature's mean moved by a quarter of its spread, 0.2 by half",
    )
    alpha: float = Field(
        default=0.01,
        gt=0,
        le=0.2,
        description="chance of a false alarm in one window, over all features together: guards small windows",
    )
    persistence: int = Field(
        default=3, ge=1, le=100, description="windows in a row that must have drifted before a training is asked for"
    )
    minimum_rows: int = Field(default=50, ge=20, description="served rows; a window with fewer is not judged")


class Decay(Part):
    """When a window's predictions count as worse than the model was on its test rows."""

    metric: Metric | None = Field(default=None, description="without it, the one that the search chose by")
    drop: float = Field(
        default=0.05,
        gt=0,
        lt=1,
        description="loss against the test rows that is borne, in the metric's unit (of mae, rmse and pinball, which "
        "have the target's: "
        "as a share of the value on the test rows); decayed is a window whose 95 % interval lies beyond it",
    )
    persistence: int = Field(
        default=1, ge=1, le=100, description="windows in a row that must have decayed before a training is asked for"
    )
    minimum_rows: int = Field(
        default=50, ge=20, description="served rows with a label; a window with fewer is not judged"
    )


class Monitoring(Part):
    """How production is watched: a window each `every`."""

    every: Literal["hour", "day", "week"] = "day"
    label_delay: Duration = Field(
        default=timedelta(days=1),
        description="how long labels take to arrive: a window's performance is not looked at before",
    )
    label_coverage: float = Field(
        default=0.8,
        gt=0,
        le=1,
        description="share of a window's predictions that need a label before its performance is judged",
    )
    label_key: tuple[str, ...] = Field(
        default=(),
        description="columns that identify a row in a request and among the validated rows alike; without them, the "
        "source's key",
    )
    cool_down: Duration = Field(default=timedelta(days=7), description="at most one training is asked for in this time")
    drift: Drift | None = Field(
        default=None, description="without it, drift is measured by the defaults and asks for nothing"
    )
    decay: Decay | None = Field(default=None, description="without it, performance is not judged")

    @field_validator("label_key")
    @classmethod
    def _check_key(cls, columns: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(columns)) < len(columns):
            raise ValueError("a column is named twice: name each once")
        return columns

    @property
    def asks_for_training(self) -> bool:
        """Whether a verdict may start a training."""
        return self.drift is not None or self.decay is not None
