"""Read partitions of Delta tables. A reader sees one version of a table: never half a commit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

import pyarrow as pa
import pyarrow.dataset as pads
from deltalake import DeltaTable

from include.errors import CorruptDataError, LakeError, PartitionError, PartitionNotFoundError
from include.lake.schemas import PARTITION_COLUMN
from include.lake.spool import BATCH_ROWS, POSITION_COLUMN
from include.lake.store import Lake, native_filesystem, open_table

PARTITION_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9:_=.-]*")
READ_AHEAD_BATCHES = 2
READ_BUFFER_BYTES = 2**20


def check_partition_key(partition_key: str) -> str:
    """
    Return the key, if it is one: what goes into predicates and paths is checked text.

    Raises
    ------
    PartitionError
        If it is not `^[A-Za-z0-9][A-Za-z0-9:_=.-]*$` of at most 200 characters.

    """
    if len(partition_key) > 200 or not PARTITION_KEY.fullmatch(partition_key):
        raise PartitionError(
            f"{partition_key[:200]!r} is no partition key: use letters, digits and : _ = . - only, as in 2026-01-05"
        )
    return partition_key


def read_partition(
    lake: Lake, table: str, partition_key: str, *, version: int | None = None, columns: Sequence[str] | None = None
) -> pa.Table:
    """
    Read one partition into memory.

    Parameters
    ----------
    lake, table, partition_key
        What to read.
    version : int, optional
        As of this version of the table; by default, the newest.
    columns : sequence of str, optional
        By default all but `partition_key`.

    Returns
    -------
    Table
        Ordered by `source_position`, if there is one. Of no rows, if the partition was written empty.

    Raises
    ------
    TableNotFoundError, PartitionNotFoundError
        If there is no such table or version, or the partition was never written.
    LakeError
        If the table has no such column.
    CorruptDataError
        If a file is gone, or its pages do not match their checksums.

    """
    return read_partitions(lake, table, [partition_key], version=version, columns=columns)


def read_partitions(
    lake: Lake,
    table: str,
    partition_keys: Sequence[str],
    *,
    version: int | None = None,
    columns: Sequence[str] | None = None,
) -> pa.Table:
    """
    Read several partitions of one version of a table, one after another in the order of `partition_keys`; else as
    `read_partition`.
    """
    delta = open_table(lake, table, version=version)
    wanted = _columns(delta, table, columns)
    extra = [POSITION_COLUMN] if POSITION_COLUMN in delta_schema(delta).names and POSITION_COLUMN not in wanted else []
    parts = []
    for partition_key in partition_keys:
        dataset = partition_dataset(lake, delta, table=table, partition_key=partition_key)
        part = pa.Table.from_batches(
            scan_batches(dataset, [*wanted, *extra]), schema=delta_schema(delta, [*wanted, *extra])
        )
        parts.append(part.sort_by(POSITION_COLUMN) if POSITION_COLUMN in part.schema.names else part)
    return pa.concat_tables(parts).select(wanted) if parts else delta_schema(delta, wanted).empty_table()


def scan_partition(
    lake: Lake, table: str, partition_key: str, *, version: int | None = None, columns: Sequence[str] | None = None
) -> pa.RecordBatchReader:
    """
    Stream one partition in batches of at most 65,536 rows, in the order in which it was written; else as
    `read_partition`.
    """
    delta = open_table(lake, table, version=version)
    wanted = _columns(delta, table, columns)
    dataset = partition_dataset(lake, delta, table=table, partition_key=partition_key)
    return pa.RecordBatchReader.from_batches(delta_schema(delta, wanted), scan_batches(dataset, wanted))


def list_partitions(lake: Lake, table: str, *, version: int | None = None) -> list[str]:
    """
    Return the keys of the partitions that hold rows, sorted.

    Raises
    ------
    TableNotFoundError
        If there is no such table or version.

    """
    return sorted(partition[PARTITION_COLUMN] for partition in open_table(lake, table, version=version).partitions())


def scan_batches(dataset: pads.Dataset, columns: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """
    Yield a dataset's batches file after file, with little read ahead, so that memory stays flat; raises
    CorruptDataError.
    """
    options = pads.ParquetFragmentScanOptions(
        # Delta asks for `pre_buffer`, which keeps a whole file's bytes until its last batch.
        pre_buffer=False,
        use_buffered_stream=True,
        buffer_size=READ_BUFFER_BYTES,
        page_checksum_verification=True,
    )
    for fragment in dataset.get_fragments():
        try:
            yield from fragment.to_batches(
                schema=dataset.schema,
                columns=list(columns),
                batch_size=BATCH_ROWS,
                batch_readahead=READ_AHEAD_BATCHES,
                fragment_readahead=1,
                fragment_scan_options=options,
            )
        except FileNotFoundError as error:
            raise CorruptDataError(
                f"the lake lacks the file {fragment.path}, which its table names: run the task that writes it again"
            ) from error
        except (pa.ArrowInvalid, OSError) as error:
            if not _tells_of_damage(error):
                raise
            raise CorruptDataError(
                f"the file {fragment.path} in the lake is damaged: run the task that writes it again"
            ) from error


def _tells_of_damage(error: Exception) -> bool:
    # An object store that does not answer is an OSError too.
    return isinstance(error, pa.ArrowInvalid) or any(
        word in str(error).lower() for word in ("crc", "corrupt", "deserializ", "thrift", "parquet")
    )


def partition_dataset(lake: Lake, delta: DeltaTable, *, table: str, partition_key: str) -> pads.Dataset:
    """
    Return the files of one partition, in the order in which they were written.

    Raises
    ------
    PartitionNotFoundError
        If it was never written.

    """
    key = check_partition_key(partition_key)
    dataset = delta.to_pyarrow_dataset(
        filesystem=native_filesystem(lake, table),
        file_pruning_predicate=[(PARTITION_COLUMN, "=", key)],
        schema=delta_schema(delta),
    )
    files = sorted(dataset.get_fragments(), key=lambda fragment: str(fragment.path))
    # A partition that was written empty has no file, but its token.
    if not files and delta.transaction_version(partition_app_id(key)) is None:
        raise PartitionNotFoundError(
            f"table {table!r} holds no partition {key!r} at version {delta.version()}: run the task that writes it"
        )
    return pads.FileSystemDataset(files, dataset.schema, dataset.format, dataset.filesystem)


def partition_app_id(partition_key: str) -> str:
    """Return the name under which Delta keeps the partition's last token."""
    return f"partition:{partition_key}"


def delta_schema(delta: DeltaTable, columns: Sequence[str] | None = None) -> pa.Schema:
    """Return a table's Arrow schema, with plain strings; or that of some of its columns."""
    schema = pa.schema(delta.schema().to_arrow())
    return schema if columns is None else pa.schema([schema.field(name) for name in columns])


def _columns(delta: DeltaTable, table: str, columns: Sequence[str] | None) -> list[str]:
    names = delta_schema(delta).names
    if columns is None:
        return [name for name in names if name != PARTITION_COLUMN]
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise LakeError(f"table {table!r} has no column {', '.join(map(repr, unknown))}: it has {', '.join(names)}")
    return list(columns)
