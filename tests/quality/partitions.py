"""Days of parcels, landed, judged and published: a history for the rules that look back."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.lake.fencing import new_token
from include.lake.ledger import RunRecord
from include.lake.partitions import PartitionCommit, replace_partition
from include.lake.store import Lake
from include.quality.publication import publish_partition
from include.quality.report import ValidationReport
from include.quality.validation import validate_partition
from include.workflow import Workflow
from tests.factories import START, declare_workflow, parcel_rows
from tests.quality.rows import with_positions

KEY = "2026-01-05"


def key_of(day: int) -> str:
    """Key of the day so many days after the first."""
    return (START + timedelta(days=day)).strftime("%Y-%m-%d")


def day_rows(day: int, n_rows: int = 40) -> pa.Table:
    """Valid parcels of that day."""
    return parcel_rows(day=START + timedelta(days=day), n_rows=n_rows)


def land(lake: Lake, rows: pa.Table, *, key: str = KEY) -> PartitionCommit:
    """Put rows in raw, as an extraction does."""
    return replace_partition(lake, "parcels/raw", key, with_positions(rows), token=new_token())


def declare(folder: Path, expectations: list[dict[str, Any]] | None = None, **changes: Any) -> Workflow:
    suite = None if expectations is None else {"name": "parcels", "expectations": expectations}
    return declare_workflow(folder / "declared", suite=suite, **changes)


def validate(
    lake: Lake,
    folder: Path,
    landed: PartitionCommit,
    *,
    expectations: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> ValidationReport:
    """Judge what was landed."""
    workflow = declare(folder, expectations, **changes)
    return validate_partition(workflow, landed.partition_key, lake=lake, raw_version=landed.version, run_id="test")


def publish(
    lake: Lake,
    folder: Path,
    rows: pa.Table,
    *,
    key: str = KEY,
    expectations: list[dict[str, Any]] | None = None,
    **changes: Any,
) -> RunRecord:
    """Land, judge and publish rows."""
    report = validate(lake, folder, land(lake, rows, key=key), expectations=expectations, **changes)
    return publish_partition(
        declare(folder, expectations, **changes), report, lake=lake, token=new_token(), run_id="test", try_id="t"
    )


def publish_days(lake: Lake, folder: Path, n_days: int, **changes: Any) -> None:
    """Publish valid days from the first on."""
    for day in range(n_days):
        publish(lake, folder, day_rows(day), key=key_of(day), **changes)
