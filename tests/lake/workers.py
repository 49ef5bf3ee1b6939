"""
What the tests run in processes of their own: `python -m tests.lake.workers <what> <json>`, answers one line of JSON.

Those that kill children fork them: quick, and how Airflow runs its tasks. The process that forks never touches a table
itself.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
from deltalake import DeltaTable, write_deltalake
from deltalake.exceptions import DeltaError

from include.errors import ConcurrentWriteError, StalePromotionError
from include.lake import incidents, ledger
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import Lake, open_or_create_table, table_uri

N_ROWS = 20_000
TABLE, KEY = "parcels/validated", "2026-01-05"


def generation(number: int) -> pa.Table:
    """Return rows that all say which generation they are of; each generation has another count."""
    n_rows = N_ROWS + number
    return pa.table({"generation": pa.repeat(number, n_rows), "source_position": pa.array(range(n_rows), pa.int64())})


def is_whole(rows: pa.Table) -> bool:
    """Whether rows are exactly those of one generation."""
    found = rows["generation"].unique().to_pylist()
    return len(found) == 1 and rows.num_rows == N_ROWS + found[0]


def naive_replace(folder: Path, rows: pa.Table) -> None:
    """The control: delete, then write part after part in place."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for start in range(0, rows.num_rows, 1000):
        pq.write_table(rows.slice(start, 1000), folder / f"part-{start}.parquet")


def kill_rounds(
    *, uri: str, storage_options: dict[str, str], rounds: int, crash_at: str | None, is_naive: bool, seed: int
) -> dict[str, int]:
    """
    Kill a writer again and again, at a crash point or a random moment, and count what readers find and whether a re-run
    completes.
    """
    rng = random.Random(seed)
    lake, folder = Lake(uri=uri, storage_options=storage_options), Path(uri) / "naive"
    counts = {"killed": 0, "mixtures": 0, "failed_reruns": 0}

    def write(number: int, token: int) -> None:
        if is_naive:
            naive_replace(folder, generation(number))
        else:
            replace_partition(lake, TABLE, KEY, generation(number), token=token)

    def check() -> None:
        rows = pads.dataset(folder).to_table() if is_naive else read_partition(lake, TABLE, KEY)
        if not is_whole(rows):
            raise ValueError("a mixture")

    def write_for_ever(token: int) -> None:
        if crash_at:
            os.environ["UPDRAFT_CRASH_AT"] = crash_at
        for number in range(1_000_000):
            write(number % 2, token)

    in_child(lambda: write(0, 0))
    for number in range(1, rounds + 1):
        counts["killed"] += kill_child(
            lambda number=number: write_for_ever(2 * number), None if crash_at else rng.uniform(0.005, 0.25)
        )
        counts["mixtures"] += in_child(check) != 0
        counts["failed_reruns"] += (
            in_child(lambda number=number: write(number % 3, 2 * number + 1)) != 0 or in_child(check) != 0
        )
    return counts


def in_child(work: Callable[[], Any]) -> int:
    """Run in a forked child; return its exit status."""
    return os.waitstatus_to_exitcode(os.waitpid(_fork(work), 0)[1])


