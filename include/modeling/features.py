"""
From rows to features: the declared function, applied row by row.

The same bytes of code run in training and in the endpoint: a model package holds a copy of the module, and a loaded
model executes that copy, whatever became of the workflow's file since.

A feature is a number (`float`), a category (`str`) or missing (None):

| value the function gives | feature |
|---|---|
| int, float, Decimal, numpy number | number; NaN and infinity are missing; clipped to ±1e30, which float32 still holds |
| bool | 0 or 1 |
| str | category |
| datetime, date | three numbers: `<name>_hour` (not for a date), `<name>_weekday` (Monday is 0), `<name>_month` |
| None | missing |
"""  # noqa: E501 - a table's row is a line

from __future__ import annotations

import hashlib
import math
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa

from include.errors import DataError, DeclarationError
from include.modeling.schema import InputColumn, hidden_columns, input_columns_of, iterate_rows
from include.workflow import Workflow

FeatureRow = dict[str, float | str | None]
_BOUND = 1e30
_TEXT = frozenset({str})


class FeatureBuilder:
    """
    Applies a feature function, or hands the columns through where none is declared.

    Parameters
    ----------
    columns : sequence of InputColumn
        What the function may read.
    hidden : frozenset of str
        Columns that it must not read (target, excluded, reserved): reading one is an error, even by `row.get`.
    source : bytes or None
        Text of the module that holds the function; None hands the columns through.
    function : str or None
        `module.function`, as declared.

    Raises
    ------
    DeclarationError
        If the module does not run, or has no such function.

    """

    def __init__(
        self, *, columns: Sequence[InputColumn], hidden: frozenset[str], source: bytes | None, function: str | None
    ) -> None:
        self.columns = tuple(columns)
        self.hidden = hidden
        self.source = source
        self.function = function
        self._names = [column.name for column in self.columns]
        self._row_type = _visible_row_type(hidden)
        self._build = _load_function(source, function) if source is not None and function is not None else dict

    def build(self, rows: Iterable[Mapping[str, Any]]) -> list[FeatureRow]:
        """
        Features of each row. A column that a row lacks is None.

        Raises
        ------
        DataError
            If the function fails on a row, reads a hidden column, or gives something that is no feature.

        """
        names, row_type = self._names, self._row_type
        return [self._features_of(row_type({name: row.get(name) for name in names})) for row in rows]

    def build_table(self, table: pa.Table) -> list[FeatureRow]:
        """Features of each row of a table: the same as `build`, faster."""
        names, row_type = self._names, self._row_type
        return [
            self._features_of(row_type(zip(names, values, strict=True))) for values in iterate_rows(table, self.columns)
        ]

    def _features_of(self, row: dict[str, Any]) -> FeatureRow:
        try:
            built = self._build(row)
        except DataError:
            raise
        except Exception as error:
            # The error's own text may quote the row's values: only its kind, its column and its line are told.
            detail = (
                f"reads column {error.args[0]!r}, which the rows do not have"
                if isinstance(error, _NoColumnError)
                else _where(error)
            )
            raise DataError(f"{self.function} {detail}: correct it in the workflow's folder") from None
        if not isinstance(built, Mapping):
            raise DataError(
                f"{self.function} gives a {type(built).__name__}: return a dict of feature names and values"
            )
        return _normalise(built, self.function)


def builder_of_workflow(workflow: Workflow, schema: pa.Schema) -> FeatureBuilder:
    """Builder of a declared workflow over tables of a schema, from the file in the workflow's folder."""
    hidden = hidden_columns(workflow)
    function = workflow.features.builder
    source = (workflow.folder / f"{function.split('.')[0]}.py").read_bytes() if function else None
    return FeatureBuilder(
        columns=input_columns_of(schema, hidden=hidden), hidden=hidden, source=source, function=function
    )


class _NoColumnError(KeyError):
    """A column that is not in the row; a function may catch it as it may any KeyError."""


