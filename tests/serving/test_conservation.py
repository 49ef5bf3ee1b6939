"""Every answered prediction reaches the lake exactly once, whatever happens to the process."""

from __future__ import annotations

import contextlib
import http.client
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake import DeltaTable

from include.lake.store import Lake, open_lake
from include.serving.prediction_log import PredictionLog
from include.serving.spool import SpoolFullError, SpoolWriter
from include.settings import PROJECT_ROOT, Settings
from tests.serving.endpoints import PARCEL, ProcessEndpoint
from tests.serving.models import promote


def logged(lake: Lake) -> pa.Table:
    return DeltaTable(f"{lake.uri}/parcels/predictions").to_pyarrow_table()


def make_log(folder: Path) -> PredictionLog:
    return PredictionLog(folder / "spool", lake=Lake(uri=str(folder / "lake")), table="parcels/predictions")


def append(log: PredictionLog, request_id: str, n_rows: int = 1) -> None:
    log.append(
        request_id=request_id,
        model_version="1",
        inputs=[{"depot": "east"}] * n_rows,
        scores=[0.25] * n_rows,
        labels=[False] * n_rows,
    )


def ask_until_gone(endpoint: ProcessEndpoint, answered: list[str], name: str) -> None:
    """Send requests as long as somebody answers; note the rows of those that were answered."""
    with contextlib.suppress(OSError, http.client.HTTPException):
        for i in range(100_000):
            request_id = f"{name}-{i}"
            n_rows = 1 if i % 10 else 40
            reply = endpoint.post("/invocations", [PARCEL] * n_rows, {"x-request-id": request_id})
            if reply.status == 200:
                answered += [f"{request_id}/{row}" for row in range(n_rows)]


def drive(endpoint: ProcessEndpoint, number: signal.Signals, seconds: float) -> list[str]:
    """Let three clients ask, send the signal, and give back which rows were answered."""
    answered: list[list[str]] = [[] for _ in range(3)]
    threads = [
        threading.Thread(target=ask_until_gone, args=(endpoint, answered[i], f"{number.name}-{i}")) for i in range(3)
    ]
    for thread in threads:
        thread.start()
    time.sleep(seconds)
    endpoint.process.send_signal(number)
    for thread in threads:
        thread.join()
    return [row for rows in answered for row in rows]


@pytest.mark.claim("serving")
def test_killed_and_terminated_processes_lose_nothing(
    tmp_path: Path, settings: Settings, versions: dict[str, str]
) -> None:
    """The real process: SIGKILL in the middle of traffic, a restart, SIGTERM in the middle of traffic."""
    lake = open_lake(settings)
    promote(lake, "parcels", versions["linear"])
    with ProcessEndpoint(tmp_path, settings) as endpoint:
        endpoint.wait_for_champion()
        answered = drive(endpoint, signal.SIGKILL, 1.0)
        assert endpoint.process.wait(10) == -signal.SIGKILL
    n_killed = len(answered)
    with ProcessEndpoint(tmp_path, settings) as endpoint:
        endpoint.wait_for_champion()
        answered += drive(endpoint, signal.SIGTERM, 1.0)
        assert endpoint.process.wait(20) == 0, endpoint.log.read_text()
    assert min(n_killed, len(answered) - n_killed) > 50

    table = logged(lake)
    found = [
        f"{request_id}/{row}"
        for request_id, row in zip(table["request_id"].to_pylist(), table["row_index"].to_pylist(), strict=True)
    ]
    assert len(set(found)) == len(found)
    assert set(answered) <= set(found)
    # What was logged but not seen to be answered: at most the requests in flight at the two signals.
    assert len(set(found) - set(answered)) <= 2 * 3 * 40
    assert not list((settings.home / "endpoint/parcels/spool").glob("*.jsonl"))


COLLECT = """\
import sys
from pathlib import Path
from include.lake.store import Lake
from include.serving.prediction_log import PredictionLog
folder, name = Path(sys.argv[1]), sys.argv[2]
log = PredictionLog(folder / "spool", lake=Lake(uri=str(folder / "lake")), table="parcels/predictions")
for i in range(3):
    log.append(request_id=f"{name}-{i}", model_version="1", inputs=[{"depot": "east"}] * 2, scores=[0.25] * 2,
    labels=[False] * 2)
log.collect()
"""


