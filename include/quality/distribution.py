"""
Population stability index (PSI) of a column beside what was published before.

Shares of bins that the past sets are compared. Both sides are counted with half a row more a bin, so that an empty bin
gives no infinity. Of two samples of one population the PSI is about chi-square distributed, with as many degrees of
freedom as bins less one, over the harmonic size of the samples (B. Yurdakul, Statistical Properties of Population
Stability Index, 2018): a small partition differs by chance alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from scipy.stats import chi2

from include.errors import DataError
from include.lake.readers import partition_dataset, scan_batches
from include.lake.store import open_table
from include.quality.history import Past

# Bounds on what is read: so many rows in all, evenly taken from so many partitions at most.
MAX_ROWS = 100_000
MAX_PARTITIONS = 60
N_BINS = 10
MAX_CATEGORIES = 20
# How often chance alone may exceed what is allowed to chance.
CHANCE = 0.001


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """PSI in nats, >= 0; `chance` is what two samples of this size exceed once in a thousand times."""

    psi: float
    chance: float
    n_current: int
    n_reference: int
    n_partitions: int


def compare_distribution(column: pa.ChunkedArray, *, name: str, past: Past) -> Comparison:
    """
    Compare a column with its past.

    Parameters
    ----------
    column : ChunkedArray of shape (n_rows,)
        Numbers, flags or texts; nulls are a bin of their own.
    name : str
        The column's name in what is published.
    past : Past
        The declared history is read, a bounded sample of it.

    Raises
    ------
    DataError
        If the column holds something else.

    """
    current = _sampled(column, step=_step(len(column)))
    parts = _read_samples(past, name)
    reference = pa.chunked_array(parts, column.type) if parts else pa.chunked_array([], column.type)
    n_current, n_reference = len(current), len(reference)
    if not n_current or not n_reference:
        return Comparison(psi=0.0, chance=0.0, n_current=n_current, n_reference=n_reference, n_partitions=len(parts))
    before, now = _count_bins(reference, current, name=name)
    chance = float(chi2.ppf(1 - CHANCE, max(len(before) - 1, 1))) * (1 / n_current + 1 / n_reference)
    psi = population_stability_index(before, now)
    return Comparison(psi=psi, chance=chance, n_current=n_current, n_reference=n_reference, n_partitions=len(parts))


def population_stability_index(reference: np.ndarray, current: np.ndarray) -> float:
    """
    Compare two samples' counts in the same bins.

    Parameters
    ----------
    reference, current : ndarray of int, of shape (n_bins,)
        Rows in each bin.

    Returns
    -------
    float
        PSI, in nats, >= 0. Equal shares give 0.

    """
    before, now = ((counts + 0.5) / (counts.sum() + 0.5 * len(counts)) for counts in (reference, current))
    return float(np.sum((now - before) * np.log(now / before)))


def _step(n_rows: int) -> int:
    """Every how-manieth row to take, so that at most MAX_ROWS are taken."""
    return max(1, -(-n_rows // MAX_ROWS))


def _sampled(column: pa.ChunkedArray, *, step: int) -> pa.ChunkedArray:
    return column if step == 1 else column.take(pa.array(np.arange(0, len(column), step)))


def _read_samples(past: Past, name: str) -> list[pa.Array]:
    """
    Every so-manieth value of the published partitions, one array each; a partition that came without the column has
    none.
    """
    recent = past.recent
    chosen = (
        [recent[i] for i in np.unique(np.linspace(0, len(recent) - 1, MAX_PARTITIONS).astype(int))] if recent else []
    )
    step = _step(sum(partition.rows_published for partition in chosen))
    table = f"{past.workflow.name}/validated"
    delta = open_table(past.lake, table)
    samples = []
    for partition in chosen:
        dataset = partition_dataset(past.lake, delta, table=table, partition_key=partition.key)
        if all(name in fragment.physical_schema.names for fragment in dataset.get_fragments()):
            taken = [
                batch.column(0).take(pa.array(np.arange(0, len(batch), step)))
                for batch in scan_batches(dataset, [name])
            ]
            samples.extend([pa.concat_arrays(taken)] if taken else [])
    return samples


def _count_bins(reference: pa.ChunkedArray, current: pa.ChunkedArray, *, name: str) -> tuple[np.ndarray, np.ndarray]:
    kind = reference.type
    if pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind):
        return _count_ranges(_numbers(reference), _numbers(current))
    if pa.types.is_boolean(kind) or pa.types.is_string(kind):
        return _count_categories(reference, current)
    raise DataError(
        f"column {name!r} holds {kind}, whose distribution is not compared: name a column of numbers, flags or texts"
    )


def _numbers(column: pa.ChunkedArray) -> np.ndarray:
    return np.asarray(column.cast(pa.float64()).to_numpy(), dtype=float)


def _count_ranges(reference: np.ndarray, current: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count in ranges of about equal numbers of reference rows; what is no number is a bin of its own, the last."""
    numbers = reference[~np.isnan(reference)]
    edges = np.unique(np.quantile(numbers, np.linspace(0, 1, N_BINS + 1)[1:-1])) if len(numbers) else np.zeros(0)
    n_bins = len(edges) + 2
    codes = (
        np.where(np.isnan(values), n_bins - 1, np.searchsorted(edges, values, side="left"))
        for values in (reference, current)
    )
    before, now = (np.bincount(code, minlength=n_bins) for code in codes)
    return before, now


def _count_categories(reference: pa.ChunkedArray, current: pa.ChunkedArray) -> tuple[np.ndarray, np.ndarray]:
    """Count the past's commonest values, all others together, and nulls."""
    counted = pc.value_counts(pc.drop_null(reference))
    order = np.argsort(-counted.field("counts").to_numpy(), kind="stable")[:MAX_CATEGORIES]
    values = counted.field("values").take(pa.array(order))
    n_bins = len(values) + 2
    codes = [pc.fill_null(pc.index_in(column, values), n_bins - 2).to_numpy() for column in (reference, current)]
    is_null = [column.is_null().to_numpy() for column in (reference, current)]
    before, now = (
        np.bincount(np.where(null, n_bins - 1, code), minlength=n_bins)
        for code, null in zip(codes, is_null, strict=True)
    )
    return before, now
