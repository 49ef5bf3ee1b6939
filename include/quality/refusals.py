"""What a person is told of refused rows: the most frequent reasons, and a few rows whose values are masked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.quality.masking import mask_rows
from include.quality.split_files import QUARANTINED
from include.workflow import Source

N_SAMPLES = 3
N_REASONS = 5


@dataclass(frozen=True, kw_only=True)
class Refusals:
    """Reasons with their number of rows, the most frequent first; rows by shape only."""

    reasons: Sequence[tuple[str, int]]
    samples: Sequence[Mapping[str, str]]


def describe_refusals(raw: pa.Table, split: pa.Table, source: Source) -> Refusals:
    """
    Count the reasons of refused rows and mask a few of them.

    Parameters
    ----------
    raw : Table of shape (n_rows, n_columns)
        The source's columns, and `source_position`.
    split : Table of shape (n_rows, 4)
        What became of each row, in the same order.
    source : Source
        Of a survey not even the shape of a value is shown.

    """
    found = pc.value_counts(pc.list_flatten(split["reasons"])).to_pylist()
    ordered = sorted(found, key=lambda reason: (-reason["counts"], reason["values"]))
    refused = pc.indices_nonzero(pc.equal(split["outcome"], QUARANTINED)).slice(0, N_SAMPLES)
    shown = raw.take(refused).append_column("reasons", split["reasons"].take(refused))
    hidden = [name for name in raw.column_names if name != "source_position"] if source.kind == "survey" else ()
    return Refusals(
        reasons=[(str(reason["values"]), int(reason["counts"])) for reason in ordered[:N_REASONS]],
        samples=mask_rows(shown, n=N_SAMPLES, hidden=hidden),
    )
