"""Archive one partition of a source in `<name>/raw`, as it came."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pyarrow as pa

from include.errors import PartitionError, TableNotFoundError
from include.lake.digests import digest_table
from include.lake.partitions import list_partitions, read_partition, replace_partition
from include.lake.store import Lake, table_version
from include.sources.kinds import CollectReport, collect, open_rows
from include.workflow import Workflow
from include.workflow.partitions import window_of_key

SOURCE_POSITION = "source_position"


@dataclass(frozen=True, kw_only=True)
class ExtractReport:
    """What was archived: the raw partition's version and digest, its rows, and whether anything changed."""

    table: str
    partition_key: str
    version: int
    digest: str
    n_rows: int
    is_changed: bool


def collect_partition(
    workflow: Workflow, partition_key: str, *, connection_uri: str | None, lake: Lake, token: int
) -> CollectReport:
    """
    Ask an `archived` source for what is new, and land it; nothing is parsed or published yet.

    Raises
    ------
    PartitionError
        If the key is malformed.
    SourceError
        If the source cannot be asked; what had landed by then stays.

    """
    window = window_of_key(workflow.partition.every, partition_key)
    return collect(
        workflow.source, workflow=workflow, window=window, connection_uri=connection_uri, lake=lake, token=token
    )


def extract_partition(
    workflow: Workflow,
    partition_key: str,
    *,
    connection_uri: str | None,
    lake: Lake,
    token: int,
    is_backfill: bool = False,
) -> ExtractReport:
    """
    Read one partition and archive it, in one commit; an unchanged partition is not written again.

    Parameters
    ----------
    workflow : Workflow
        Whose source to read.
    partition_key : str
        Which partition, for instance `2026-11-23`.
    connection_uri : str, optional
        Where the source is, if it needs a connection.
    lake : Lake
        Where `<name>/raw` is.
    token : int
        The try's fencing token: a newer try's data is never overwritten.
    is_backfill : bool
        Whether the partition's own time is over: a `forward_only` source is then not asked again, what it said stands.

    Raises
    ------
    PartitionError
        If the key is malformed, or a `forward_only` source was never read for it.
    SourceError
        If the source cannot be read; nothing is written then.
    LakeError
        If the lake refuses the commit.

    """
    window = window_of_key(workflow.partition.every, partition_key)
    table = f"{workflow.name}/raw"
    if is_backfill and workflow.source.replay == "forward_only":
        return _what_was_read(workflow, partition_key, lake=lake)
    with open_rows(
        workflow.source, workflow=workflow, window=window, connection_uri=connection_uri, lake=lake
    ) as reader:
        commit = replace_partition(lake, table, partition_key, _with_positions(reader), token=token)
    return ExtractReport(
        table=table,
        partition_key=partition_key,
        version=commit.version,
        digest=commit.digest,
        n_rows=commit.n_rows,
        is_changed=commit.is_changed,
    )


def _what_was_read(workflow: Workflow, partition_key: str, *, lake: Lake) -> ExtractReport:
    table = f"{workflow.name}/raw"
    try:
        is_there = partition_key in list_partitions(lake, table)
    except TableNotFoundError:
        is_there = False
    if not is_there:
        raise PartitionError(
            f"partition {partition_key!r} of {workflow.name!r} was never read, and its source keeps no history "
            "(source.replay is 'forward_only'): it can't be backfilled; later partitions are read as their time comes"
        )
    version = table_version(lake, table)
    rows = read_partition(lake, table, partition_key, version=version)
    return ExtractReport(
        table=table,
        partition_key=partition_key,
        version=version,
        digest=digest_table(rows),
        n_rows=rows.num_rows,
        is_changed=False,
    )


def _with_positions(reader: pa.RecordBatchReader) -> pa.RecordBatchReader:
    schema = reader.schema.append(pa.field(SOURCE_POSITION, pa.int64()))
    return pa.RecordBatchReader.from_batches(schema, _numbered(reader, schema))


def _numbered(reader: pa.RecordBatchReader, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
    n_rows = 0
    for batch in reader:
        positions = pa.array(range(n_rows, n_rows + batch.num_rows), pa.int64())
        n_rows += batch.num_rows
        yield pa.RecordBatch.from_arrays([*batch.columns, positions], schema=schema)
