"""Count what the endpoint answered in one period."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.files import put_file
from include.lake.partitions import list_partitions, read_partitions
from include.lake.store import Lake, table_exists, table_version
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, window_of_key, windows_between

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
PREDICTIONS = pa.schema(
    [
        ("request_id", pa.string()),
        ("row_index", pa.int64()),
        ("inputs", pa.string()),
        ("label", pa.bool_()),
        ("score", pa.float64()),
        ("model_version", pa.string()),
        ("predicted_at", pa.timestamp("us", tz="UTC")),
    ]
)
_COLUMNS = ("model_version", "row_index", "label", "score", "predicted_at")


@dataclass(frozen=True, kw_only=True)
class VersionCounts:
    """Answers of one model version. Shares and quantiles are None where there were none."""

    model_version: str
    n_rows: int
    n_requests: int
    n_positive: int
    share_positive: float | None
    score_quantiles: dict[str, float] | None
    first_at: str | None
    last_at: str | None


@dataclass(frozen=True, kw_only=True)
class PredictionReport:
    """
    Answers of one period `[start, end)`, in all and by model version. `table_version` is None before the first
    prediction ever.
    """

    workflow: str
    partition_key: str
    start: str
    end: str
    table_version: int | None
    n_rows: int
    n_requests: int
    n_positive: int
    share_positive: float | None
    score_quantiles: dict[str, float] | None
    by_version: tuple[VersionCounts, ...]
    uri: str = ""


def collect_predictions(workflow: Workflow, partition_key: str, *, lake: Lake) -> PredictionReport:
    """
    Count the predictions that were made in one period of `monitoring.every`.

    The report is kept as `<name>/_monitoring/<key>.v<table version>.json`: files never change, and predictions may
    arrive late. It tells of the predictions that had reached the lake when it was made.

    Parameters
    ----------
    workflow : Workflow
        Whose endpoint.
    partition_key : str
        The period, as `monitoring.every` cuts time.
    lake : Lake
        Where the predictions are.

    Returns
    -------
    PredictionReport
        Of zero rows, if there were none.

    Raises
    ------
    PartitionError
        If the key is malformed.

    """
    window = window_of_key(workflow.monitoring.every, partition_key)
    table = f"{workflow.name}/predictions"
    version = table_version(lake, table) if table_exists(lake, table) else None
    rows = _empty() if version is None else _read_window(lake, table, window, version=version)
    total = _count("", rows)
    names = sorted(pc.unique(rows["model_version"]).to_pylist(), key=_natural)
    report = PredictionReport(
        workflow=workflow.name,
        partition_key=partition_key,
        start=window.start.isoformat(),
        end=window.end.isoformat(),
        table_version=version,
        n_rows=total.n_rows,
        n_requests=total.n_requests,
        n_positive=total.n_positive,
        share_positive=total.share_positive,
        score_quantiles=total.score_quantiles,
        by_version=tuple(_count(name, rows.filter(pc.field("model_version") == name)) for name in names),
    )
    suffix = "" if version is None else f".v{version}"
    data = json.dumps(asdict(report), indent=1, sort_keys=True, allow_nan=False).encode()
    return replace(report, uri=put_file(lake, f"{workflow.name}/_monitoring/{partition_key}{suffix}.json", data))


def read_answers(lake: Lake, workflow_name: str, window: PartitionWindow, *, columns: Sequence[str]) -> pa.Table:
    """
    Read some columns of the predictions made in a window, `predicted_at` among them; of no rows, if
    there are none.
    """
    table = f"{workflow_name}/predictions"
    if not table_exists(lake, table):
        return PREDICTIONS.empty_table().select(columns)
    return _read_window(lake, table, window, version=table_version(lake, table), columns=columns)


def _read_window(
    lake: Lake, table: str, window: PartitionWindow, *, version: int, columns: Sequence[str] = _COLUMNS
) -> pa.Table:
    there = set(list_partitions(lake, table, version=version))
    keys = [day.key for day in windows_between("day", window.start, window.end) if day.key in there]
    rows = read_partitions(lake, table, keys, version=version, columns=columns)
    at = rows["predicted_at"]
    return rows.filter(pc.and_(pc.greater_equal(at, _moment(window.start)), pc.less(at, _moment(window.end))))


def _empty() -> pa.Table:
    return PREDICTIONS.empty_table().select(_COLUMNS)


def _count(model_version: str, rows: pa.Table) -> VersionCounts:
    n_rows, n_positive = rows.num_rows, int(pc.sum(rows["label"]).as_py() or 0)
    bounds = pc.min_max(rows["predicted_at"]).as_py()
    return VersionCounts(
        model_version=model_version,
        n_rows=n_rows,
        n_requests=int(pc.sum(pc.equal(rows["row_index"], 0)).as_py() or 0),
        n_positive=n_positive,
        share_positive=n_positive / n_rows if n_rows else None,
        score_quantiles=_quantiles(rows["score"]) if n_rows else None,
        first_at=_iso(bounds["min"]),
        last_at=_iso(bounds["max"]),
    )


def _quantiles(scores: pa.ChunkedArray) -> dict[str, float]:
    values = np.quantile(scores.to_numpy(), QUANTILES)
    return {f"{quantile:g}": float(value) for quantile, value in zip(QUANTILES, values, strict=True)}


def _moment(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _natural(version: str) -> tuple[int, str]:
    return (int(version), "") if version.isdigit() else (0, version)
