"""A quarantined partition for a person's eyes: reasons with their number of rows, and the first rows, masked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import CorruptDataError, PartitionNotFoundError, TableNotFoundError
from include.lake.ledger import RunRecord
from include.lake.readers import scan_partition
from include.lake.store import Lake
from include.quality.masking import mask_rows
from include.workflow import Workflow

# Said of every row alike, or of none: whose hash it is, and who put it there.
_NOT_SHOWN = ("row_id", "run_id")
_READABLE = ("reasons", "source_position")


@dataclass(frozen=True, kw_only=True)
class Quarantine:
    """
    Reasons, the most frequent first; some rows by the shape of their values, and for each the run that
    put it there.
    """

    reasons: Sequence[tuple[str, int]]
    rows: Sequence[Mapping[str, str]]
    run_ids: Sequence[str]


def read_quarantine(
    lake: Lake, workflow: Workflow, line: RunRecord, *, n_rows: int, reason: str | None = None
) -> Quarantine:
    """
    Read what a partition's quarantine holds, as of its latest publication.

    Parameters
    ----------
    lake, workflow
        Whose rows. Of a survey not even the shape of a value is shown.
    line : RunRecord
        The partition's latest line in the ledger.
    n_rows : int
        How many rows to show at most; the partition is streamed, and never held as a whole.
    reason : str, optional
        Show rows that have this reason. The counts are those of all rows.

    """
    try:
        return _read(lake, workflow, line.partition_key, version=line.quarantine_version, n_rows=n_rows, reason=reason)
    except (CorruptDataError, PartitionNotFoundError, TableNotFoundError):
        # Somebody was erased since, and the old version with them.
        return _read(lake, workflow, line.partition_key, version=None, n_rows=n_rows, reason=reason)


def _read(
    lake: Lake, workflow: Workflow, key: str, *, version: int | None, n_rows: int, reason: str | None
) -> Quarantine:
    table = f"{workflow.name}/quarantine"
    counts: Counter[str] = Counter()
    for batch in scan_partition(lake, table, key, version=version, columns=["reasons"]):
        for found in pc.value_counts(batch.column(0).flatten()).to_pylist():
            counts[str(found["values"])] += found["counts"]
    rows = _first_rows(scan_partition(lake, table, key, version=version), n_rows=n_rows, reason=reason)
    shown = rows.drop_columns([name for name in _NOT_SHOWN if name in rows.column_names])
    hidden = [name for name in shown.column_names if name not in _READABLE] if workflow.source.kind == "survey" else []
    return Quarantine(
        reasons=sorted(counts.items(), key=lambda item: (-item[1], item[0])),
        rows=mask_rows(shown, n=n_rows, hidden=hidden),
        run_ids=rows.column("run_id").to_pylist(),
    )


def _first_rows(batches: pa.RecordBatchReader, *, n_rows: int, reason: str | None) -> pa.Table:
    parts, n_found = [batches.schema.empty_table()], 0
    for batch in batches:
        part = pa.Table.from_batches([batch])
        if reason is not None:
            part = part.take(_rows_with(batch.column("reasons"), reason))
        parts.append(part.slice(0, n_rows - n_found))
        n_found += parts[-1].num_rows
        if n_found >= n_rows:
            break
    return pa.concat_tables(parts)


def _rows_with(reasons: pa.ListArray, reason: str) -> pa.Array:
    return pc.unique(pc.list_parent_indices(reasons).filter(pc.equal(reasons.flatten(), reason)))
