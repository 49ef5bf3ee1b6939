"""
The profile of what a model was trained on: a few kilobytes with which served rows are compared, without the training
table.

Each feature is cut into cells: numbers at the tenths of the training values, with cells of their own below the smallest
and above the largest one; categories by their names, the rare ones together; and one cell for missing values. Of texts,
the number of words is taken. Beside the counts stands how far the training rows' own hours, days and weeks lie from the
whole (`usual`): a feature such as the weekday is far from it in each single day, and that is no drift.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from include.errors import DataError
from include.evaluation.divergence import distance, homogeneity_p_value
from include.modeling.features import FeatureRow
from include.selection.columns import FeatureColumn, FeatureKind

PROFILE_FILE = "profile.json"
FORMAT = 1
Values = Sequence[float | str | None] | npt.NDArray[np.float64]
Counts = npt.NDArray[np.int64]
Every = Literal["hour", "day", "week"]

_N_BINS = 10
_MAX_CATEGORIES = 30  # with a cell of their own
_LEAST_SHARE = 0.01  # of the training rows: rarer categories share a cell
_MAX_KNOWN = 500  # names kept in all; with more of them a new one cannot be told from a rare one
_SECONDS: Mapping[Every, int] = {"hour": 3_600, "day": 86_400, "week": 604_800}
_MONDAY = 4 * 86_400  # the first Monday, in seconds since 1970: weeks are cut there
_LEAST_WINDOW_ROWS, _LEAST_WINDOWS, _SURE = 50, 4, 0.01


@dataclass(frozen=True, kw_only=True)
class FeatureProfile:
    """
    Cells of one feature, and how many training rows lie in each.

    `counts` of numbers and texts: below the first edge, from each edge to the next, from the last one on, missing. Of
    categories: each of `categories`, rare ones, unseen ones (none in training), missing. `rare` has the names of the
    rare ones where they are few. `usual` is how far the training rows' own windows lie from all of them at most, as a
    distance; a window length of which there were too few is left out.
    """

    name: str
    kind: FeatureKind
    counts: tuple[int, ...]
    edges: tuple[float, ...] = ()
    categories: tuple[str, ...] = ()
    rare: tuple[str, ...] = ()
    is_open: bool = False
    usual: Mapping[str, float] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Rows that were counted."""
        return sum(self.counts)

    def count(self, values: Values) -> Counts:
        """
        Count values in this profile's cells.

        Parameters
        ----------
        values : sequence of float, str or None, or float64 array, of shape (n_rows,)
            None and NaN are missing.

        Returns
        -------
        ndarray of shape (n_cells,)
            In the order of `counts`.

        """
        if self.kind == "category":
            counted = np.zeros(len(self.counts), dtype=np.int64)
            index, other = self._index(), len(self.categories) + (0 if self.is_open else 1)
            for value, n in Counter(values).items():
                counted[index.get(value, other)] += n
            return counted
        numbers = as_numbers(values, self.kind)
        n_there = len(numbers) - int(np.count_nonzero(np.isnan(numbers)))
        # One pass an edge is quicker than to look each value up; NaN reaches no edge.
        reached = np.array([n_there, *(np.count_nonzero(numbers >= edge) for edge in self.edges), 0], dtype=np.int64)
        return np.append(-np.diff(reached), len(numbers) - n_there)

    def cells(self, values: Values) -> npt.NDArray[np.intp]:
        """Number of the cell of each value, of shape (n_rows,)."""
        if self.kind == "category":
            index, other = self._index(), len(self.categories) + (0 if self.is_open else 1)
            found = (index.get(value, other) for value in values)
            return np.fromiter(found, dtype=np.intp, count=len(values))
        numbers = as_numbers(values, self.kind)
        cells = np.searchsorted(np.asarray(self.edges), numbers, side="right")
        cells[np.isnan(numbers)] = len(self.counts) - 1
        return cells

    def _index(self) -> dict[Any, int]:
        n = len(self.categories)
        return {**dict.fromkeys(self.rare, n), **{name: i for i, name in enumerate(self.categories)}, None: n + 2}


@dataclass(frozen=True, kw_only=True)
class TrainingProfile:
    """Profiles of the features over the rows to fit on, and of the model's answers to the rows to judge on."""

    n_rows: int
    start: str
    end: str
    features: tuple[FeatureProfile, ...]
    prediction: FeatureProfile | None
    format: int = FORMAT

    def to_json(self) -> bytes:
        """As the file that is kept with the version."""
        return json.dumps(asdict(self), sort_keys=True, allow_nan=False).encode()


def profile_rows(
    features: Sequence[FeatureRow], columns: Sequence[FeatureColumn], times: npt.NDArray[np.datetime64]
) -> tuple[FeatureProfile, ...]:
    """
    Profile training rows, feature by feature.

    Parameters
    ----------
    features : sequence of feature rows
        As the builder gives them.
    columns : sequence of FeatureColumn
        Which features the model reads.
    times : ndarray of datetime64, of shape (n_rows,)
        When each row's event took place.

    """
    return tuple(profile_values(c.name, c.kind, [row.get(c.name) for row in features], times) for c in columns)


def profile_values(name: str, kind: FeatureKind, values: Values, times: npt.NDArray[np.datetime64]) -> FeatureProfile:
    """Profile one feature (see `profile_rows`)."""
    empty = _cut_categories(name, values) if kind == "category" else _cut_numbers(name, kind, as_numbers(values, kind))
    cells = empty.cells(values)
    counts = np.bincount(cells, minlength=len(empty.counts))
    kept = {item.name: getattr(empty, item.name) for item in fields(FeatureProfile)}
    usual = _usual(cells, times, references=counts[None, :].astype(np.float64))
    return FeatureProfile(**{**kept, "counts": tuple(int(n) for n in counts), "usual": usual})


