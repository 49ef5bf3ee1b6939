"""A production in small: a champion with its profile and evaluation, days of requests, and what became of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.fencing import new_token
from include.lake.ledger import PromotionRecord, append_promotion
from include.lake.partitions import replace_partition
from include.lake.records import MonitoringRecord
from include.lake.store import Lake
from include.lake.verdicts import read_verdicts
from include.modeling.model import Model
from include.monitoring.judgement import Judgement, judge_window
from include.monitoring.predictions import PREDICTIONS
from include.registry.store import Registry
from include.workflow import Decay, Drift, Monitoring, Workflow
from tests.factories import START, parcel_rows
from tests.modeling.published import publish, validated

AS_OF = START + timedelta(days=28)  # of the champion: the last four weeks before are published
Change = Callable[[pa.Table], pa.Table]


@dataclass(frozen=True, kw_only=True)
class Production:
    """The parts that a judgement needs."""

    workflow: Workflow
    lake: Lake
    registry: Registry
    model: Model
    version: str

    def declared(self, **changes: Any) -> Production:
        """The same with other monitoring."""
        return replace(
            self, workflow=self.workflow.model_copy(update={"monitoring": Monitoring(**{**MONITORING, **changes})})
        )

    def serve(
        self,
        day: datetime,
        *,
        n_rows: int = 300,
        change: Change | None = None,
        scores: Any = None,
        version: str | None = None,
    ) -> pa.Table:
        """Answer a day's parcels; what was asked."""
        rows = parcel_rows(day=day, n_rows=n_rows, seed=7)
        rows = rows if change is None else change(rows)
        found = self.model.predict(rows) if scores is None else scores
        columns = [column.name for column in self.model.manifest.input_columns]
        inputs = [json.dumps(row, default=str) for row in rows.select(columns).to_pylist()]
        answered = pa.table(
            {
                "request_id": [f"r{day:%m%d}-{i}" for i in range(n_rows)],
                "row_index": pa.array([0] * n_rows, pa.int64()),
                "inputs": inputs,
                "label": pa.array([bool(score >= 0.5) for score in found]),
                "score": pa.array([float(score) for score in found]),
                "model_version": [version or self.version] * n_rows,
                "predicted_at": pa.array(
                    [day + timedelta(seconds=60 * i) for i in range(n_rows)], pa.timestamp("us", tz="UTC")
                ),
            },
            schema=PREDICTIONS,
        )
        replace_partition(
            self.lake, f"{self.workflow.name}/predictions", f"{day:%Y-%m-%d}", answered, token=new_token()
        )
        return rows

    def publish(self, day: datetime, rows: pa.Table, *, share: float = 1.0) -> None:
        """Publish what became of a share of the rows."""
        publish(self.workflow, self.lake, day, validated(rows.slice(0, round(share * rows.num_rows))))

    def judge(self, day: datetime, *, now: datetime | None = None) -> Judgement:
        """Judge a day; by default as soon as it is over."""
        moment = now or day + timedelta(days=1, hours=1)
        return judge_window(self.workflow, f"{day:%Y-%m-%d}", lake=self.lake, registry=self.registry, now=moment)

    def lines(self, subject: str = "inputs") -> list[MonitoringRecord]:
        """The ledger's verdicts."""
        return [line for line in read_verdicts(self.lake, self.workflow.name) if line.subject == subject]


MONITORING: dict[str, Any] = {"drift": Drift(), "decay": Decay(metric="roc_auc", drop=0.05)}


def further(rows: pa.Table) -> pa.Table:
    """Parcels that go twice as far: drift of one feature by far more than a quarter of its spread."""
    return rows.set_column(
        rows.schema.get_field_index("distance_km"), "distance_km", pc.multiply(rows["distance_km"], 2.0)
    )


def promotion(version: str, *, as_of: datetime = AS_OF, epoch: int = 1) -> PromotionRecord:
    """The ledger's line that makes a version the champion."""
    return PromotionRecord(
        workflow="parcels",
        model_version=version,
        previous_version=None,
        as_of=as_of,
        alias="champion",
        target="local",
        action="promote",
        epoch=epoch,
        decided_by="test",
        recorded_at=datetime.now(UTC),
    )


def promote(lake: Lake, version: str, **changes: Any) -> None:
    """Make a version the champion."""
    append_promotion(lake, promotion(version, **changes))


def inverted(model: Model, rows: pa.Table) -> np.ndarray:
    """Answers that are wrong as often as the model's are right."""
    return 1 - model.predict(rows)
