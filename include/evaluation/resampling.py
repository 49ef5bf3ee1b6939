"""
Resamples as counts: how often each row was drawn.

Drawing rows with replacement is the same as weighting each row by how often it was drawn (B. Efron and R. J.
Tibshirani, An Introduction to the Bootstrap, 1993, chapter 20), so nothing is copied or sorted again. Rows that follow
each other in time depend on each other, and resampling them one by one would make every interval too narrow: there,
whole stretches of time are drawn (H. R. Künsch, The jackknife and the bootstrap for general stationary observations,
1989), on a circle, so that the first and last rows are drawn as often as the others.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtri, stdtrit

from include.errors import DataError

FloatArray = npt.NDArray[np.float64]

MIN_BLOCKS = 5  # fewer stretches of time tell nothing of how much one differs from the next
_CHUNK_CELLS = 250_000  # weights held at once: 2 MB, so that a chunk stays in the cache
_KEPT_CELLS = 2_000_000  # of counts that are kept for the next question about as many rows, one byte each


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """
    Rows in the order of time, cut into stretches.

    `order` (n_rows,) sorts the caller's rows by time; a stretch is `length` rows long, about as many as one block of
    time holds.
    """

    order: npt.NDArray[np.intp]
    length: int

    @property
    def n_blocks(self) -> int:
        """How many stretches the rows are long."""
        return math.ceil(len(self.order) / self.length)

    def widening(self, level: float) -> float:
        """
        By what to widen a resampled distribution, because its spread was estimated from few blocks.

        Student's quantile in place of the normal one, and n/(n-1) for the variance: what a t-test of block means would
        do.
        """
        n = self.n_blocks
        if n < 2:
            return 1.0
        return float(math.sqrt(n / (n - 1)) * stdtrit(n - 1, 1 - level) / ndtri(1 - level))


def cut_blocks(times: Any, block: timedelta) -> Blocks:
    """
    Cut rows into stretches of about equal time.

    Parameters
    ----------
    times : array-like of datetime64, of shape (n_rows,)
        When each row's event took place.
    block : timedelta
        Length of a stretch.

    Raises
    ------
    DataError
        If a time is missing, or there is no row.

    """
    moments = np.asarray(times, dtype="datetime64[us]")
    if not len(moments) or np.isnat(moments).any():
        raise DataError("blocks of time need a time for each row, and at least one row: give event_time")
    order = np.argsort(moments, kind="stable")
    span = (moments[order[-1]] - moments[order[0]]) / np.timedelta64(block)
    n_blocks = max(1, math.floor(span) + 1)
    return Blocks(order=order, length=max(1, round(len(moments) / n_blocks)))


def resample_counts(
    n_rows: int, n_resamples: int, *, rng: np.random.Generator, blocks: Blocks | None = None
) -> Iterator[FloatArray]:
    """
    Draw n rows with replacement, `n_resamples` times. Yields chunks of shape (up to n_resamples, n_rows): how often
    each was drawn.
    """
    per_chunk = max(1, _CHUNK_CELLS // n_rows)
    for start in range(0, n_resamples, per_chunk):
        size = min(per_chunk, n_resamples - start)
        if blocks is None:
            cells = rng.integers(0, n_rows, size=(size, n_rows)) + np.arange(size)[:, None] * n_rows
            yield np.bincount(cells.ravel(), minlength=size * n_rows).reshape(size, n_rows).astype(np.float64)
        else:
            yield _draw_blocks(blocks, size, rng=rng)


def seeded_counts(
    n_rows: int, n_resamples: int, *, random_state: int, blocks: Blocks | None = None
) -> Iterator[FloatArray]:
    """
    As `resample_counts` from a seed. A gate asks many questions about the same number of rows: small ones are drawn
    once.
    """
    if blocks is not None or n_rows * n_resamples > _KEPT_CELLS:
        yield from resample_counts(n_rows, n_resamples, rng=np.random.default_rng(random_state), blocks=blocks)
        return
    kept = _kept_counts(n_rows, n_resamples, random_state)
    per_chunk = max(1, _CHUNK_CELLS // n_rows)
    for start in range(0, n_resamples, per_chunk):
        yield kept[start : start + per_chunk].astype(np.float64)


@lru_cache(maxsize=4)
def _kept_counts(n_rows: int, n_resamples: int, random_state: int) -> npt.NDArray[np.uint8]:
    chunks = resample_counts(n_rows, n_resamples, rng=np.random.default_rng(random_state))
    # A row is drawn once on average: 255 times never.
    return np.concatenate([chunk.astype(np.uint8) for chunk in chunks])


def _draw_blocks(blocks: Blocks, size: int, *, rng: np.random.Generator) -> FloatArray:
    """Lay stretches from random starts until there are as many rows as there were; the last one is cut."""
    n_rows, length = len(blocks.order), blocks.length
    starts = rng.integers(0, n_rows, size=(size, blocks.n_blocks))
    lengths = np.full(blocks.n_blocks, length)
    lengths[-1] = n_rows - length * (blocks.n_blocks - 1)
    # Each stretch adds one from its start to its end; those beyond the last row go on at the first.
    width = 2 * n_rows + 1
    starts += np.arange(size)[:, None] * width
    begun, ended = (np.bincount(places.ravel(), minlength=size * width) for places in (starts, starts + lengths))
    covered = np.cumsum((begun - ended).reshape(size, width), axis=1, dtype=np.float64)
    in_order = covered[:, :n_rows] + covered[:, n_rows : 2 * n_rows]
    counts = np.empty_like(in_order)
    counts[:, blocks.order] = in_order
    return counts
