"""A split as a file of the lake, named by the digest of its bytes."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from include.errors import CorruptDataError
from include.lake.digests import digest_bytes
from include.lake.files import get_file, put_file
from include.lake.store import Lake

OUTCOMES = PUBLISHED, QUARANTINED, DUPLICATE = "published", "quarantined", "duplicate"
SPLIT_SCHEMA = pa.schema(
    [
        ("source_position", pa.int64()),
        ("outcome", pa.string()),
        ("reasons", pa.list_(pa.string())),
        ("row_id", pa.string()),
    ]
)


def count_outcome(split: pa.Table, outcome: str) -> int:
    """Count the rows of one outcome in a split's table."""
    return int(pc.sum(pc.equal(split.column("outcome"), outcome)).as_py() or 0)


def store_split(lake: Lake, workflow_name: str, partition_key: str, split: pa.Table) -> tuple[str, str]:
    """Store a split; return its URI and its digest, which is its name."""
    buffer = io.BytesIO()
    pq.write_table(split, buffer, compression="zstd", use_dictionary=["outcome", "reasons"])
    digest = digest_bytes(buffer.getvalue())
    return put_file(lake, _path(workflow_name, partition_key, digest), buffer.getvalue()), digest


def load_split(lake: Lake, workflow_name: str, partition_key: str, digest: str) -> pa.Table:
    """
    Read a split back.

    Raises
    ------
    CorruptDataError
        If its bytes are not those that were stored.

    """
    path = _path(workflow_name, partition_key, digest)
    data = get_file(lake, path)
    if digest_bytes(data) != digest:
        raise CorruptDataError(
            f"split {path!r} was changed after validation: run the validation of {partition_key!r} again"
        )
    return pq.read_table(io.BytesIO(data), schema=SPLIT_SCHEMA)


def _path(workflow_name: str, partition_key: str, digest: str) -> str:
    return f"{workflow_name}/_splits/{partition_key}/{digest}.parquet"
