"""
Replace a partition in one commit: complete, fenced, and only if something changed.

The rows go into one new data file, which no reader sees until a commit of the table's log names it in place of the
partition's former ones. Who may commit is settled by Delta's own conflict check: each commit names the partition's
transaction `partition:<key>`, with the writer's token as its version, and of two commits that name the same transaction
from the same state, the second is refused.
"""

from __future__ import annotations

import json
import random
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Field, Schema, Transaction
from deltalake.exceptions import CommitFailedError
from deltalake.transaction import AddAction

from include.errors import ConcurrentWriteError, CorruptDataError, LakeError, PartitionNotFoundError, StaleWriterError
from include.lake.crash_points import crash_point
from include.lake.digests import TableDigest
from include.lake.readers import (
    check_partition_key,
    delta_schema,
    list_partitions,
    partition_app_id,
    partition_dataset,
    read_partition,
    read_partitions,
    scan_batches,
    scan_partition,
)
from include.lake.schemas import PARTITION_COLUMN, lake_schema
from include.lake.spool import Spool, spooled
from include.lake.store import Lake, open_or_create_table, open_table, table_exists, upload_file

__all__ = [
    "PartitionCommit",
    "list_partitions",
    "read_partition",
    "read_partitions",
    "replace_partition",
    "scan_partition",
]

COMMIT_ATTEMPTS = 200
LONGEST_PAUSE_SECONDS = 0.25


@dataclass(frozen=True, kw_only=True)
class PartitionCommit:
    """
    What a table holds of a partition after `replace_partition`.

    `version` is the version of the table at which it was found or written; `digest` leaves out the ignored columns;
    `is_changed` tells whether anything was written.
    """

    table: str
    partition_key: str
    version: int
    digest: str
    n_rows: int
    is_changed: bool


def replace_partition(
    lake: Lake,
    table: str,
    partition_key: str,
    data: pa.Table | pa.RecordBatchReader,
    *,
    token: int,
    ignore_in_digest: Sequence[str] = (),
) -> PartitionCommit:
    """
    Make `data` the whole content of a partition, in one commit; write nothing if it already is.

    Parameters
    ----------
    lake, table, partition_key
        What to replace; the table is created if there is none.
    data : Table or RecordBatchReader
        The rows, without `partition_key`. No rows is a valid content. A stream is never held in memory as a whole.
    token : int
        From `new_token` or `token_of_try`: the newest try wins, an older one is refused.
    ignore_in_digest : sequence of str
        Columns that alone are no reason to write, such as `run_id`.

    Raises
    ------
    StaleWriterError
        If a newer try has written the partition.
    ConcurrentWriteError
        If another writer won the commit.
    DataError
        If a column has another type than the table's, or no type that the lake can store.

    """
    target = _Target(lake=lake, table=table, key=check_partition_key(partition_key), token=token)
    delta = open_table(lake, table) if table_exists(lake, table) else None
    stored = None if delta is None else delta_schema(delta)
    with spooled(data, stored=stored, ignore_in_digest=ignore_in_digest) as spool:
        crash_point("replace_partition.before_write")
        if delta is None:
            schema = spool.schema.append(pa.field(PARTITION_COLUMN, pa.string()))
            delta = open_or_create_table(lake, table, schema, partition_by=PARTITION_COLUMN)
        else:
            # Only the commits since: opening it anew reads its whole log.
            delta.update_incremental()
        target.check_token(delta)
        version = int(delta.version())
        is_changed = not _holds(target, delta, spool=spool, ignore_in_digest=ignore_in_digest)
        if is_changed:
            actions = stage_rows(lake, table, target.key, spool)
            crash_point("replace_partition.before_commit")
            version = _commit(target, delta, spool=spool, actions=actions)
            crash_point("replace_partition.after_commit")
    return PartitionCommit(
        table=table,
        partition_key=target.key,
        version=version,
        digest=spool.digest,
        n_rows=spool.n_rows,
        is_changed=is_changed,
    )


@dataclass(frozen=True, kw_only=True)
class _Target:
    """One partition, and the try that wants to write it."""

    lake: Lake
    table: str
    key: str
    token: int

    @property
    def app_id(self) -> str:
        return partition_app_id(self.key)

    def check_token(self, delta: DeltaTable) -> None:
        recorded = delta.transaction_version(self.app_id)
        if recorded is not None and self.token < recorded:
            raise StaleWriterError(
                f"partition {self.key!r} of {self.table!r} was written by a newer try (token {recorded}, this one has "
                f"{self.token}): nothing was written, and nothing need be: the newer try did the work"
            )