def _visible_row_type(hidden: frozenset[str]) -> type[dict[str, Any]]:
    def check(name: object) -> None:
        if name in hidden:
            raise DataError(
                f"the feature function reads column {name!r}, which is hidden from features (the target, an excluded "
                "column or one not known at prediction time): leave it out"
            )

    get, contains, missing = dict.get, dict.__contains__, object()

    class VisibleRow(dict[str, Any]):
        """The columns that a feature function may read."""

        def __missing__(self, name: str) -> Any:
            check(name)
            raise _NoColumnError(name)

        # A hidden column is in no row: only what is not found need be checked.
        def __contains__(self, name: object) -> bool:
            if contains(self, name):
                return True
            check(name)
            return False

        def get(self, name: str, default: Any = None) -> Any:
            value = get(self, name, missing)
            if value is missing:
                check(name)
                return default
            return value

    return VisibleRow


def _load_function(source: bytes, function: str) -> Callable[[Mapping[str, Any]], Any]:
    module_name, function_name = function.split(".")
    # One module for one text: loading the same package twice runs it once, two versions live side by side.
    name = f"updraft_features_{hashlib.sha256(source).hexdigest()[:16]}"
    module = sys.modules.get(name)
    if module is None:
        module = ModuleType(name)
        sys.modules[name] = module  # dataclasses look their own module up
        try:
            exec(compile(source, f"{module_name}.py", "exec"), module.__dict__)
        except BaseException as error:
            del sys.modules[name]
            if not isinstance(error, Exception):
                raise
            line = (
                error.lineno if isinstance(error, SyntaxError) else traceback.extract_tb(error.__traceback__)[-1].lineno
            )
            raise DeclarationError(
                f"{module_name}.py does not run: {type(error).__name__} at line {line}: {error}"
            ) from None
    found = getattr(module, function_name, None)
    if not callable(found):
        raise DeclarationError(
            f"features.builder={function!r}: {module_name}.py has no function {function_name!r}: define it there"
        )
    return found  # type: ignore[no-any-return]


def _where(error: Exception) -> str:
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"fails on a row with {type(error).__name__} at line {frame.lineno} of {frame.filename.rsplit('/', 1)[-1]}"


def _normalise(built: Mapping[str, Any], function: str | None) -> FeatureRow:
    features: FeatureRow = {}
    for name, value in built.items():
        kind = type(value)
        if kind is float:
            features[name] = value if -_BOUND <= value <= _BOUND else _bounded(value)
        elif kind is str or value is None:
            features[name] = value
        elif kind is bool:
            features[name] = float(value)
        elif kind is int:
            features[name] = float(value) if -_BOUND <= value <= _BOUND else _bounded_int(value)
        elif isinstance(value, date):
            features.update(_date_parts(name, value))
        else:
            features[name] = _unusual(name, value, function)
    if not _TEXT.issuperset(map(type, features)):
        raise DataError(f"{function} gives a feature whose name is no text: name features by str")
    return features


def _bounded(value: float) -> float | None:
    return math.copysign(_BOUND, value) if math.isfinite(value) else None


def _bounded_int(value: int) -> float:
    return float(max(-_BOUND, min(_BOUND, value)))


def _date_parts(name: str, value: date) -> dict[str, float]:
    parts = {f"{name}_weekday": float(value.weekday()), f"{name}_month": float(value.month)}
    return {f"{name}_hour": float(value.hour), **parts} if isinstance(value, datetime) else parts


def _unusual(name: str, value: Any, function: str | None) -> float | str | None:
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return _bounded_int(value)
    if isinstance(value, float | Decimal):
        number = float(value)
        return number if -_BOUND <= number <= _BOUND else _bounded(number)
    raise DataError(
        f"{function or 'the table'} gives feature {name!r} as a {type(value).__name__}: give a number, text, a bool, a "
        "datetime or None"
    )
