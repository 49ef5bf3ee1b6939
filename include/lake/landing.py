"""
Landing tables: what sources said, appended as it came, each batch exactly once.

A batch has a name. Its commit carries a Delta transaction of that name, so that a batch which is handed in again (after
a crash, a lost acknowledgement, a retry) is not appended twice, and of two writers that hand it in at once one appends
it.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

import pyarrow as pa
from deltalake import CommitProperties, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from include.errors import ConcurrentWriteError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.readers import check_partition_key
from include.lake.schemas import PARTITION_COLUMN, lake_schema
from include.lake.store import Lake, open_or_create_table, open_table, table_exists

ATTEMPTS = 20
MAX_COMMIT_RETRIES = 100


@dataclass(frozen=True, kw_only=True)
class Watermark:
    """
    How far a source has been read, committed with the rows that it speaks of: microseconds since 1970 (UTC), which only
    grow.
    """

    name: str
    value: int


def read_watermark(lake: Lake, table: str, name: str) -> int | None:
    """How far a source has been read: microseconds since 1970, UTC; None if it never was."""
    return open_table(lake, table).transaction_version(f"watermark:{name}") if table_exists(lake, table) else None


def append_batch(
    lake: Lake, table: str, rows: pa.Table, *, partition_key: str, batch_id: str, watermark: Watermark | None = None
) -> bool:
    """
    Append rows to one partition of a landing table, in one commit, once per `batch_id`.

    Parameters
    ----------
    lake, table
        Where to; the table is created if there is none.
    rows : Table of shape (n_rows, n_columns)
        Without `partition_key`; of the same columns each time.
    partition_key : str
        Where the rows lie: landing tables are cut by the time of arrival.
    batch_id : str
        Names the batch; any text.
    watermark : Watermark, optional
        Moves in the same commit. Of two writers that would move it from the same state, one commits.

    Returns
    -------
    bool
        False if the batch was there already, or has no rows.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.
    DataError
        If a column has no type that the lake can store.

    """
    if not rows.num_rows:
        return False
    app_id = f"batch:{digest_bytes(batch_id.encode())[:32]}"
    schema = lake_schema(rows.schema)
    keys = pa.array([check_partition_key(partition_key)] * rows.num_rows, pa.string())
    data = rows.cast(schema).append_column(PARTITION_COLUMN, keys)
    for attempt in range(ATTEMPTS):
        delta = open_or_create_table(lake, table, data.schema, partition_by=PARTITION_COLUMN)
        if delta.transaction_version(app_id) is not None:
            return False
        crash_point("append_batch.before_commit")
        moved = [] if watermark is None else [Transaction(f"watermark:{watermark.name}", watermark.value)]
        properties = CommitProperties(
            app_transactions=[Transaction(app_id, 1), *moved], max_commit_retries=MAX_COMMIT_RETRIES
        )
        try:
            write_deltalake(delta, data, mode="append", commit_properties=properties)
        except CommitFailedError:
            time.sleep(random.uniform(0, min(1.0, 0.02 * 2**attempt)))
            continue
        crash_point("append_batch.after_commit")
        return True
    raise ConcurrentWriteError(f"{table!r} was changed by others at each of {ATTEMPTS} attempts: run again")
