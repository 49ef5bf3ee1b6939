"""A small workflow of weather stations, and readings of theirs whose truth is known."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from include.lake.digests import digest_bytes
from include.lake.landing import append_batch
from include.lake.store import Lake
from include.sources.kinds import open_rows
from include.sources.sensor.messages import SCHEMA, messages_table
from include.workflow import Partition, Quality, SensorSource, Workflow
from include.workflow.partitions import key_of_moment, window_of_key, windows_between
from tests.factories import declare_workflow

FIELDS = {"station": "text", "sequence": "integer", "measured_at": "timestamp", "pm25": "number"}
SUITE: dict[str, Any] = {
    "name": "stations",
    "expectations": [
        {"type": "expect_column_values_to_be_between", "kwargs": {"column": "pm25", "min_value": 0, "max_value": 1000}}
    ],
    "meta": {},
}
DAY = datetime(2026, 1, 5, tzinfo=UTC)


def declare(
    folder: Path, *, start: date = date(2026, 1, 5), max_quarantined: float | None = 0.5, **changes: Any
) -> Workflow:
    parts: dict[str, Any] = {
        "conn_id": "stations",
        "topics": ("stations/+",),
        "fields": FIELDS,
        "device": "station",
        "sequence": "sequence",
        "event_time": "measured_at",
        "key": ("station", "measured_at"),
        "idle_seconds": 0.8,
        "max_seconds": 30,
    }
    return declare_workflow(
        folder,
        name="stations",
        suite=SUITE,
        source=SensorSource(**{**parts, **changes}),
        partition=Partition(every="day", start=start),
        quality=Quality(max_quarantined=max_quarantined),
    )


def reading(number: int, *, station: str = "north", start: datetime = DAY, **changes: Any) -> dict[str, Any]:
    """The number-th reading of a station that sends every ten minutes."""
    at = start + timedelta(minutes=10 * number)
    return {
        "station": station,
        "sequence": number,
        "measured_at": at.isoformat(),
        "pm25": float(number % 300),
        **changes,
    }


def land_at(
    lake: Lake,
    workflow: Workflow,
    arrivals: list[tuple[datetime, bytes]],
    *,
    batch: str = "a",
    topic: str = "stations/x",
) -> None:
    """Land payloads as if they had arrived then, in the given order."""
    by_key: dict[str, list[tuple[datetime, bytes]]] = {}
    for at, payload in arrivals:
        by_key.setdefault(key_of_moment(workflow.partition.every, at), []).append((at, payload))
    for key, group in by_key.items():
        rows = [
            {
                "topic": topic,
                "payload": payload,
                "payload_bytes": len(payload),
                "payload_digest": digest_bytes(payload)[:32],
                "qos": 1,
                "is_retained": False,
                "is_redelivery": False,
                "received_at": at,
            }
            for at, payload in group
        ]
        table = pa.Table.from_pylist(rows, schema=SCHEMA)
        append_batch(lake, messages_table(workflow), table, partition_key=key, batch_id=f"{batch} {key}")


def landed_payloads(lake: Lake, workflow: Workflow) -> Counter[bytes]:
    """What the landing table's own files hold, without a reader of Updraft's."""
    folder = Path(lake.uri) / messages_table(workflow)
    if not folder.exists():
        return Counter()
    files = pa.table(DeltaTable(str(folder)).get_add_actions(flatten=True))["path"].to_pylist()
    return Counter(
        payload
        for file in files
        for payload in pq.ParquetFile(folder / file).read(columns=["payload"])["payload"].to_pylist()
    )


def rows_of(lake: Lake, workflow: Workflow, key: str) -> pa.Table:
    window = window_of_key(workflow.partition.every, key)
    with open_rows(workflow.source, workflow=workflow, window=window, connection_uri=None, lake=lake) as reader:
        return reader.read_all()


def all_rows(lake: Lake, workflow: Workflow, *, until: datetime) -> dict[str, pa.Table]:
    """Rows of every partition from the workflow's start on."""
    keys = [window.key for window in windows_between(workflow.partition.every, workflow.start, until)]
    return {key: rows_of(lake, workflow, key) for key in keys}
