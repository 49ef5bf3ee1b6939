"""The label of each row: 0 and 1, the code of a class, or a number."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import TrainingError
from include.workflow import Workflow

Labels = npt.NDArray[np.int64] | npt.NDArray[np.float64]
MAX_CLASSES = 100
MIN_CLASSES = 2


def labels_of(workflow: Workflow, table: pa.Table, *, classes: Sequence[Any] = ()) -> Labels:
    """
    Labels of shape (n_rows,).

    Parameters
    ----------
    workflow : Workflow
        Its target says what is predicted.
    table : Table
        Validated rows.
    classes : sequence
        Of several classes: the known ones in their order, as `classes_of` gives them. A row of another class has the
        code -1.

    Returns
    -------
    ndarray
        classification: int64, 1 where the target column holds `target.positive`, or a number above `target.above`, else
        0; multiclass: int64 codes into `classes`; regression and forecasting: float64.

    Raises
    ------
    TrainingError
        If the table has no target column, it is null in some rows (what the truth is can't be guessed), or numbers are
        asked of a column that holds none.

    """
    column = _target(workflow, table)
    target = workflow.target
    if target.task in ("regression", "forecasting"):
        return _numbers(workflow, column)
    if target.task == "multiclass":
        codes = {value: code for code, value in enumerate(classes)}
        return np.fromiter((codes.get(value, -1) for value in column.to_pylist()), dtype=np.int64, count=len(column))
    if target.above is not None:
        if not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
            raise TrainingError(
                f"target.above={target.above:g}: column {target.column!r} holds no numbers but {column.type}"
            )
        return np.asarray(pc.greater(column, target.above).to_numpy(), dtype=np.int64)
    return np.fromiter((value == target.positive for value in column.to_pylist()), dtype=np.int64, count=len(column))


def classes_of(workflow: Workflow, table: pa.Table) -> tuple[Any, ...]:
    """
    Classes of the rows to fit on, sorted; none where there are not several to tell apart.

    Raises
    ------
    TrainingError
        If there are more than 100.

    """
    if workflow.target.task != "multiclass":
        return ()
    found = sorted(_target(workflow, table).unique().to_pylist())
    if len(found) > MAX_CLASSES:
        raise TrainingError(
            f"target column {workflow.target.column!r} holds {len(found)} classes, at most {MAX_CLASSES} can be told "
            "apart: group the rare ones in the query, or predict a number by target.task='regression'"
        )
    return tuple(found)


def require_variety(workflow: Workflow, labels: Labels, *, part: str) -> None:
    """
    Refuse labels that are all the same.

    Raises
    ------
    TrainingError
        If there is nothing to tell apart.

    """
    target = workflow.target
    if target.task == "classification":
        _require_both_classes(workflow, labels, part=part)
    elif len(labels) and labels.min() == labels.max():
        what = "hold one class only" if target.task == "multiclass" else f"all hold {target.column} = {labels[0]:g}"
        raise TrainingError(f"the {part} rows {what}: there is nothing to learn, train on a longer window")


def _require_both_classes(workflow: Workflow, labels: Labels, *, part: str) -> None:
    n_positive = int(labels.sum())
    if n_positive in (0, len(labels)):
        target = workflow.target
        said, check = f"= {target.positive!r}", "target.positive (its type too)"
        if target.above is not None:
            said, check = f"> {target.above:g}", "target.above"
        raise TrainingError(
            f"the {part} rows hold one class only: {n_positive} of {len(labels)} have {target.column} {said}: "
            f"check {check}, or train on a longer window"
        )


def _target(workflow: Workflow, table: pa.Table) -> pa.ChunkedArray:
    name = workflow.target.column
    if name not in table.schema.names:
        raise TrainingError(
            f"target.column={name!r} is no column of the validated rows: select it in the query, or correct the name"
        )
    column = table[name]
    if column.null_count:
        raise TrainingError(
            f"target column {name!r} is null in {column.null_count} of {len(column)} rows: leave such rows out in the "
            "query, or refuse them with expect_column_values_to_not_be_null in the suite"
        )
    return column


def _numbers(workflow: Workflow, column: pa.ChunkedArray) -> npt.NDArray[np.float64]:
    target, kind = workflow.target, column.type
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise TrainingError(f"target.task={target.task!r}: column {target.column!r} holds no numbers but {kind}")
    values = np.asarray(pc.cast(column, pa.float64(), safe=False).to_numpy(), dtype=np.float64)
    if not np.isfinite(values).all():
        n_bad = int((~np.isfinite(values)).sum())
        raise TrainingError(
            f"target column {target.column!r} is not finite in {n_bad} of {len(values)} rows: refuse them in the suite "
            "with expect_column_values_to_be_between"
        )
    return values
