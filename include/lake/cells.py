"""How many respondents share their values: what k-anonymity counts."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc


def is_in_small_cell(
    rows: pa.Table, columns: tuple[str, ...], *, respondent: str | None, k: int, among: np.ndarray
) -> np.ndarray:
    """
    Find the rows whose values in some columns are shared by too few respondents.

    Parameters
    ----------
    rows : Table of shape (n_rows, n_columns)
        Any rows; a null is a value like others.
    columns : tuple of str
        Rows that agree in all of them make a cell.
    respondent : str, optional
        The column that tells respondents apart: several rows of one count once. Without it, or where it is null, each
        row counts as one.
    k : int
        A cell of fewer respondents is small.
    among : ndarray of bool, of shape (n_rows,)
        Which rows count, and are looked at.

    Returns
    -------
    ndarray of bool, of shape (n_rows,)
        True for the rows of small cells.

    """
    result = np.zeros(rows.num_rows, dtype=bool)
    chosen = np.flatnonzero(among)
    if not len(chosen):
        return result
    cell = _codes(rows.take(pa.array(chosen)), columns)
    who = np.arange(len(chosen)) if respondent is None else _respondents(rows.column(respondent).take(pa.array(chosen)))
    width = int(who.max()) + 1
    cells_of_pairs = np.unique(cell * width + who) // width
    result[chosen] = (np.bincount(cells_of_pairs) < k)[cell]
    return result


def _codes(rows: pa.Table, columns: tuple[str, ...]) -> np.ndarray:
    """Number each combination of values, from 0 on."""
    codes = np.zeros(rows.num_rows, dtype=np.int64)
    for name in columns:
        own = _numbered(rows.column(name))
        # Renumbered after every column, so that the product never overflows.
        codes = np.unique(codes * (int(own.max()) + 1) + own, return_inverse=True)[1].reshape(-1)
    return codes


def _numbered(column: pa.ChunkedArray) -> np.ndarray:
    indices = column.combine_chunks().dictionary_encode(null_encoding="encode").indices
    numbers: np.ndarray = pc.fill_null(indices, len(column)).to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers


def _respondents(column: pa.ChunkedArray) -> np.ndarray:
    numbers = _numbered(column)
    missing = column.is_null().to_numpy()
    return np.where(missing, len(column) + 1 + np.arange(len(column)), numbers)
