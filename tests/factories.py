"""
Small real things that many tests need: a declared workflow in a folder of its own, and rows with a
learnable truth.
"""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from include.workflow import DatabaseSource, Features, Gate, Partition, Search, Target, Training, Workflow

START = datetime(2026, 1, 5, tzinfo=UTC)  # a Monday

QUERY = """\
-- one row is one parcel; the bounds are bound as parameters
SELECT parcel_id, sent_at, recorded_at, depot, distance_km, weight_kg, is_late
FROM parcels
WHERE sent_at >= :partition_start AND sent_at < :partition_end
ORDER BY sent_at, parcel_id
"""

SUITE: dict[str, Any] = {
    "name": "parcels",
    "expectations": [
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 5}},
        {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "is_late"}},
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "distance_km", "min_value": 0, "max_value": 5000},
        },
        {
            "type": "expect_column_values_to_be_in_set",
            "kwargs": {"column": "depot", "value_set": ["north", "south", "east"]},
        },
    ],
    "meta": {},
}

FEATURES = '''\
"""Features of a parcel: pure functions of one row."""

from collections.abc import Mapping
from typing import Any


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row in, one mapping of features out."""
    return {
        "depot": row["depot"],
        "distance_km": row["distance_km"],
        "weight_kg": row["weight_kg"],
        "hour": row["sent_at"].hour,
        "is_heavy": row["weight_kg"] is not None and row["weight_kg"] > 20,
    }
'''


def declare_workflow(folder: Path, *, suite: dict[str, Any] | None = None, **changes: Any) -> Workflow:
    """Write the files of a small workflow ("parcels") into `folder` and declare it; `changes` replace its parts."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "extract.sql").write_text(QUERY, encoding="utf-8")
    (folder / "expectations.json").write_text(json.dumps(SUITE if suite is None else suite), encoding="utf-8")
    (folder / "features.py").write_text(FEATURES, encoding="utf-8")
    parts: dict[str, Any] = {
        "name": "parcels",
        "description": "Which parcels will arrive late?",
        "source": DatabaseSource(
            conn_id="parcels_db",
            query="extract.sql",
            event_time="sent_at",
            known_time="recorded_at",
            key=("parcel_id",),
        ),
        "partition": Partition(every="day", start=date(2026, 1, 5)),
        "target": Target(column="is_late"),
        "features": Features(builder="features.build"),
        "training": Training(
            every="week",
            window="2 weeks",
            test="1 week",
            validation="3 days",
            minimum_rows=100,
            search=Search(metric="average_precision", budget_seconds=5, workers=2),
        ),
        "gate": Gate(minimum={"roc_auc": 0.6}, slices=("depot",), minimum_rows=50),
        "folder": folder,
    }
    return Workflow(**{**parts, **changes})


def parcel_rows(*, day: datetime = START, n_rows: int = 200, seed: int = 0) -> pa.Table:
    """
    One day of the source: rows whose lateness depends on depot, distance and hour (Bayes AUC about 0.8),
    all valid.
    """
    rng = np.random.default_rng([seed, int(day.timestamp())])
    seconds = np.sort(rng.integers(0, 86_400, n_rows))
    sent_at = [day + timedelta(seconds=int(s)) for s in seconds]
    depot = rng.choice(["north", "south", "east"], n_rows, p=[0.5, 0.3, 0.2])
    distance_km = rng.gamma(2.0, 150.0, n_rows).round(1)
    weight_kg = rng.gamma(2.0, 6.0, n_rows).round(2)
    logit = -2.2 + 0.004 * distance_km + 1.2 * (depot == "east") + 0.06 * (seconds / 3600 - 12)
    is_late = rng.random(n_rows) < 1 / (1 + np.exp(-logit))
    weights: list[float | None] = [
        None if missing else float(w) for w, missing in zip(weight_kg, rng.random(n_rows) < 0.05, strict=True)
    ]
    return pa.table(
        {
            "parcel_id": pa.array([int(day.timestamp()) * 1000 + i for i in range(n_rows)], pa.int64()),
            "sent_at": pa.array(sent_at, pa.timestamp("us", tz="UTC")),
            "recorded_at": pa.array([t + timedelta(hours=1) for t in sent_at], pa.timestamp("us", tz="UTC")),
            "depot": pa.array(depot.tolist(), pa.string()),
            "distance_km": pa.array(distance_km, pa.float64()),
            "weight_kg": pa.array(weights, pa.float64()),
            "is_late": pa.array(is_late.tolist(), pa.bool_()),
        }
    )


def days(n_days: int, *, start: datetime = START) -> list[datetime]:
    """Consecutive days from `start` on."""
    return [start + timedelta(days=i) for i in range(n_days)]
