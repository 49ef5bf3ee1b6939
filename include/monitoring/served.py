"""What one version answered in one window: requests as the model read them, and its scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError, RequestError
from include.lake.store import Lake
from include.modeling.features import FeatureBuilder, FeatureRow
from include.modeling.schema import InputColumn, coerce_row
from include.monitoring.predictions import read_answers
from include.workflow.partitions import PartitionWindow

MAX_ROWS = 100_000  # of a window: more would not change a verdict
_COLUMNS = ("request_id", "row_index", "inputs", "score", "model_version", "predicted_at")


@dataclass(frozen=True, kw_only=True)
class ServedRows:
    """
    Rows that one version answered in a window.

    `n_rows` were answered by `model_version`, `n_of_others` by other versions; `table` holds at most `MAX_ROWS` of the
    former, evenly spaced. Without any answer the version is None.
    """

    model_version: str | None
    n_rows: int
    n_of_others: int
    table: pa.Table

    def inputs(self, columns: Sequence[InputColumn]) -> list[dict[str, Any] | None]:
        """Values that the model read, row by row; None where they cannot be read any more."""
        return [_read_inputs(columns, text) for text in self.table["inputs"].to_pylist()]

    def scores(self) -> npt.NDArray[np.float64]:
        """Predictions, of shape (n_rows,)."""
        return np.asarray(self.table["score"].to_numpy(), dtype=np.float64)


def read_served(lake: Lake, workflow_name: str, window: PartitionWindow, *, minimum_rows: int) -> ServedRows:
    """
    Read what was answered in a window by the last version that answered at least `minimum_rows`; else by the one that
    answered most.

    One model is judged by one window: after a switch in the middle of it, the new one, if it has answered enough.
    """
    rows = read_answers(lake, workflow_name, window, columns=_COLUMNS)
    if not rows.num_rows:
        return ServedRows(model_version=None, n_rows=0, n_of_others=0, table=rows)
    found = rows.group_by("model_version").aggregate([("predicted_at", "max"), ("row_index", "count")]).to_pylist()
    enough = [line for line in found if line["row_index_count"] >= minimum_rows]
    last = max(enough, key=lambda line: (line["predicted_at_max"], line["model_version"]), default=None)
    chosen = last or max(found, key=lambda line: (line["row_index_count"], line["model_version"]))
    own = rows.filter(pc.equal(rows["model_version"], chosen["model_version"])).sort_by(
        [("predicted_at", "ascending"), ("request_id", "ascending"), ("row_index", "ascending")]
    )
    n_own = own.num_rows
    if n_own > MAX_ROWS:
        own = own.take(np.linspace(0, n_own - 1, MAX_ROWS).astype(np.int64))
    return ServedRows(
        model_version=str(chosen["model_version"]), n_rows=n_own, n_of_others=rows.num_rows - n_own, table=own
    )


def build_features(
    builder: FeatureBuilder, inputs: Sequence[Mapping[str, Any] | None]
) -> tuple[list[FeatureRow], list[int]]:
    """
    Features of the rows that give some, and their positions: a row that fails once it is looked at again
    is left out.
    """
    rows, positions = [], []
    for i, row in enumerate(inputs):
        try:
            rows += builder.build([row]) if row is not None else []
        except DataError:
            continue
        if row is not None:
            positions.append(i)
    return rows, positions


def _read_inputs(columns: Sequence[InputColumn], text: str | None) -> dict[str, Any] | None:
    try:
        return coerce_row(columns, orjson.loads(text or ""))
    except (ValueError, RequestError):
        return None
