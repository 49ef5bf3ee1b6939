"""
What a model answers by: how much it loses without a column's values, and how its answer moves with them.

Permutation importance: L. Breiman, Random Forests (2001), section 10. Partial dependence: J. H. Friedman, Greedy
function approximation (2001), section 8.2. Both ask the model as a request does, by rows of the source's columns, so
that feature function and preparation are in it. Columns that tell the same stand in for each other: each then looks
less important than both together are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError
from include.evaluation.bootstrap import Interval
from include.evaluation.metrics import FloatArray, Scored, gain

Predict = Callable[[pa.Table], FloatArray]
Score = Callable[[FloatArray, FloatArray], Scored]  # truth and predictions of some rows, as one task scores them

N_REPEATS = 3
MAX_ROWS = 1_000
MAX_PREDICTIONS = 60_000  # of the whole: rows times columns times repeats
MIN_VALUE_ROWS = 30  # a category that fewer rows share is somebody's: it is not shown
_N_RESAMPLES = 200
_MIN_ROWS = 100
_GRID, _GRID_ROWS, _MAX_OUTPUTS = 10, 200, 5


@dataclass(frozen=True, kw_only=True)
class FeatureImportance:
    """
    By how much the metric gets worse when a column's values are shuffled: positive is needed by the model. 95 %
    interval.
    """

    column: str
    loss: Interval


@dataclass(frozen=True, kw_only=True)
class PartialDependence:
    """The mean answer (`answers[i]`, one number an output) when the column is `grid[i]` in every row."""

    column: str
    is_number: bool
    grid: tuple[str, ...]
    outputs: tuple[str, ...]
    answers: tuple[tuple[float, ...], ...]


@dataclass(frozen=True, kw_only=True)
class ErrorExample:
    """A row where the model is most wrong: where to find it, what went wrong, and its values by their shape."""

    row_id: str
    mistake: str
    masked: Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Probe:
    """
    A model and held-out rows to ask it about.

    `predict` goes from rows to predictions; `table` has shape (n_rows, n_columns), `y_true` (n_rows,); `score` goes
    from truth and predictions to `Scored`; `metric` is what is lost; `random_state` seeds samples, shuffles and
    resamples.
    """

    predict: Predict
    table: pa.Table
    y_true: Any
    score: Score
    metric: str
    random_state: int

    def scores(self, table: pa.Table, weights: FloatArray) -> FloatArray:
        """Score the answers to `table`, the same rows with other values, under each row of weights."""
        return self.score(self.y_true, self.predict(table)).weighted(weights, [self.metric])[self.metric]

    def sample(self, n_rows: int, rng: np.random.Generator) -> Probe:
        """At most so many of the rows, drawn without replacement, in their order."""
        kept = np.sort(rng.choice(self.table.num_rows, min(self.table.num_rows, n_rows), replace=False))
        return replace(self, table=self.table.take(kept), y_true=np.asarray(self.y_true)[kept])


def permutation_importance(probe: Probe, *, columns: Sequence[str]) -> tuple[FeatureImportance, ...]:
    """
    Measure how much a model needs each column.

    Parameters
    ----------
    probe : Probe
        Model and rows; at most 1,000 of them are used, fewer of many columns, so that the cost is bounded.
    columns : sequence of str
        Which columns to shuffle, each alone, three times.

    Returns
    -------
    tuple of FeatureImportance
        The most important first. The interval is of rows and shuffles together.

    """
    rng = np.random.default_rng(probe.random_state)
    n_rows = min(MAX_ROWS, max(_MIN_ROWS, MAX_PREDICTIONS // (N_REPEATS * max(1, len(columns)))))
    probe = probe.sample(n_rows, rng)
    n = probe.table.num_rows
    weights = np.concatenate([np.ones((1, n)), rng.multinomial(n, np.full(n, 1 / n), size=_N_RESAMPLES)])
    whole = probe.scores(probe.table, weights)
    found = [
        FeatureImportance(column=column, loss=_loss(probe, column, whole=whole, weights=weights, rng=rng))
        for column in columns
    ]
    return tuple(sorted(found, key=lambda item: -item.loss.value if np.isfinite(item.loss.value) else np.inf))


def partial_dependence(
    probe: Probe, *, columns: Sequence[str], outputs: Sequence[str]
) -> tuple[PartialDependence, ...]:
    """
    Follow the mean answer along each column's values, of at most 200 rows and ten values.

    Parameters
    ----------
    probe : Probe
        Model and rows.
    columns : sequence of str
        Which columns; one without at least two values that may be shown is left out.
    outputs : sequence of str
        What the answer's columns are called; a single one for an answer of shape (n_rows,). Of more than five, the
        first five are shown.

    """
    rows = probe.sample(_GRID_ROWS, np.random.default_rng(probe.random_state)).table
    found = []
    for column in columns:
        values = probe.table[column]
        grid = _grid(values)
        if len(grid) < 2:
            continue
        try:
            answers = [
                np.atleast_1d(probe.predict(_replaced(rows, column, value)).mean(axis=0))[:_MAX_OUTPUTS]
                for value in grid
            ]
        except DataError:
            continue
        found.append(
            PartialDependence(
                column=column,
                is_number=pa.types.is_integer(values.type) or pa.types.is_floating(values.type),
                grid=tuple(_tell(value) for value in grid),
                outputs=tuple(outputs)[:_MAX_OUTPUTS],
                answers=tuple(tuple(float(number) for number in answer) for answer in answers),
            )
        )
    return tuple(found)


def _loss(probe: Probe, column: str, *, whole: FloatArray, weights: FloatArray, rng: np.random.Generator) -> Interval:
    table = probe.table
    index = table.schema.get_field_index(column)
    losses = []
    for _ in range(N_REPEATS):
        shuffled = table.set_column(
            index, table.schema.field(index), table[column].take(rng.permutation(table.num_rows))
        )
        try:
            losses.append(gain(probe.metric, whole, probe.scores(shuffled, weights)))
        except DataError:
            # Two columns that belong together (an image and its digest), one of them shuffled: no row that a request
            # could bring.
            return Interval(
                value=np.nan,
                low=np.nan,
                high=np.nan,
                reason="the features cannot be made without this column's own values",
            )
        if np.array_equal(losses[0], np.zeros_like(losses[0])):
            # The model does not ask for this column: other shuffles would change no answer either.
            return Interval(value=0.0, low=0.0, high=0.0)
    value = float(np.mean([loss[0] for loss in losses]))
    # Each resample meets one of the shuffles, so that the spread is of both.
    resampled = np.stack(losses)[np.arange(_N_RESAMPLES) % N_REPEATS, 1 + np.arange(_N_RESAMPLES)]
    resampled = resampled[np.isfinite(resampled)]
    if not np.isfinite(value) or not len(resampled):
        return Interval(
            value=np.nan,
            low=np.nan,
            high=np.nan,
            reason=f"{probe.metric} has no value on the {table.num_rows} rows asked",
        )
    low, high = np.quantile(resampled, [0.025, 0.975])
    return Interval(value=value, low=float(low), high=float(high))


def _grid(column: pa.ChunkedArray) -> list[Any]:
    """
    Values to ask for: spread over the rows' where they have an order, else the most frequent ones that
    many rows share.
    """
    known = column.drop_null().combine_chunks()
    kind = known.type
    if pa.types.is_floating(kind):
        known = known.filter(pc.is_finite(known))
    if not len(known) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        return []
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind):
        counts = sorted(
            (-item["counts"], str(item["values"]), item["values"]) for item in known.value_counts().to_pylist()
        )
        return [value for n, _, value in counts if -n >= MIN_VALUE_ROWS][:_GRID]
    ordered = known.sort()
    # Without the outermost twentieths: the ends are single rows, and the model knows little there.
    chosen = np.unique(np.linspace(0.05 * (len(ordered) - 1), 0.95 * (len(ordered) - 1), _GRID).round().astype(int))
    return list(dict.fromkeys(ordered[int(i)].as_py() for i in chosen))


def _replaced(rows: pa.Table, column: str, value: Any) -> pa.Table:
    field = rows.schema.field(column)
    return rows.set_column(rows.schema.get_field_index(column), field, pa.array([value] * rows.num_rows, field.type))


def _tell(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
