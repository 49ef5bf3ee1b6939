"""What a feature column holds: a number, a category or free text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pandas as pd

from include.errors import DataError

FeatureKind = Literal["number", "category", "text"]
MISSING = "(missing)"  # a category of its own: that a value is missing often tells something
_MIN_WORDS = 2.5  # of a value, in the mean: fewer are a name, a code or a label
_MIN_DISTINCT = 200  # a column with fewer different values is a category, however long they are


@dataclass(frozen=True, kw_only=True)
class FeatureColumn:
    """One feature: a number (missing is NaN), a category or a text (missing is `MISSING`)."""

    name: str
    kind: FeatureKind


def kind_of_strings(values: Sequence[str | None]) -> FeatureKind:
    """Whether strings are labels, or sentences: many different ones, of several words."""
    distinct = {value for value in values if value is not None and value != MISSING}
    if len(distinct) < _MIN_DISTINCT:
        return "category"
    n_words = sum(value.count(" ") + 1 for value in distinct) / len(distinct)
    return "text" if n_words >= _MIN_WORDS else "category"


def read_frame(X: pd.DataFrame) -> tuple[tuple[FeatureColumn, ...], pd.DataFrame]:
    """
    Columns of any data frame, and the frame as the search reads it.

    Times become their parts and the day number; booleans become numbers; other values become text.

    Returns
    -------
    columns : tuple of FeatureColumn
        A column without any value is left out.
    frame : DataFrame of shape (n_rows, n_columns)
        float64 for numbers, text objects for the rest.

    Raises
    ------
    DataError
        If no column has a value.

    """
    found: dict[str, pd.Series] = {}
    for name in X.columns:
        found |= _read_column(str(name), X[name])
    found = {name: values for name, values in found.items() if values.dtype != np.float64 or values.notna().any()}
    if not found:
        raise DataError("there is no column with a value: give at least one feature")
    columns = tuple(FeatureColumn(name=name, kind=_kind_of(values)) for name, values in found.items())
    return columns, pd.DataFrame(found, copy=False)


def as_frame(X: pd.DataFrame, columns: Sequence[FeatureColumn]) -> pd.DataFrame:
    """Read other rows as those that the columns came from; a column that they lack is missing."""
    found: dict[str, pd.Series] = {}
    for name in X.columns:
        found |= _read_column(str(name), X[name])
    nothing = {"number": np.nan, "category": MISSING, "text": MISSING}
    return pd.DataFrame({c.name: found.get(c.name, pd.Series([nothing[c.kind]] * len(X))) for c in columns}, copy=False)


def _kind_of(values: pd.Series) -> FeatureKind:
    return "number" if values.dtype == np.float64 else kind_of_strings(values.tolist())


def _read_column(name: str, values: pd.Series) -> dict[str, pd.Series]:
    values = values.reset_index(drop=True)
    if pd.api.types.is_datetime64_any_dtype(values):
        parts = {
            "month": values.dt.month,
            "weekday": values.dt.day_of_week,
            "day_number": (values - pd.Timestamp(0, tz=values.dt.tz)).dt.days,
        }
        if (values.dt.hour.fillna(0) > 0).any():
            parts["hour"] = values.dt.hour
        return {f"{name}_{part}": found.astype(np.float64) for part, found in parts.items()}
    if pd.api.types.is_numeric_dtype(values):
        return {name: values.astype(np.float64)}
    text = values.astype(object)
    return {name: text.where(text.notna(), MISSING).astype(str).astype(object)}
