"""What the system tests ask a running demo: its runs, its tables' bytes, its ledger beside the package's own counts."""

from __future__ import annotations

import hashlib
import time
from datetime import datetime, timedelta
from pathlib import Path

from deltalake import DeltaTable

from include.lake.ledger import RUNS, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import table_uri
from tests.acceptance.conftest import Demo
from tests.acceptance.package_counts import expected_counts

TABLES = ("raw", "validated", "quarantine")


def backfill(demo: Demo, weeks: list[datetime]) -> None:
    start, end = weeks[0], weeks[-1] + timedelta(days=6)
    number = demo.client.backfill(
        "flight_delays.ingest", start=f"{start:%Y-%m-%d}", end=f"{end:%Y-%m-%d}", reprocess="completed"
    )
    deadline = time.monotonic() + 600
    while not demo.client.call("GET", f"backfills/{number}")["completed_at"]:
        assert time.monotonic() < deadline, "the backfill did not end within ten minutes"
        time.sleep(2)


def trainings(demo: Demo) -> dict[str, str]:
    """Training runs by their key."""
    return {run["dag_run_id"]: run["partition_key"] for run in demo.client.runs("flight_delays.train")}


def wait_for_trainings(demo: Demo, n_runs: int) -> None:
    deadline = time.monotonic() + 600
    while True:
        states = [run["state"] for run in demo.client.runs("flight_delays.train")]
        if len(states) >= n_runs and set(states) <= {"success", "failed"}:
            return
        assert time.monotonic() < deadline, f"trainings after ten minutes: {states}"
        time.sleep(2)


def current_bytes(demo: Demo) -> dict[str, str]:
    """Digest of every file that the tables consist of now."""
    digests = {}
    for table in TABLES:
        for uri in DeltaTable(table_uri(demo.lake, f"flight_delays/{table}")).file_uris():
            path = Path(uri.removeprefix("file://"))
            digests[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return digests


def gate_state(demo: Demo, run_id: str) -> str:
    return next(
        task["state"] for task in demo.client.task_instances("flight_delays.train", run_id) if task["task_id"] == "gate"
    )


def latest_runs(demo: Demo) -> dict[str, dict]:
    """The ledger's last line of each partition."""
    lines = read_ledger(demo.lake, RUNS, workflow="flight_delays").sort_by("recorded_at").to_pylist()
    return {line["partition_key"]: line for line in lines}


def differing_partitions(demo: Demo, keys: list[str]) -> list[str]:
    """Partitions whose ledger line differs from the package's own count, or from the tables."""
    package, shift = demo.home.folder / "demo-data", demo.facts["calendar_shift_days"]
    latest, wrong = latest_runs(demo), []
    for key in keys:
        flights, cancelled = expected_counts(package, key, shift)
        line = latest[key]
        ledger = (line["rows_in"], line["rows_published"], line["rows_quarantined"], line["rows_duplicate"])
        tables = tuple(
            read_partition(demo.lake, f"flight_delays/{table}", key).num_rows
            for table in ("raw", "validated", "quarantine")
        )
        if ledger != (flights, flights - cancelled, cancelled, 0) or tables != ledger[:3]:
            wrong.append(f"{key}: ledger {ledger}, tables {tables}, package {flights} of which {cancelled} cancelled")
    return wrong
