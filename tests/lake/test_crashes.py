"""Kill the writer: readers see the old or the new partition, and a re-run completes."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from deltalake import DeltaTable
from deltalake.fs import DeltaStorageHandler

from include.lake.partitions import read_partition, replace_partition, scan_partition
from include.lake.store import Lake, table_version
from tests.crashes import KILLED, outcome, run_python, start_module
from tests.forks import run_snippet
from tests.lake.workers import KEY, TABLE, generation

pytestmark = pytest.mark.claim("kills")

CRASH_POINTS = ["replace_partition.before_write", "replace_partition.before_commit", "replace_partition.after_commit"]


def kill_rounds(lake: Lake, *, crash_at: str | None = None, is_naive: bool = False, rounds: int = 20) -> dict[str, int]:
    arguments = {"uri": lake.uri, "storage_options": dict(lake.storage_options), "rounds": rounds, "seed": 7}
    process = start_module(
        "tests.lake.workers", "kill_rounds", json.dumps({**arguments, "crash_at": crash_at, "is_naive": is_naive})
    )
    return outcome(process)


@pytest.mark.parametrize(("crash_at", "rounds"), [(None, 20), *((point, 7) for point in CRASH_POINTS)])
def test_a_killed_replace_leaves_the_old_or_the_new_partition(
    folder_lake: Lake, crash_at: str | None, rounds: int, record_property: Callable[[str, object], None]
) -> None:
    """At moments of chance, and at each named point: 41 kills in all."""
    counts = kill_rounds(folder_lake, crash_at=crash_at, rounds=rounds)
    if crash_at is None:
        record_property(
            "figure",
            f"a partition's write: {counts['killed']} kills at moments of chance, {counts['mixtures']} mixtures",
        )
    assert counts == {"killed": rounds, "mixtures": 0, "failed_reruns": 0}


def test_a_killed_replace_on_s3_leaves_the_old_or_the_new_partition(s3_lake: Lake) -> None:
    assert kill_rounds(s3_lake, rounds=10) == {"killed": 10, "mixtures": 0, "failed_reruns": 0}


def test_control_a_killed_writer_in_place_leaves_mixtures(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    counts = kill_rounds(Lake(uri=str(tmp_path)), is_naive=True)
    record_property(
        "figure", f"control: a naive writer leaves {counts['mixtures']} mixtures in {counts['killed']} kills"
    )
    assert counts["killed"] == 20
    assert counts["mixtures"] > 5


@pytest.mark.parametrize(
    ("crash_at", "expected"), [("replace_partition.before_commit", 0), ("replace_partition.after_commit", 1)]
)
def test_the_crash_point_decides_what_readers_see(folder_lake: Lake, crash_at: str, expected: int) -> None:
    """Before the commit the old rows stand, after it the new ones; the re-run then has nothing left to do."""
    replace_partition(folder_lake, TABLE, KEY, generation(0), token=1)
    snippet = (
        "from include.lake.partitions import replace_partition; from include.lake.store import Lake; from "
        "tests.lake.workers import *\n"
        "replace_partition(Lake(uri=arguments), TABLE, KEY, generation(1), token=2)"
    )
    assert run_snippet(snippet, arguments=folder_lake.uri, crash_at=crash_at) == KILLED
    assert read_partition(folder_lake, TABLE, KEY)["generation"].unique().to_pylist() == [expected]
    again = replace_partition(folder_lake, TABLE, KEY, generation(1), token=3)
    assert again.is_changed == (expected == 0)
    assert table_version(folder_lake, TABLE) == again.version == 2


def test_no_process_aborts_at_exit(lake: Lake) -> None:
    """Arrow's threads must not call into an interpreter that has ended: Delta's own file system does (status -6)."""
    replace_partition(lake, TABLE, KEY, generation(0), token=1)
    snippet = (
        "from include.lake.partitions import *; from include.lake.store import Lake; from tests.lake.workers import *\n"
        "lake = Lake(**arguments)\n"
        "read_partition(lake, TABLE, KEY); replace_partition(lake, TABLE, KEY, generation(0), token=1)\n"
        "for batch in scan_partition(lake, TABLE, KEY): break"
    )
    arguments = {"uri": lake.uri, "storage_options": dict(lake.storage_options)}
    results = [run_python(snippet, arguments=arguments) for _ in range(3)]
    assert [(result.returncode, result.stderr) for result in results] == [(0, "")] * 3


def test_control_deltas_own_file_system_calls_python_from_arrows_threads(
    folder_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    """
    Which is what kills a process at its exit, now and then: SIGSEGV, SIGABRT, or it hangs. Ours calls nothing of
    Python's.

    How often it does depends on the machine's load, from none of twenty to each second one: that can be seen, and not
    asserted.
    """
    callers: set[str] = set()

    class Told:
        def __init__(self, file: Any) -> None:
            self._file = file

        def __getattr__(self, name: str) -> Any:
            callers.add(threading.current_thread().name)
            return getattr(self._file, name)

    def open_and_tell(handler: DeltaStorageHandler, path: str) -> pa.PythonFile:
        return pa.PythonFile(Told(handler._handler.open_input_file(path)), mode="r")

    monkeypatch.setattr(DeltaStorageHandler, "open_input_file", open_and_tell)
    for key in ("day-1", "day-2", "day-3"):
        replace_partition(folder_lake, TABLE, key, generation(0), token=1)
        list(scan_partition(folder_lake, TABLE, key))
        read_partition(folder_lake, TABLE, key)
    assert callers == set()
    DeltaTable(f"{folder_lake.uri}/{TABLE}").to_pyarrow_dataset().to_table()
    assert callers - {threading.main_thread().name}