def collect_in_process(folder: Path, name: str, crash_at: str) -> int:
    command = [sys.executable, "-c", COLLECT, str(folder), name]
    return subprocess.run(
        command, cwd=PROJECT_ROOT, env={"UPDRAFT_CRASH_AT": crash_at, "PYTHONPATH": str(PROJECT_ROOT)}, check=False
    ).returncode


@pytest.mark.claim("kills")
@pytest.mark.parametrize(
    "moment", ["predictions.before_numbering", "predictions.before_commit", "predictions.before_deletion"]
)
def test_a_kill_while_collecting_neither_loses_nor_doubles(tmp_path: Path, moment: str) -> None:
    assert collect_in_process(tmp_path, "control", "") == 0
    assert collect_in_process(tmp_path, "killed", moment) == -signal.SIGKILL
    log = make_log(tmp_path)
    append(log, "after")
    log.collect()
    assert sorted(logged(Lake(uri=str(tmp_path / "lake")))["request_id"].to_pylist()) == sorted(
        ["after", *(f"{name}-{i}" for name in ("control", "killed") for i in (0, 0, 1, 1, 2, 2))]
    )


def test_a_line_cut_short_was_never_answered(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    append(log, "whole")
    (path,) = (tmp_path / "spool").glob("open-*.jsonl")
    with path.open("ab") as file:
        file.write(b'{"id": "torn", "vers')
    assert log.collect() == 1
    assert logged(Lake(uri=str(tmp_path / "lake")))["request_id"].to_pylist() == ["whole"]


def test_a_line_that_cannot_be_read_is_kept_aside(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    append(log, "good")
    (path,) = (tmp_path / "spool").glob("open-*.jsonl")
    with path.open("ab") as file:
        file.write(b"\x00\x00\n")
    assert log.collect() == 1
    assert (tmp_path / "spool/unreadable.jsonl").read_bytes() == b"\x00\x00\n"


def test_a_living_writers_file_is_not_taken(tmp_path: Path) -> None:
    log, other = make_log(tmp_path), make_log(tmp_path)
    append(other, "theirs")
    assert log.collect() == 0
    assert other.collect() == 1


def test_a_lake_that_is_away_keeps_the_spool(tmp_path: Path) -> None:
    log = make_log(tmp_path)
    log.start()
    (tmp_path / "lake").write_text("a file where the folder should be")
    append(log, "waits")
    log.close()
    assert log.last_error is not None
    (tmp_path / "lake").unlink()
    assert log.collect() == 1


def test_rows_wake_the_collector(tmp_path: Path) -> None:
    """The time alone would take ten minutes."""
    log = PredictionLog(
        tmp_path / "spool",
        lake=Lake(uri=str(tmp_path / "lake")),
        table="parcels/predictions",
        every_seconds=600,
        every_rows=50,
    )
    log.start()
    time.sleep(0.1)
    append(log, "many", n_rows=50)
    deadline = time.monotonic() + 10
    while log.n_collected < 50 and time.monotonic() < deadline:
        time.sleep(0.02)
    log.close()
    assert log.n_collected == 50


def test_a_full_disk_refuses_the_answer_and_keeps_the_file_whole(tmp_path: Path) -> None:
    """A limit on the file's size stands in for the disk: the kernel cuts the write short, then refuses it."""
    script = (
        "import resource, signal, sys; from pathlib import Path\n"
        "from include.serving.spool import SpoolWriter, SpoolFullError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, resource.RLIM_INFINITY))\n"
        "writer = SpoolWriter(Path(sys.argv[1]))\n"
        "writer.append(b'x' * 59 + b'\\n', n_rows=1)\n"
        "try: writer.append(b'y' * 59 + b'\\n', n_rows=1)\n"
        "except SpoolFullError as error: sys.exit(str(error))\n"
    )
    command = [sys.executable, "-c", script, str(tmp_path)]
    run = subprocess.run(
        command, cwd=PROJECT_ROOT, env={"PYTHONPATH": str(PROJECT_ROOT)}, capture_output=True, text=True, check=False
    )
    assert (run.returncode, "only 40 of 60 bytes fit" in run.stderr) == (1, True)
    (path,) = tmp_path.glob("open-*.jsonl")
    assert path.read_bytes() == b"x" * 59 + b"\n"


def test_a_folder_that_cannot_be_written_refuses_the_answer(tmp_path: Path) -> None:
    writer = SpoolWriter(tmp_path / "spool")
    (tmp_path / "spool").rmdir()
    with pytest.raises(SpoolFullError, match="can't be written"):
        writer.append(b"x\n", n_rows=1)
