"""Rows and expectations that many quality tests need."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pyarrow as pa

from include.quality.gx import ExpectationConfiguration, validate

NOT_NULL = {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "is_late"}}
ROW_COUNT = {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}}


def with_positions(rows: pa.Table) -> pa.Table:
    """Rows as `raw` holds them."""
    return rows.append_column("source_position", pa.array(range(rows.num_rows), pa.int64()))


def replace_column(rows: pa.Table, name: str, values: list[Any]) -> pa.Table:
    """Replace a column's values, keeping its type."""
    index = rows.column_names.index(name)
    return rows.set_column(index, name, pa.array(values, rows.schema.field(name).type))


def changed(rows: pa.Table, name: str, values: dict[int, Any]) -> pa.Table:
    """Replace a column's values at some positions."""
    return replace_column(rows, name, [values.get(i, value) for i, value in enumerate(rows.column(name).to_pylist())])


def plain_success(expectation: dict[str, Any], frame: pd.DataFrame) -> bool:
    """What Great Expectations by itself says: the control of a trap."""
    answers = validate(frame, [ExpectationConfiguration(**expectation)], {"result_format": "BASIC"})
    return all(answer.success for answer in answers)


def reasons_by_position(split: pa.Table) -> dict[int, list[str]]:
    """Reasons of the rows that have any."""
    rows = split.select(["source_position", "reasons"]).to_pylist()
    return {row["source_position"]: row["reasons"] for row in rows if row["reasons"]}
