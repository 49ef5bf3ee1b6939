"""Counts of predictions, beside counts taken by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from include.errors import PartitionError
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from include.lake.store import Lake
from include.monitoring.predictions import collect_predictions
from include.workflow import Monitoring, Workflow
from tests.factories import declare_workflow

MONDAY = datetime(2026, 1, 5, tzinfo=UTC)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


def answered(lake: Lake, day: datetime, rows: Sequence[tuple[str, float, float]]) -> None:
    """Write one day's predictions: (version, hour, score) each, two rows a request."""
    table = pa.table(
        {
            "request_id": [f"r{i // 2}" for i in range(len(rows))],
            "row_index": pa.array([i % 2 for i in range(len(rows))], pa.int64()),
            "inputs": ["{}"] * len(rows),
            "label": pa.array([score >= 0.5 for _, _, score in rows], pa.bool_()),
            "score": pa.array([score for _, _, score in rows], pa.float64()),
            "model_version": [version for version, _, _ in rows],
            "predicted_at": pa.array(
                [day + timedelta(hours=hour) for _, hour, _ in rows], pa.timestamp("us", tz="UTC")
            ),
        }
    )
    replace_partition(lake, "parcels/predictions", day.strftime("%Y-%m-%d"), table, token=new_token())


def every(tmp_path: Path, period: Any) -> Workflow:
    return declare_workflow(tmp_path / "parcels", monitoring=Monitoring(every=period))


def test_a_day_is_counted_in_all_and_by_version(lake: Lake, workflow: Workflow) -> None:
    scores = [0.1, 0.2, 0.6, 0.8]
    answered(
        lake, MONDAY, [("9", hour, score) for hour, score in enumerate(scores)] + [("10", 23, 0.9), ("10", 23, 0.4)]
    )
    answered(lake, MONDAY + timedelta(days=1), [("10", 0, 0.9)])
    report = collect_predictions(workflow, "2026-01-05", lake=lake)
    assert (report.n_rows, report.n_requests, report.n_positive, report.share_positive) == (6, 3, 3, 0.5)
    assert [(v.model_version, v.n_rows, v.n_positive) for v in report.by_version] == [("9", 4, 2), ("10", 2, 1)]
    assert report.by_version[0].score_quantiles is not None
    assert report.by_version[0].score_quantiles["0.5"] == np.median(scores)
    assert report.by_version[0].last_at == "2026-01-05T03:00:00+00:00"


def test_before_the_first_prediction_the_count_is_an_honest_zero(lake: Lake, workflow: Workflow) -> None:
    report = collect_predictions(workflow, "2026-01-05", lake=lake)
    assert (report.n_rows, report.share_positive, report.score_quantiles, report.by_version, report.table_version) == (
        0,
        None,
        None,
        (),
        None,
    )
    assert json.loads(Path(report.uri).read_text())["n_rows"] == 0


def test_a_day_without_predictions_is_zero(lake: Lake, workflow: Workflow) -> None:
    answered(lake, MONDAY, [("1", 1, 0.5)])
    report = collect_predictions(workflow, "2026-01-06", lake=lake)
    assert (report.n_rows, report.share_positive) == (0, None)


def test_a_second_run_gives_the_same_file_and_late_predictions_another(lake: Lake, workflow: Workflow) -> None:
    answered(lake, MONDAY, [("1", 1, 0.5)])
    first = collect_predictions(workflow, "2026-01-05", lake=lake)
    assert collect_predictions(workflow, "2026-01-05", lake=lake) == first
    answered(lake, MONDAY, [("1", 1, 0.5), ("1", 2, 0.5)])
    second = collect_predictions(workflow, "2026-01-05", lake=lake)
    assert (first.n_rows, second.n_rows) == (1, 2)
    assert first.uri != second.uri


def test_hours_and_weeks_are_cut_by_the_time_of_prediction(lake: Lake, tmp_path: Path) -> None:
    answered(lake, MONDAY, [("1", 6.99, 0.1), ("1", 7, 0.9), ("1", 8, 0.1)])
    answered(lake, MONDAY + timedelta(days=6), [("1", 23.9, 0.9)])
    answered(lake, MONDAY + timedelta(days=7), [("1", 0, 0.9)])
    assert collect_predictions(every(tmp_path, "hour"), "2026-01-05T07", lake=lake).n_rows == 1
    assert collect_predictions(every(tmp_path, "week"), "2026-01-05", lake=lake).n_rows == 4


def test_a_malformed_key_is_refused(lake: Lake, workflow: Workflow) -> None:
    with pytest.raises(PartitionError, match="is not a day"):
        collect_predictions(workflow, "2026-1-5", lake=lake)
