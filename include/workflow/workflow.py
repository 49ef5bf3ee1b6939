"""The declaration of one workflow. Importing it imports pydantic and nothing heavier: Airflow parses it often."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from include.workflow.deployment import Deployment
from include.workflow.durations import Duration, describe_duration
from include.workflow.gate import Gate
from include.workflow.goal import GOAL, Costs
from include.workflow.monitoring import Monitoring
from include.workflow.part import Part
from include.workflow.partitions import Every
from include.workflow.source import FileName, Identifier, Source
from include.workflow.tasks import FAMILIES, METRICS_OF_TASK, Family, Metric, Preference, Task

# Which training periods hold a whole number of partitions that Airflow's roll-up windows can count.
TRAINING_PERIODS: dict[Every, tuple[str, ...]] = {
    "hour": ("day",),
    "day": ("day", "week", "month"),
    "week": ("week",),
    "month": ("month",),
}
RESERVED_COLUMNS = frozenset(
    {"partition_key", "row_id", "event_time", "known_time", "source_position", "source_name", "source_error"}
)


class Partition(Part):
    """How event time is cut: one run works on one partition."""

    every: Every = Field(default="day")
    start: date = Field(description="first day that a backfill may ask for")
    delay: Duration = Field(default=timedelta(hours=2), description="how long after its end a partition is read")


class Quality(Part):
    """What a partition as a whole must keep to, whatever its suite says."""

    max_quarantined: float | None = Field(
        default=0.5, gt=0, le=1, description="share of rows above which nothing is published; None: no limit"
    )
    schema_drift: Literal["evolve", "freeze"] = Field(
        default="evolve", description="'evolve' takes new columns and notes them; 'freeze' stops"
    )
    dropped: tuple[str, ...] = Field(default=(), description="columns that the source no longer has, and rightly so")
    history: Duration = Field(
        default=timedelta(days=28), description="how far back rules on volume and distribution look"
    )


class Target(Part):
    """What to predict."""

    column: str = Field(pattern=Identifier)
    task: Task = "classification"
    positive: bool | int | str = Field(default=True, description="the label that counts as positive")
    above: float | None = Field(
        default=None,
        allow_inf_nan=False,
        description="instead of `positive`, where the column holds numbers: larger ones are positive",
    )
    quantile: float = Field(
        default=0.5, gt=0, lt=1, description="of a regression or a forecast: which one the pinball loss is of"
    )
    goal: str | None = Field(
        default=None,
        pattern=GOAL,
        description="what the threshold is chosen for, on validation rows: recall@precision=0.6, "
        "precision@recall=0.8, f1 or accuracy",
    )
    costs: Costs | None = Field(default=None, description="instead of a goal: what each kind of mistake costs")

    @model_validator(mode="after")
    def _check_above(self) -> Target:
        if self.task != "classification" and (self.above is not None or self.positive is not True):
            raise ValueError(
                f"positive and above say which of two classes to find: task={self.task!r} has none, leave them out"
            )
        if self.task != "classification" and (self.goal or self.costs):
            raise ValueError(
                f"goal and costs choose a threshold between two classes: task={self.task!r} has none, leave them out"
            )
        if self.goal and self.costs:
            raise ValueError(
                f"goal={self.goal!r} and costs both say what to choose the threshold for: give one of them"
            )
        if self.task not in ("regression", "forecasting") and self.quantile != 0.5:
            raise ValueError(
                f"quantile={self.quantile:g} is for values: task={self.task!r} predicts none, leave it out"
            )
        if self.above is not None and self.positive is not True:
            raise ValueError(
                f"above={self.above:g} and positive={self.positive!r} both say what is positive: give one of them"
            )
        return self


class Features(Part):
    """What to predict from. Without a builder the accepted columns are the features, less the excluded ones."""

    builder: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$",
        description="'module.function' in the workflow's folder: one row (a mapping) in, one mapping of features out",
    )
    exclude: tuple[str, ...] = Field(default=(), description="columns not known at prediction time")


class Search(Part):
    """How long and by which metric to look for a model."""

    metric: Metric | None = Field(default=None, description="what to choose by; without it, the task's first")
    budget_seconds: float = Field(default=60, gt=0, le=86_400, description="CPU seconds, shared by the workers")
    max_trials: int | None = Field(
        default=None,
        ge=1,
        description="bound on trials beside the baseline: the same rows and seed then give the same model",
    )
    workers: int = Field(default=2, ge=1, le=64, description="mapped Airflow tasks")
    families: tuple[Family, ...] = Field(default=FAMILIES, min_length=1)
    max_members: int = Field(
        default=3, ge=1, le=16, description="of an ensemble, which is taken where it pays; 1: never"
    )
    prefer: Preference = Field(
        default="quality", description="which of the models that cannot be told from the best one to take"
    )


class Training(Part):
    """When to train, on which rows."""

    every: Literal["day", "week", "month"] = "week"
    window: Duration = Field(default=timedelta(weeks=8), description="rows to fit and to choose on")
    test: Duration = Field(default=timedelta(weeks=1), description="rows to judge on: the last ones before as_of")
    validation: Duration = Field(
        default=timedelta(weeks=1), description="rows to choose on: the last ones of the window"
    )
    split: Literal["time", "random", "grouped"] = Field(
        default="time",
        description="how rows to choose on are set apart: the last ones, or folds at random (each class alike) or by "
        "group",
    )
    groups: str | None = Field(
        default=None, pattern=Identifier, description="column whose rows of one value stay together in a fold"
    )
    folds: int = Field(default=5, ge=2, le=20, description="of a random or grouped split")
    window_minimum: int | None = Field(
        default=None,
        description="partitions of the period that suffice (negative: how many may be missing); without it, all",
    )
    minimum_rows: int = Field(default=500, ge=10, description="fewer rows to fit on refuse the training")
    search: Search = Field(default_factory=lambda: Search())
    random_state: int = Field(default=0, ge=0, lt=2**32)

    @model_validator(mode="after")
    def _check_bounds(self) -> Training:
        if self.validation >= self.window:
            raise ValueError(
                f"validation ({describe_duration(self.validation)}) must be shorter than window "
                f"({describe_duration(self.window)})"
            )
        if (self.split == "grouped") != (self.groups is not None):
            raise ValueError(
                f"split={self.split!r} and groups={self.groups!r}: a grouped split names its column, and no other does"
            )
        if self.window_minimum == 0:
            raise ValueError(
                "window_minimum=0 would train on nothing: give at least 1, or a negative number of missing partitions"
            )
        return self


class Workflow(Part):
    """
    One model's whole life, declared: everything else follows from it.

    `folder` is where the files that the declaration names are found: by default, the folder of the file that calls
    this.
    """

    name: str = Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")
    description: str = Field(min_length=1)
    source: SerializeAsAny[Source]
    partition: Partition = Field(default_factory=lambda: Partition(start=date(2020, 1, 1)))
    expectations: FileName = "expectations.json"
    quality: Quality = Field(default_factory=lambda: Quality())
    target: Target
    features: Features = Field(default_factory=lambda: Features())
    training: Training = Field(default_factory=lambda: Training())
    gate: Gate = Field(default_factory=lambda: Gate())
    deployment: Deployment = Field(default_factory=lambda: Deployment())
    monitoring: Monitoring = Field(default_factory=lambda: Monitoring())
    alerts: tuple[str, ...] = Field(
        default=(), description="Airflow connections through which somebody is told of incidents"
    )
    folder: Path = Field(exclude=True)

    def __init__(self, **values: Any) -> None:
        values.setdefault("folder", Path(sys._getframe(1).f_globals.get("__file__", ".")).resolve().parent)
        super().__init__(**values)

    @field_validator("source", mode="before")
    @classmethod
    def _check_source(cls, source: Any) -> Any:
        if not isinstance(source, Source) or type(source) is Source:
            raise ValueError("a source is declared by its class, for instance DatabaseSource(conn_id=..., query=...)")
        return source

    @model_validator(mode="after")
    def _check_files_and_columns(self) -> Workflow:
        for field, name in {"expectations": self.expectations, **self.source.files}.items():
            if not (self.folder / name).is_file():
                raise ValueError(f"{field}={name!r}: no such file in {self.folder}: create it there")
        if self.features.builder and not (self.folder / f"{self.features.builder.split('.')[0]}.py").is_file():
            raise ValueError(f"features.builder={self.features.builder!r}: no such module in {self.folder}")
        if self.target.column in self.features.exclude:
            raise ValueError(
                f"features.exclude names the target {self.target.column!r}: the target never is a feature, leave it out"
            )
        if self.target.column in RESERVED_COLUMNS:
            raise ValueError(
                f"target.column={self.target.column!r} is a name that Updraft gives itself: rename it in the query"
            )
        periods = TRAINING_PERIODS[self.partition.every]
        if self.training.every not in periods:
            raise ValueError(
                f"training.every={self.training.every!r} does not go with partition.every={self.partition.every!r}: "
                f"choose {' or '.join(periods)}"
            )
        return self

    @model_validator(mode="after")
    def _check_label_key(self) -> Workflow:
        unseen = {
            *self.features.exclude,
            self.target.column,
            *RESERVED_COLUMNS,
            *self.source.pseudonyms,
            *self.source.late_columns,
        }
        hidden = [column for column in self.monitoring.label_key if column in unseen]
        if hidden:
            raise ValueError(
                f"monitoring.label_key names {hidden[0]!r}, which no model reads and so no prediction keeps: name "
                "columns that requests carry as inputs, or hand labels in by request (docs/monitoring.md)"
            )
        return self

    @model_validator(mode="after")
    def _check_metrics(self) -> Workflow:
        task, known = self.target.task, METRICS_OF_TASK[self.target.task]
        decay, gate = self.monitoring.decay, self.gate
        asked = [
            ("training.search.metric", self.training.search.metric),
            ("monitoring.decay.metric", decay.metric if decay else None),
        ]
        asked += [(f"gate.minimum[{metric!r}]", metric) for metric in gate.minimum] + [
            ("gate.metrics", metric) for metric in gate.metrics
        ]
        asked += [("gate.fairness.metric", gate.fairness.metric if gate.fairness else None)]
        for field, metric in asked:
            if metric is not None and metric not in known:
                raise ValueError(
                    f"{field}: {metric!r} is no metric of target.task={task!r}: choose among {', '.join(known)}"
                )
        if gate.max_calibration_error is not None and task not in ("classification", "multiclass"):
            raise ValueError(
                f"gate.max_calibration_error is about probabilities: target.task={task!r} predicts none, leave it out"
            )
        return self

    @property
    def metric(self) -> str:
        """What a model is chosen and judged by."""
        return self.training.search.metric or METRICS_OF_TASK[self.target.task][0]

    @property
    def block(self) -> timedelta | None:
        """How far in time rows depend on each other, as the gate takes it; None: not at all."""
        return self.gate.against_champion.block or (timedelta(days=1) if self.target.task == "forecasting" else None)

    @property
    def expectations_path(self) -> Path:
        """Path of the expectation suite."""
        return self.folder / self.expectations

    @property
    def start(self) -> datetime:
        """First moment of the first partition, UTC."""
        return datetime(self.partition.start.year, self.partition.start.month, self.partition.start.day, tzinfo=UTC)

    @property
    def named_files(self) -> list[tuple[str, bytes]]:
        """Names and bytes of every file that the declaration names, in the order in which they are digested."""
        names = [*self.source.files.values(), self.expectations]
        names += [f"{self.features.builder.split('.')[0]}.py"] if self.features.builder else []
        return [(name, (self.folder / name).read_bytes()) for name in names]

    def digest(self) -> str:
        """SHA-256 of the declaration and of every file that it names."""
        return digest_declaration(self.model_dump(mode="json"), self.named_files)


def digest_declaration(declaration: Mapping[str, Any], files: Iterable[tuple[str, bytes]]) -> str:
    """
    Digest of a declaration that may be an older software's: of its JSON as it is, not as it would be
    written today.
    """
    content = hashlib.sha256(json.dumps(declaration, sort_keys=True).encode())
    for name, data in files:
        content.update(name.encode() + b"\0" + data + b"\0")
    return content.hexdigest()