def kill_child(work: Callable[[], Any], after_seconds: float | None) -> bool:
    """Run in a forked child that is killed, by itself or after a while; return whether it was."""
    pid = _fork(work)
    if after_seconds is not None:
        time.sleep(after_seconds)
        os.kill(pid, signal.SIGKILL)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def _fork(work: Callable[[], Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        work()
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def promote_rounds(*, uri: str, storage_options: dict[str, str], worker: int, rounds: int, is_naive: bool) -> list[int]:
    """Compete for the next epoch; return the epochs won."""
    lake = Lake(uri=uri, storage_options=storage_options)
    won = []
    for _ in range(rounds):
        champion = ledger.current_champion(lake, "parcels")
        record = promotion(epoch=champion.epoch + 1 if champion else 1, model_version=str(worker))
        try:
            naive_append(lake, record) if is_naive else ledger.append_promotion(lake, record)
        except (StalePromotionError, ConcurrentWriteError):
            continue
        won.append(record.epoch)
    return won


def naive_append(lake: Lake, record: ledger.PromotionRecord) -> None:
    """The control: an append that names no transaction."""
    delta = ledger.open_or_create_table(
        lake, ledger.PROMOTIONS, ledger.record_schema(ledger.PromotionRecord), partition_by="month"
    )
    write_deltalake(delta, ledger.record_row(record), mode="append")


def append_runs(*, uri: str, storage_options: dict[str, str], n_records: int) -> int:
    """Append the same runs as every other worker does."""
    lake = Lake(uri=uri, storage_options=storage_options)
    for number in range(n_records):
        ledger.append_run(lake, run(partition_key=f"day-{number}"))
    return n_records


def open_and_close(*, uri: str, rounds: int, n_names: int) -> list[str]:
    """Open and close the same incidents as every other worker does; return the ids seen."""
    lake, ids = Lake(uri=uri), []
    for number in [number for _ in range(rounds) for number in range(n_names)]:
        name = {"workflow": "parcels", "partition_key": KEY, "kind": "failed_task", "subject": f"name-{number}"}
        ids.append(incidents.open_incident(lake, **name, summary="s", counts={}))
        incidents.close_incident(lake, **name)
    return ids


def replace_many(*, uri: str, storage_options: dict[str, str], worker: int, keys: list[str]) -> list[str]:
    """Write this worker's content to each partition, all workers at once; return the keys won."""
    lake, won = Lake(uri=uri, storage_options=storage_options), []
    for key in keys:
        try:
            replace_partition(lake, TABLE, key, pa.table({"worker": pa.repeat(worker, 100 + worker)}), token=1)
        except ConcurrentWriteError:
            continue
        won.append(key)
    return won


def create_tables(*, uri: str, storage_options: dict[str, str], start_at: float, n_tables: int, is_naive: bool) -> int:
    """Create tables at the same moments as every other worker does."""
    lake, schema = (
        Lake(uri=uri, storage_options=storage_options),
        pa.schema([("x", pa.int64()), ("partition_key", pa.string())]),
    )
    for number in range(n_tables):
        table = f"race/t{number}"
        if not lake.is_remote:
            Path(table_uri(lake, table)).mkdir(parents=True, exist_ok=True)
        time.sleep(max(0.0, start_at + 0.2 * number - time.time()))
        if is_naive:
            with contextlib.suppress(DeltaError):
                DeltaTable.create(table_uri(lake, table), schema=schema, storage_options=storage_options)
        else:
            open_or_create_table(lake, table, schema, partition_by="partition_key")
    return n_tables


def promotion(*, epoch: int, **changes: Any) -> ledger.PromotionRecord:
    """Return a promotion of the workflow "parcels"."""
    moment = datetime(2026, 2, 1, tzinfo=UTC)
    values: dict[str, Any] = {
        "workflow": "parcels",
        "model_version": str(epoch),
        "previous_version": None,
        "as_of": moment,
        "alias": "champion",
        "target": "local",
        "action": "promote",
        "decided_by": "test",
        "recorded_at": moment,
    }
    return ledger.PromotionRecord(**{**values, "epoch": epoch, **changes})


def run(**changes: Any) -> ledger.RunRecord:
    """Return a publication of the workflow "parcels"."""
    counts = {"rows_in": 10, "rows_published": 7, "rows_quarantined": 2, "rows_duplicate": 1}
    versions = {"table_version": 1, "quarantine_version": 2, "raw_version": 3}
    names = {"workflow": "parcels", "partition_key": KEY, "run_id": "run-1", "try_id": "try-1", "digest": "d" * 64}
    return ledger.RunRecord(
        **{**counts, **versions, **names, "recorded_at": datetime(2026, 1, 6, tzinfo=UTC), **changes}
    )


if __name__ == "__main__":
    answer = globals()[sys.argv[1]](**json.loads(sys.argv[2]))
    sys.stdout.write(json.dumps(answer) + "\n")
