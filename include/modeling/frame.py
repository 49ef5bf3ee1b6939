"""
Feature rows as the DataFrame that scikit-learn reads: float64 columns for numbers, object columns of text for
categories.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np
import pandas as pd

from include.errors import DataError
from include.modeling.features import FeatureRow
from include.selection.columns import MISSING, FeatureColumn, FeatureKind, kind_of_strings

__all__ = ["MISSING", "FeatureColumn", "FeatureKind", "feature_columns_of", "feature_frame", "wrong_kind"]


_LOG = logging.getLogger(__name__)


def feature_columns_of(features: Sequence[FeatureRow]) -> tuple[FeatureColumn, ...]:
    """
    Names and kinds of the features of training rows, in the order of first appearance.

    A feature that is missing in every row is dropped: nothing can be learned from it.

    Raises
    ------
    DataError
        If a feature is a number in some rows and text in others, or there is no feature at all.

    """
    names = dict.fromkeys(name for row in features for name in row)
    columns = []
    for name in names:
        types = {type(row.get(name)) for row in features} - {type(None)}
        if len(types) > 1:
            raise DataError(f"feature {name!r} is a number in some rows and text in others: give it one type")
        if types:
            kind = "number" if types == {float} else kind_of_strings([row.get(name) for row in features])  # type: ignore[misc]  # all are str
            columns.append(FeatureColumn(name=name, kind=kind))
        else:
            _LOG.warning("feature %r is missing in every training row: left out", name)
    if not columns:
        raise DataError(
            "there is no feature with a value in any training row: check features.builder and features.exclude"
        )
    return tuple(columns)


def feature_frame(features: Sequence[FeatureRow], columns: Sequence[FeatureColumn]) -> pd.DataFrame:
    """
    Frame of shape (n_rows, n_columns); features that are not among `columns` are left out.

    Raises
    ------
    DataError
        If a value's type is not the one that training saw.

    """
    return pd.DataFrame(
        {column.name: _column(features, column) for column in columns}, columns=[c.name for c in columns], copy=False
    )


def _column(features: Sequence[FeatureRow], column: FeatureColumn) -> pd.Series:
    values = [row.get(column.name) for row in features]
    allowed: type = float if column.kind == "number" else str
    wrong = {type(value) for value in values} - {allowed, type(None)}
    if wrong:
        raise wrong_kind(column, wrong.pop())
    if column.kind == "number":
        return pd.Series(np.array(values, dtype=np.float64))
    return pd.Series([MISSING if value is None else value for value in values], dtype=object)


def wrong_kind(column: FeatureColumn, found: type) -> DataError:
    """Error of a feature whose type is not the trained one."""
    given = "text" if found is str else "a number"
    return DataError(
        f"feature {column.name!r} was trained as a {column.kind}, but is {given} here: give it one type in every row"
    )
