"""The rows that a version is evaluated and judged on, and what was measured on them and on the model itself."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from include.errors import DataError, EvidenceError
from include.evaluation.bootstrap import score_with_intervals
from include.evaluation.evaluate import Scoring
from include.evaluation.json_numbers import to_json_number
from include.evaluation.multiclass import align_classes
from include.evaluation.resampling import Blocks
from include.lake.store import Lake
from include.modeling.compiled import compile_scorer
from include.modeling.labels import labels_of
from include.modeling.model import Golden, Model, ModelManifest
from include.modeling.schema import coerce_row
from include.modeling.snapshot import Snapshot, read_parts
from include.registry.naive import naive_scores
from include.workflow import Workflow

FloatArray = npt.NDArray[np.float64]
_LOG = logging.getLogger(__name__)
_LATENCY_ROUNDS = 5


@dataclass(frozen=True, kw_only=True)
class JudgedRows:
    """
    The test rows of a snapshot: arrays of n_rows in one order, and the table they come from.

    `classes` are those of several that `y_true` has codes of: the candidate's, then those that the champion alone
    knows.
    """

    table: pa.Table
    y_true: npt.NDArray[Any]
    naive: FloatArray
    slices: Mapping[str, list[Any]]
    classes: tuple[Any, ...] = ()

    @property
    def times(self) -> npt.NDArray[np.datetime64]:
        """When each row's event took place, by shape (n_rows,)."""
        return np.asarray(self.table["event_time"].to_numpy(), dtype="datetime64[us]")


def read_judged_rows(workflow: Workflow, snapshot: Snapshot, *, lake: Lake, models: Sequence[Model] = ()) -> JudgedRows:
    """
    Read the test rows, with the naive baseline's scores; the models are those to judge, whose classes the codes are of.

    Raises
    ------
    CorruptDataError
        If the rows are not those that were pinned.

    """
    fitted, table = read_parts(workflow, snapshot, lake=lake)
    gate = workflow.gate
    classes = tuple(dict.fromkeys(value for model in models for value in model.manifest.classes))
    columns = [*gate.slices, *(gate.fairness.groups if gate.fairness else ())]
    return JudgedRows(
        table=table,
        y_true=labels_of(workflow, table, classes=classes),
        naive=naive_scores(workflow, fitted, table, classes=classes),
        # A declared slice or group that is no column is left out here: the gate holds for it.
        slices={column: table[column].to_pylist() for column in columns if column in table.schema.names},
        classes=classes,
    )


def predict_judged(model: Model, rows: JudgedRows) -> FloatArray:
    """Predictions of a model; of several classes, by the codes that the rows are judged by."""
    predicted = model.predict(rows.table)
    return (
        align_classes(predicted, own=model.manifest.classes, judged=rows.classes) if predicted.ndim == 2 else predicted
    )


def require_trained_on(manifest: ModelManifest, snapshot: Snapshot, *, version: str) -> None:
    """
    Refuse to judge a version on the rows of another training than its own: they may be rows that it was trained on.

    Raises
    ------
    EvidenceError
        If the version's snapshot is another one.

    """
    own = manifest.snapshot.get("snapshot_id")
    if own != snapshot.snapshot_id:
        raise EvidenceError(
            f"version {version} of {manifest.workflow!r} was trained on snapshot {own}, not on {snapshot.snapshot_id}: "
            "judge it on its own"
        )


def champion_scores(champion: Model, rows: JudgedRows) -> FloatArray:
    """Scores of the champion; all nan where it cannot work with today's rows, which the gate holds for."""
    try:
        return predict_judged(champion, rows)
    except DataError as error:
        _LOG.warning("the champion cannot score the test rows: %s", error)
        return np.full_like(rows.naive, np.nan, dtype=np.float64)


def seen_in_training(manifest: ModelManifest, rows: JudgedRows) -> npt.NDArray[np.bool_]:
    """
    Whether each row's event lies in the window `[train_start, train_end)` that a model was trained on.
    Shape (n_rows,).
    """
    bounds = (datetime.fromisoformat(str(manifest.trained_rows[name])) for name in ("train_start", "train_end"))
    start, end = (pa.scalar(moment, pa.timestamp("us", tz="UTC")) for moment in bounds)
    event = rows.table["event_time"]
    seen = pc.and_(pc.greater_equal(event, start), pc.less(event, end))
    return np.asarray(seen.to_numpy(), dtype=np.bool_)


def metrics_of(
    y_true: Any, y_pred: FloatArray, *, random_state: int, scoring: Scoring, blocks: Blocks | None = None
) -> dict[str, Any]:
    """All metrics with their intervals, as JSON types; empty where the predictions are not finite."""
    if not np.isfinite(y_pred).all():
        return {}
    table = score_with_intervals(scoring.rows(y_true, y_pred), random_state=random_state, blocks=blocks)
    return {
        name: {"value": to_json_number(i.value), "low": to_json_number(i.low), "high": to_json_number(i.high)}
        for name, i in table.items()
    }


def measure_latency_ms(model: Model, golden: Golden) -> float:
    """
    Median time of one request's row, in ms: JSON values coerced and scored, as the endpoint does it, on one thread.

    It is a measurement of this machine at this moment: it stands in the evidence, but is no input of a decision's
    identity.
    """
    score = compile_scorer(model) or model.predict
    columns, seconds = model.manifest.input_columns, []
    with threadpool_limits(1):
        score([coerce_row(columns, golden.rows[0])])
        for _ in range(_LATENCY_ROUNDS):
            for row in golden.rows:
                started = time.perf_counter()
                score([coerce_row(columns, row)])
                seconds.append(time.perf_counter() - started)
    return float(np.median(seconds) * 1000)


def measure_size_mb(folder: Path, manifest: ModelManifest) -> float:
    """Size of the package's own files, in MB (10^6 bytes)."""
    return sum((folder / name).stat().st_size for name in manifest.files) / 1e6
