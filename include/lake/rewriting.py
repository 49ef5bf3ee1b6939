"""
Rewrite a partition from its own rows: to compact it, or to take rows out of it.

The commit goes through only on top of the very files that were read. If others have changed the partition meanwhile, it
is read again: nothing that they wrote is lost. The rows keep the moment at which they were written: nothing has landed
anew.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from include.errors import ConcurrentWriteError
from include.lake.crash_points import crash_point
from include.lake.partitions import stage_rows
from include.lake.readers import check_partition_key, delta_schema, partition_app_id, partition_dataset, scan_batches
from include.lake.schemas import PARTITION_COLUMN
from include.lake.spool import spooled
from include.lake.store import Lake, open_table

ATTEMPTS = 50
LONGEST_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """
    What became of a partition; `digest` and `version` are those of the new content, None where nothing
    was written.
    """

    n_before: int
    n_after: int
    version: int | None = None
    digest: str | None = None


def rewrite_partition(
    lake: Lake,
    table: str,
    partition_key: str,
    change: Callable[[pa.Table], pa.Table | None],
    *,
    token: int | None = None,
) -> Rewrite:
    """
    Replace a partition by what `change` makes of its rows, unless others change it at the same time: then look again.

    Parameters
    ----------
    lake, table, partition_key
        What to rewrite.
    change : callable
        From all rows to the rows to keep; None leaves the partition as it is. It may be called several times.
    token : int, optional
        Fences the tries that began before: they can't write the partition any more. Without it they can, over this
        rewrite.

    Raises
    ------
    PartitionNotFoundError
        If the partition was never written.
    ConcurrentWriteError
        If others changed the partition at each attempt.

    """
    key = check_partition_key(partition_key)
    for attempt in range(ATTEMPTS):
        delta = open_table(lake, table)
        columns = [name for name in delta_schema(delta).names if name != PARTITION_COLUMN]
        dataset = partition_dataset(lake, delta, table=table, partition_key=key)
        rows = pa.Table.from_batches(scan_batches(dataset, columns), schema=delta_schema(delta, columns))
        changed = change(rows)
        if changed is None:
            return Rewrite(n_before=rows.num_rows, n_after=rows.num_rows)
        with spooled(changed, stored=delta_schema(delta)) as spool:
            crash_point("rewrite_partition.before_write")
            actions = stage_rows(lake, table, key, spool, written_ms=_written_ms(delta, key))
            crash_point("rewrite_partition.before_commit")
            version = _commit_on_top(lake, table, key, delta=delta, actions=actions, token=token)
            if version is not None:
                crash_point("rewrite_partition.after_commit")
                return Rewrite(n_before=rows.num_rows, n_after=spool.n_rows, version=version, digest=spool.digest)
        _pause(attempt)
    raise ConcurrentWriteError(
        f"partition {key!r} of {table!r} was changed by others at each of {ATTEMPTS} attempts: run again"
    )


def _commit_on_top(
    lake: Lake, table: str, key: str, *, delta: DeltaTable, actions: list[AddAction], token: int | None
) -> int | None:
    """Commit, as long as the partition's files are those that were read; return the table's version then, or None."""
    read = _files(delta, key)
    for attempt in range(ATTEMPTS):
        recorded = delta.transaction_version(partition_app_id(key))
        tokens = [number for number in (recorded, token) if number is not None]
        transactions = [Transaction(partition_app_id(key), max(tokens))] if tokens else []
        try:
            delta.create_write_transaction(
                actions,
                mode="overwrite",
                schema=delta.schema(),
                partition_by=[PARTITION_COLUMN],
                partition_filters=[(PARTITION_COLUMN, "=", key)],
                commit_properties=CommitProperties(app_transactions=transactions, max_commit_retries=0),
            )
        except CommitFailedError:
            delta = open_table(lake, table)
            if _files(delta, key) != read:
                return None
            _pause(attempt)
            continue
        return int(open_table(lake, table).version())
    return None


def _files(delta: DeltaTable, key: str) -> frozenset[str]:
    return frozenset(delta.file_uris(file_pruning_predicate=[(PARTITION_COLUMN, "=", key)]))


def _written_ms(delta: DeltaTable, key: str) -> int | None:
    """When the newest of the partition's files was written."""
    files = pa.table(delta.get_add_actions(flatten=True))
    if not files.num_rows:
        return None
    newest: int | None = pc.max(
        files.filter(pc.field(f"partition.{PARTITION_COLUMN}") == key)["modification_time"]
    ).as_py()
    return newest


def _pause(attempt: int) -> None:
    time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt)))
