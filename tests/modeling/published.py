"""A lake with published parcels: what ingestion leaves behind, written with the lake's own functions."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.lake.fencing import new_token
from include.lake.ledger import RunRecord, append_run
from include.lake.partitions import PartitionCommit, replace_partition
from include.lake.store import Lake
from include.workflow import Training, Workflow
from tests.factories import START, days, declare_workflow, parcel_rows

N_DAYS = 6
AS_OF = START + timedelta(days=N_DAYS)  # 4 days to fit on (the last to choose on), 2 days to judge on


def declare_short(folder: Path, **changes: Any) -> Workflow:
    """Declare parcels with a window of days: few commits make a history."""
    training = Training(window="4 days", validation="1 day", test="2 days", minimum_rows=100)
    return declare_workflow(folder, **{"training": training, **changes})


def validated(rows: pa.Table) -> pa.Table:
    """Rows of the source with the columns that validation adds."""
    ids = [hashlib.sha256(str(value).encode()).hexdigest()[:32] for value in rows["parcel_id"].to_pylist()]
    rows = rows.append_column("row_id", pa.array(ids, pa.string()))
    rows = rows.append_column("event_time", rows["sent_at"]).append_column("known_time", rows["recorded_at"])
    return rows.append_column("source_position", pa.array(range(rows.num_rows), pa.int64()))


def publish(workflow: Workflow, lake: Lake, day: datetime, rows: pa.Table) -> PartitionCommit:
    """Commit one day's validated rows and its line in the ledger."""
    commit = write_rows(workflow, lake, day, rows)
    append_run(lake, run_record(workflow, commit))
    return commit


def write_rows(workflow: Workflow, lake: Lake, day: datetime, rows: pa.Table) -> PartitionCommit:
    """Commit one day's validated rows, without the line in the ledger that makes it official."""
    return replace_partition(lake, f"{workflow.name}/validated", day.strftime("%Y-%m-%d"), rows, token=new_token())


def run_record(workflow: Workflow, commit: PartitionCommit) -> RunRecord:
    """Line of the ledger for a commit."""
    return RunRecord(
        workflow=workflow.name,
        partition_key=commit.partition_key,
        run_id=f"run-{commit.version}",
        try_id="try",
        rows_in=commit.n_rows,
        rows_published=commit.n_rows,
        rows_quarantined=0,
        rows_duplicate=0,
        table_version=commit.version,
        quarantine_version=0,
        raw_version=0,
        digest=commit.digest,
        recorded_at=datetime.fromisoformat("2026-02-01T00:00:00+00:00") + timedelta(seconds=commit.version),
    )


def publish_days(workflow: Workflow, lake: Lake, which: Iterable[datetime] | None = None, *, n_rows: int = 60) -> None:
    """Publish parcels of several days (by default all six)."""
    for day in days(N_DAYS) if which is None else which:
        publish(workflow, lake, day, validated(parcel_rows(day=day, n_rows=n_rows)))
