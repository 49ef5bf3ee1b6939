"""What the publication tests run in processes of their own, to be killed there."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.errors import LakeError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_table
from include.lake.fencing import new_token
from include.lake.ledger import RunRecord, append_run, latest_run
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import Lake, open_lake
from include.quality.publication import publish_partition
from include.quality.replay import replay_partition
from include.quality.report import ValidationReport
from tests.factories import declare_workflow
from tests.forks import PROCESSES

KEY = "2026-01-05"


def publish(folder: Path, lake: Lake, report: ValidationReport, run_id: str, *, crash_at: str = "") -> RunRecord:
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    return publish_partition(
        declare_workflow(folder), report, lake=lake, token=new_token(), run_id=run_id, try_id="try"
    )


def publish_naively(folder: Path, lake: Lake, report: ValidationReport, run_id: str, *, crash_at: str = "") -> None:
    """The control: the ledger first, then the rows."""
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    del folder
    raw = read_partition(lake, "parcels/raw", KEY, version=report.raw_version)
    counts = {"rows_in": raw.num_rows, "rows_published": raw.num_rows, "rows_quarantined": 0, "rows_duplicate": 0}
    versions = {"table_version": 99, "quarantine_version": 99, "raw_version": report.raw_version}
    named = {
        "workflow": "parcels",
        "partition_key": KEY,
        "run_id": run_id,
        "try_id": "try",
        "digest": digest_table(raw),
    }
    append_run(lake, RunRecord(**named, **counts, **versions, recorded_at=datetime.now(UTC)))
    crash_point("publish.before_validated")
    replace_partition(lake, "parcels/validated", KEY, raw, token=new_token())


def replay_and_die(home: Path, folder: Path, suite: dict[str, Any], crash_at: str) -> None:
    """Replay by a suite until a crash point."""
    # The fork server has the environment of whichever test started it.
    os.environ.update(UPDRAFT_HOME=str(home), UPDRAFT_CRASH_AT=crash_at)
    workflow = declare_workflow(folder, suite=suite)
    replay_partition(workflow, KEY, lake=open_lake(), token=new_token(), run_id="replay", try_id="killed")


def run_killed(target, folder: Path, lake: Lake, report: ValidationReport, run_id: str, crash_at: str) -> int:
    """Run in a process that kills itself at a crash point; return its exit code."""
    process = PROCESSES.Process(target=target, args=(folder, lake, report, run_id), kwargs={"crash_at": crash_at})
    process.start()
    process.join(60)
    return process.exitcode


def contents(lake: Lake, table: str, version: int | None = None) -> pa.Table:
    return read_partition(lake, f"parcels/{table}", KEY, version=version)


def digests(lake: Lake) -> tuple[str, str]:
    """Digests of what readers see: the accepted rows, the quarantined ones."""
    quarantine = contents(lake, "quarantine").drop_columns(["run_id"])
    return digest_table(contents(lake, "validated")), digest_table(quarantine)


def ledger_is_true(lake: Lake) -> bool:
    """Whether the ledger's latest line describes rows that are all there, at the versions that it names."""
    line = latest_run(lake, "parcels", KEY)
    if line is None:
        return False
    try:
        validated = contents(lake, "validated", line.table_version)
        quarantine = contents(lake, "quarantine", line.quarantine_version)
    except LakeError:
        return False
    conserved = line.rows_in == line.rows_published + line.rows_quarantined + line.rows_duplicate
    counts = (validated.num_rows, quarantine.num_rows) == (line.rows_published, line.rows_quarantined)
    return conserved and counts and digest_table(validated) == line.digest
