"""Pairs of train and held-out rows to choose on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.model_selection import (
    GroupKFold,
    KFold,
    ShuffleSplit,
    StratifiedGroupKFold,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from include.errors import DataError
from include.selection.problem import Problem

Fold = tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]
HOLDOUT_SHARE = 0.2


def holdout(problem: Problem, y: npt.NDArray[Any]) -> Sequence[Fold]:
    """One split at random: a fifth is held out, of each class alike."""
    kind = StratifiedShuffleSplit if problem.is_classification else ShuffleSplit
    return [next(kind(1, test_size=HOLDOUT_SHARE, random_state=problem.random_state).split(y, y))]


def k_folds(problem: Problem, y: npt.NDArray[Any], *, n_folds: int) -> Sequence[Fold]:
    """Every row is held out once, at random, of each class alike."""
    kind = StratifiedKFold if problem.is_classification else KFold
    return list(kind(n_folds, shuffle=True, random_state=problem.random_state).split(y, y))


def grouped_folds(problem: Problem, y: npt.NDArray[Any], groups: Sequence[Any], *, n_folds: int) -> Sequence[Fold]:
    """
    Every row is held out once, together with all rows of its group: what is learned of a group is no use in judging it.

    Raises
    ------
    DataError
        If there are fewer groups than folds.

    """
    codes = np.unique(np.asarray([str(group) for group in groups]), return_inverse=True)[1]
    if codes.max(initial=-1) + 1 < n_folds:
        raise DataError(
            f"{codes.max(initial=-1) + 1} groups for {n_folds} folds: declare fewer folds, or a column with more groups"
        )
    if problem.is_classification:
        kind = StratifiedGroupKFold(n_folds, shuffle=True, random_state=problem.random_state)
        return list(kind.split(y, y, groups=codes))
    return list(GroupKFold(n_folds, shuffle=True, random_state=problem.random_state).split(y, y, groups=codes))
