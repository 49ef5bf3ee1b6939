"""
k-anonymity: quasi-identifiers that too few respondents share are suppressed; where that does not help, the row is
refused.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from include.lake.cells import is_in_small_cell
from include.sources.placement import ERROR_COLUMN, NAME_COLUMN
from include.workflow import SurveySource
from include.workflow.source import Cells


def too_few(k: int) -> str:
    """Why a row is refused."""
    return f"privacy: fewer than {k} respondents share its quasi-identifiers"


def suppress(rows: pa.Table, cells: Cells, *, among: pa.ChunkedArray | pa.Array) -> tuple[pa.Table, pa.Array]:
    """
    Null the quasi-identifiers of small cells.

    Returns
    -------
    rows : Table of shape (n_rows, n_columns)
    still_small : Array of bool, of shape (n_rows,)
        Rows that are in a small cell even so: too few were suppressed.

    """
    counted = among.to_numpy(zero_copy_only=False) if isinstance(among, pa.Array) else among.to_numpy()
    rule = {"respondent": cells.respondent, "k": cells.k, "among": counted}
    is_small = pa.array(is_in_small_cell(rows, cells.columns, **rule))
    for name in cells.columns:
        column = rows.column(name)
        rows = rows.set_column(
            rows.column_names.index(name), name, pc.if_else(is_small, pa.scalar(None, column.type), column)
        )
    return rows, pa.array(is_in_small_cell(rows, cells.columns, **rule))


def enforce_k(rows: pa.Table, source: SurveySource) -> pa.Table:
    """
    Make each cell of a landed partition one of k respondents or more.

    Rows that were refused before do not count. A row that can't be hidden among others, suppressed or not, is refused:
    it keeps nothing but its times.
    """
    cells = source.cells
    if cells is None:
        return rows
    rows, still_small = suppress(rows, cells, among=rows.column(ERROR_COLUMN).is_null())
    kept = {source.event_time, source.known_time, NAME_COLUMN}
    for position, name in enumerate(rows.column_names):
        column = rows.column(name)
        if name == ERROR_COLUMN:
            rows = rows.set_column(position, name, pc.if_else(still_small, too_few(cells.k), column))
        elif name not in kept:
            rows = rows.set_column(position, name, pc.if_else(still_small, pa.scalar(None, column.type), column))
    return rows
