"""Ours and not ours: by start time, by session, by mark; never by number alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from embedded.home import Home, prepare_home
from embedded.postgres import _unprivileged
from embedded.processes import (
    MARK,
    ProcessId,
    find_marked,
    find_session,
    identify,
    is_running,
    load_record,
    save_record,
    send_signal,
    stop_all,
)
from include.settings import PROJECT_ROOT


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(folder=tmp_path / "state")
    prepare_home(home)
    return home


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "60"], start_new_session=True) as process:
        yield process
        process.kill()


def test_a_process_is_itself(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert found is not None
    assert is_running(found)
    assert load_after_end(sleeper, found) is False


def load_after_end(process: subprocess.Popen[bytes], found: ProcessId) -> bool:
    process.kill()
    process.wait()
    return is_running(found)


def test_zombie_counts_as_gone(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    sleeper.kill()
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert found is not None
    assert not is_running(found)


def test_reused_id_receives_no_signal(sleeper: subprocess.Popen[bytes]) -> None:
    """The record's process is gone, and its number belongs to another now."""
    found = identify(sleeper.pid)
    assert found is not None
    earlier = ProcessId(pid=found.pid, started=found.started - 1)
    assert send_signal(earlier, signal.SIGKILL) is False
    assert stop_all([earlier]) == 0
    assert sleeper.poll() is None


def test_signal_to_nobody(sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert found is not None
    sleeper.kill()
    sleeper.wait()
    assert send_signal(found, signal.SIGTERM) is False


def test_record_survives_only_its_process(home: Home, sleeper: subprocess.Popen[bytes]) -> None:
    found = identify(sleeper.pid)
    assert found is not None
    save_record(home, "sleeper", found)
    assert load_record(home, "sleeper") == found
    sleeper.kill()
    sleeper.wait()
    assert load_record(home, "sleeper") is None
    assert load_record(home, "never") is None


def test_mark_tells_homes_apart(home: Home, tmp_path: Path) -> None:
    other = Home(folder=tmp_path / "other")
    with subprocess.Popen(["sleep", "60"], env={**os.environ, MARK: str(home.folder)}) as process:
        assert [found.pid for found in find_marked(home)] == [process.pid]
        assert find_marked(other) == []
        assert stop_all(find_marked(home)) == 1
        assert process.wait() == -signal.SIGTERM


def test_session_is_found_after_its_leader_is_gone() -> None:
    script = "sleep 60 & sleep 60 & exec sleep 0.1"
    with subprocess.Popen(["sh", "-c", script], start_new_session=True) as leader:
        leader.wait()
        left = find_session(leader.pid)
        assert len(left) == 2
        assert stop_all(left) == 2
        assert find_session(leader.pid) == []


def test_stubborn_process_is_killed() -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        found = identify(process.pid)
        assert found is not None
        begun = time.monotonic()
        assert stop_all([found], patience_seconds=0.2) == 1
        assert time.monotonic() - begun < 5
        assert process.wait() == -signal.SIGKILL


CLOSED = """
import ctypes, os, subprocess, sys
from pathlib import Path
from embedded.home import Home, prepare_home
from embedded.processes import MARK, ProcessId, find_marked, identify, save_record
home = Home(folder=Path(sys.argv[1]))
prepare_home(home)
script = "import ctypes, time; ctypes.CDLL(None).prctl(4, 0, 0, 0, 0); print(flush=True); time.sleep(60)"
command = [sys.executable, "-c", script]
environment = {**os.environ, MARK: str(home.folder)}
child = subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True, env=environment)
child.stdout.readline()
own = identify(child.pid)
found = [[process.pid for process in find_marked(home)] == [child.pid]]
save_record(home, "child", own)
found.append([process.pid for process in find_marked(home)] == [child.pid])
save_record(home, "child", ProcessId(pid=own.pid, started=own.started - 1))
found.append([process.pid for process in find_marked(home)] == [child.pid])
child.kill()
child.wait()
print(found)
"""


def test_process_with_closed_memory_counts_by_its_session(tmp_path: Path) -> None:
    """
    As Airflow's workers are to an ordinary user: without a record, or with one of another process, it is
    not ours.
    """
    environment = {**os.environ, "PYTHONPATH": str(PROJECT_ROOT)}
    command = [*_unprivileged(), sys.executable, "-c", CLOSED, str(tmp_path / "state")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[False, True, False]"