def with_usual_distances(
    answers: FeatureProfile, predicted: Values, times: npt.NDArray[np.datetime64], *, stretch: timedelta
) -> FeatureProfile:
    """
    Add to a profile of a model's answers to its test rows what is usual between one time and another.

    The test rows are often of a single week, and tell nothing of how a week differs from the next; the rows that the
    model was fitted on do. Each stretch of them, as long as the test rows, is a reference for each window, and the
    largest distance that is no chance is usual.

    Parameters
    ----------
    answers : FeatureProfile
        Of the test rows.
    predicted : float64 array of shape (n_rows,)
        The model's answers to the rows that it was fitted on.
    times : ndarray of datetime64, of shape (n_rows,)
        When their events took place.
    stretch : timedelta
        How long the test rows go on, at least a second.

    """
    cells = answers.cells(predicted)
    references = _count_windows(cells, len(answers.counts), times, seconds=int(stretch.total_seconds()))
    if len(references) < _LEAST_WINDOWS:
        return replace(answers, usual={})
    return replace(answers, usual=_usual(cells, times, references=references))


def as_numbers(values: Values, kind: FeatureKind) -> npt.NDArray[np.float64]:
    """Values as float64, missing as NaN; of a text the number of its words."""
    if kind == "text":
        values = [None if value is None else float(len(str(value).split())) for value in values]
    return np.asarray(values, dtype=np.float64)


def read_profile(folder: Path) -> TrainingProfile | None:
    """
    Read the profile that lies with a version; None, if it has none (versions from before there were profiles).

    Raises
    ------
    DataError
        If the file is no profile.

    """
    path = folder / PROFILE_FILE
    if not path.is_file():
        return None
    try:
        content: dict[str, Any] = json.loads(path.read_bytes())
        if content["format"] != FORMAT:
            raise ValueError
        prediction = content["prediction"]
        found = [_feature_of(item) for item in content["features"]]
        return TrainingProfile(
            **{**content, "features": tuple(found), "prediction": prediction and _feature_of(prediction)}
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        raise DataError(f"{path} is no profile of training rows: train the version again") from None


def _feature_of(content: Mapping[str, Any]) -> FeatureProfile:
    lists = {name: tuple(content[name]) for name in ("counts", "edges", "categories", "rare")}
    found = FeatureProfile(**{**content, **lists})
    n_cells = len(found.categories) + 3 if found.kind == "category" else len(found.edges) + 2
    if len(found.counts) != n_cells or min(found.counts) < 0:
        raise ValueError
    return found


def _cut_numbers(name: str, kind: FeatureKind, numbers: npt.NDArray[np.float64]) -> FeatureProfile:
    there = numbers[~np.isnan(numbers)]
    if not len(there):
        return FeatureProfile(name=name, kind=kind, counts=(0, 0))
    inner = np.quantile(there, np.linspace(0, 1, _N_BINS, endpoint=False))
    # The largest value itself belongs to the last tenth: only what is above it was never seen.
    edges = np.unique(np.append(inner, np.nextafter(there.max(), np.inf)))
    return FeatureProfile(
        name=name, kind=kind, counts=(0,) * (len(edges) + 2), edges=tuple(float(edge) for edge in edges)
    )


def _cut_categories(name: str, values: Values) -> FeatureProfile:
    seen = Counter(value for value in values if value is not None)
    ordered = sorted(seen, key=lambda value: (-seen[value], str(value)))
    own = [value for value in ordered[:_MAX_CATEGORIES] if seen[value] >= _LEAST_SHARE * len(values)]
    others, is_open = ordered[len(own) :], len(ordered) > _MAX_KNOWN
    return FeatureProfile(
        name=name,
        kind="category",
        counts=(0,) * (len(own) + 3),
        categories=tuple(map(str, own)),
        rare=() if is_open else tuple(sorted(map(str, others))),
        is_open=is_open,
    )


def _usual(
    cells: npt.NDArray[np.intp], times: npt.NDArray[np.datetime64], *, references: npt.NDArray[np.float64]
) -> dict[str, float]:
    found = {
        every: _furthest(references, _count_windows(cells, references.shape[1], times, seconds=seconds))
        for every, seconds in _SECONDS.items()
    }
    return {every: value for every, value in found.items() if value is not None}


def _count_windows(
    cells: npt.NDArray[np.intp], n_cells: int, times: npt.NDArray[np.datetime64], *, seconds: int
) -> npt.NDArray[np.float64]:
    """Counts of the cells in each window, of shape (n_windows, n_cells); windows of few rows are left out."""
    moments = np.asarray(times, dtype="datetime64[s]").astype(np.int64)
    windows = np.unique((moments - _MONDAY) // seconds, return_inverse=True)[1]
    n_windows = int(windows.max(initial=-1)) + 1
    table = np.bincount(windows * n_cells + cells, minlength=n_windows * n_cells).reshape(-1, n_cells)
    large: npt.NDArray[np.float64] = table[table.sum(axis=1) >= _LEAST_WINDOW_ROWS].astype(np.float64)
    return large


def _furthest(references: npt.NDArray[np.float64], windows: npt.NDArray[np.float64]) -> float | None:
    """How far a window lies from a reference, at most; None with too few windows to tell."""
    if len(windows) < _LEAST_WINDOWS:
        return None
    distances = np.stack([distance(reference, windows) for reference in references])
    # The largest of many distances would be noise: it counts only if the window differs for sure, in view of their
    # number.
    for i in np.argsort(-distances, axis=None):
        reference, window = np.unravel_index(i, distances.shape)
        if homogeneity_p_value(references[reference], windows[window]) <= _SURE / distances.size:
            return float(distances[reference, window])
    return 0.0
