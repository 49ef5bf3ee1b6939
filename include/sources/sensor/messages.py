"""The table `<name>/messages`: what the broker delivered, as it came, by the partition of its arrival."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import groupby

import pyarrow as pa

from include.lake.digests import digest_bytes
from include.lake.landing import append_batch
from include.lake.partitions import list_partitions, scan_partition
from include.lake.store import Lake, table_exists, table_version
from include.sources.sensor.session import Received
from include.sources.times import UTC_TIMESTAMP
from include.workflow import Workflow
from include.workflow.partitions import key_of_moment

SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("payload", pa.binary()),
        ("payload_bytes", pa.int64()),
        ("payload_digest", pa.string()),
        ("qos", pa.int16()),
        ("is_retained", pa.bool_()),
        ("is_redelivery", pa.bool_()),
        ("received_at", UTC_TIMESTAMP),
    ]
)


def messages_table(workflow: Workflow) -> str:
    """Name of the landing table."""
    return f"{workflow.name}/messages"


def land(messages: Sequence[Received], *, workflow: Workflow, lake: Lake) -> None:
    """Append messages, in the order of their arrival: one commit for each partition of arrival, mostly one."""
    for key, group in groupby(
        messages, key=lambda message: key_of_moment(workflow.partition.every, message.received_at)
    ):
        # Each delivery is a batch of its own: what is delivered again is seen, and counted, when rows are made.
        append_batch(
            lake, messages_table(workflow), _table(list(group)), partition_key=key, batch_id=secrets.token_hex(16)
        )


def scan_arrivals(
    workflow: Workflow, *, start: datetime, end: datetime | None = None, lake: Lake
) -> Iterator[pa.Table]:
    """
    Yield what arrived in the partitions that overlap `[start, end]`, oldest first, from one version of the table, piece
    by piece.
    """
    table = messages_table(workflow)
    if not table_exists(lake, table):
        return
    every = workflow.partition.every
    first, last = key_of_moment(every, start), None if end is None else key_of_moment(every, end)
    version = table_version(lake, table)
    for key in list_partitions(lake, table, version=version):
        if key >= first and (last is None or key <= last):
            for batch in scan_partition(lake, table, key, version=version):
                yield pa.Table.from_batches([batch])


def _table(messages: Sequence[Received]) -> pa.Table:
    columns = {
        "topic": [message.topic for message in messages],
        "payload": [message.payload for message in messages],
        "payload_bytes": [message.payload_bytes for message in messages],
        # Of what was too large to keep, the size stands for the content.
        "payload_digest": [
            None if message.payload is None else digest_bytes(message.payload)[:32] for message in messages
        ],
        "qos": [message.qos for message in messages],
        "is_retained": [message.is_retained for message in messages],
        "is_redelivery": [message.is_redelivery for message in messages],
        "received_at": [message.received_at for message in messages],
    }
    return pa.table(columns, schema=SCHEMA)
