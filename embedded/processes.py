"""
Which processes are ours, told apart by more than a number: a process id is reused, so each record holds its start time
too.

Every process that the supervisor starts leads a session of its own and carries the mark `UPDRAFT_SUPERVISED=<home>` in
its environment; what it forks inherits both. So a stray worker is found even when everything that knew of it is dead,
and a process of somebody else, or of a second checkout, is never touched.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from embedded.home import Home, read_json, write_json

MARK = "UPDRAFT_SUPERVISED"
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
# Loaded here, not between a fork and its exec.
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


@dataclass(frozen=True, kw_only=True)
class ProcessId:
    """One process, for good: its id and the moment it started (clock ticks since boot on Linux)."""

    pid: int
    started: int


def identify(pid: int) -> ProcessId | None:
    """Name a running process, or None if it is gone or a zombie."""
    try:
        if sys.platform != "linux":
            process = psutil.Process(pid)
            return (
                None
                if process.status() == psutil.STATUS_ZOMBIE
                else ProcessId(pid=pid, started=int(process.create_time()))
            )
        # The command may hold spaces and brackets: the fields start after its last bracket.
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except (OSError, psutil.Error):
        return None
    return None if fields[0] in "ZX" else ProcessId(pid=pid, started=int(fields[19]))


def is_running(process: ProcessId) -> bool:
    """Tell whether exactly this process still runs."""
    return identify(process.pid) == process


def send_signal(process: ProcessId, number: int) -> bool:
    """Send a signal to exactly this process; False if it is gone. On Linux no reused id can receive it."""
    try:
        if not hasattr(os, "pidfd_open"):
            if not is_running(process):
                return False
            os.kill(process.pid, number)
            return True
        handle = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return False
    try:
        # The handle was opened before the check: whatever it names now is what the check saw.
        if not is_running(process):
            return False
        signal.pidfd_send_signal(handle, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(handle)
    return True


def save_record(home: Home, name: str, process: ProcessId) -> None:
    """Remember a process under a name."""
    write_json(home.run / f"{name}.json", asdict(process))


def load_record(home: Home, name: str) -> ProcessId | None:
    """Find the process remembered under a name, if it still runs."""
    record = read_json(home.run / f"{name}.json")
    if not record or "pid" not in record:
        return None
    process = ProcessId(**record)
    return process if is_running(process) else None


def find_marked(home: Home) -> list[ProcessId]:
    """
    Every process of this home's stack, the supervisor included, by the mark in its environment.

    Airflow closes the memory of processes that run tasks, environment included, to all but root. Such a one counts by
    its session: it has to be of a recorded process, and of this user.
    """
    sessions = {
        record["pid"]: record["started"] for path in home.run.glob("*.json") if "started" in (record := read_json(path))
    }
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, OSError):
            if process.pid == os.getpid():
                continue
            try:
                is_ours = process.environ().get(MARK) == str(home.folder)
            except psutil.AccessDenied:
                is_ours = _is_of_session(process, sessions)
            if is_ours:
                found.append(identify(process.pid))
    return [process for process in found if process is not None]


def _is_of_session(process: psutil.Process, sessions: Mapping[int, int]) -> bool:
    leader = os.getsid(process.pid)
    own = identify(process.pid)
    if leader not in sessions or own is None or process.uids().real != os.getuid():
        return False
    # A leader that started at another time got a reused number; so did a session whose member is older than its record.
    alive = identify(leader)
    return own.started >= sessions[leader] and (alive is None or alive.started == sessions[leader])


def find_session(leader: int) -> list[ProcessId]:
    """Every process of the session that `leader` started. The id can't be reused while one of them lives."""
    found = []
    for pid in psutil.pids():
        with contextlib.suppress(OSError):
            if pid != os.getpid() and os.getsid(pid) == leader:
                found.append(identify(pid))
    return [process for process in found if process is not None]


def stop_all(processes: Iterable[ProcessId], *, patience_seconds: float = 5) -> int:
    """Ask processes to end, then end what is left, and return how many there were."""
    alive = [process for process in processes if send_signal(process, signal.SIGTERM)]
    count = len(alive)
    alive = wait_for_end(alive, timeout_seconds=patience_seconds)
    for process in alive:
        send_signal(process, signal.SIGKILL)
    wait_for_end(alive, timeout_seconds=5)
    return count


def wait_for_end(processes: Iterable[ProcessId], *, timeout_seconds: float) -> list[ProcessId]:
    """Wait until all are gone, and return those that are not."""
    deadline = time.monotonic() + timeout_seconds
    alive = [process for process in processes if is_running(process)]
    while alive and time.monotonic() < deadline:
        time.sleep(0.05)
        alive = [process for process in alive if is_running(process)]
    return alive


def die_with_parent(number: int) -> None:
    """Have the kernel send this process a signal when the thread that started it ends (Linux; elsewhere nothing)."""
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def adopt_orphans() -> None:
    """
    Make this process the parent of all descendants that lose theirs, so that none escapes (Linux;
    elsewhere nothing).
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