def _holds(target: _Target, delta: DeltaTable, *, spool: Spool, ignore_in_digest: Sequence[str]) -> bool:
    """Whether the partition is there and equal. It is read, so that a damaged one is written anew."""
    columns = delta_schema(delta).names
    if not set(spool.schema.names) <= set(columns):
        return False
    try:
        dataset = partition_dataset(target.lake, delta, table=target.table, partition_key=target.key)
        digest = TableDigest(ignore=[*ignore_in_digest, PARTITION_COLUMN])
        for batch in scan_batches(dataset, columns):
            digest.update(batch)
    except (PartitionNotFoundError, CorruptDataError):
        return False
    return digest.hexdigest() == spool.digest


def stage_rows(
    lake: Lake, table: str, partition_key: str, spool: Spool, *, written_ms: int | None = None
) -> list[AddAction]:
    """
    Put the rows beside the partition's files, unseen until a commit names them.

    `written_ms` is when the rows came to be there, in milliseconds since 1970, where that is not now.
    """
    if not spool.n_rows:
        return []
    # The folder's name is for people: readers take the key from the log. A colon would have to be escaped, twice.
    path = f"{partition_key.replace(':', '.')}/part-{secrets.token_hex(16)}.parquet"
    upload_file(lake, spool.path, f"{table}/{path}")
    written_ms = time.time_ns() // 1_000_000 if written_ms is None else written_ms
    statistics = json.dumps({"numRecords": spool.n_rows})
    return [AddAction(path, spool.path.stat().st_size, {PARTITION_COLUMN: partition_key}, written_ms, True, statistics)]


def _commit(target: _Target, delta: DeltaTable, *, spool: Spool, actions: list[AddAction]) -> int:
    first_seen = delta.transaction_version(target.app_id)
    for attempt in range(COMMIT_ATTEMPTS):
        # The table may have been widened since the spool was written: compare the types with the state that the commit
        # builds on.
        lake_schema(spool.schema, stored=delta_schema(delta))
        try:
            return _commit_once(target, delta, spool=spool, actions=actions)
        except CommitFailedError as error:
            delta = open_table(target.lake, target.table)
            target.check_token(delta)
            if delta.transaction_version(target.app_id) != first_seen:
                raise ConcurrentWriteError(
                    f"another writer changed partition {target.key!r} of {target.table!r} meanwhile: run again, to "
                    "build on its state"
                ) from error
            # It was another partition's commit, which Delta can't tell apart from this one's: the same commit is right
            # on top of it.
            time.sleep(random.uniform(0, min(LONGEST_PAUSE_SECONDS, 0.01 * 2**attempt)))
    raise ConcurrentWriteError(
        f"{target.table!r} was changed by others at each of {COMMIT_ATTEMPTS} attempts: run again"
    )


def _commit_once(target: _Target, delta: DeltaTable, *, spool: Spool, actions: list[AddAction]) -> int:
    commit_id = secrets.token_hex(16)
    properties = CommitProperties(
        app_transactions=[Transaction(target.app_id, target.token)],
        max_commit_retries=0,
        custom_metadata={"updraft_commit": commit_id, "updraft_digest": spool.digest},
    )
    known = delta.schema().fields
    names = {field.name for field in known}
    added = [Field.from_arrow(field) for field in spool.schema if field.name not in names]
    before = int(delta.version())
    delta.create_write_transaction(
        actions,
        mode="overwrite",
        schema=Schema([*known, *added]),
        partition_by=[PARTITION_COLUMN],
        partition_filters=[(PARTITION_COLUMN, "=", target.key)],
        commit_properties=properties,
    )
    return _version_of_commit(target, delta, commit_id, after=before)


def _version_of_commit(target: _Target, delta: DeltaTable, commit_id: str, *, after: int) -> int:
    """Find the version that a commit made: others may have come before and after it."""
    while True:
        delta.update_incremental()
        newest = int(delta.version())
        entries = delta.history(newest - after)
        # history() counts down from the version that was read, but also lists commits that came since: each would
        # shift the count.
        delta.update_incremental()
        if delta.version() == newest:
            break
    versions = [entry["version"] for entry in entries if entry.get("updraft_commit") == commit_id]
    if len(versions) != 1:
        raise LakeError(
            f"{target.table!r}: the log after version {after} does not show this writer's commit: was the table "
            "restored? Run again"
        )
    return int(versions[0])
