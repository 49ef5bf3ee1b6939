"""One supervised process in its states, with real small processes."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from embedded import units
from embedded.home import Home, prepare_home
from embedded.processes import find_session
from embedded.services import Service
from embedded.supervisor import Supervisor
from embedded.units import Unit, back_off_seconds


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(folder=tmp_path / "state")
    prepare_home(home)
    return home


@pytest.fixture
def make(home: Home) -> Iterator[Callable[..., Unit]]:
    made: list[Unit] = []

    def make(*command: str, name: str = "unit", **options: object) -> Unit:
        made.append(Unit(home, Service(name=name, command=command, environment=dict(os.environ), **options)))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for unit in made:
        unit.ask_to_end()
        unit.make_end(deadline=time.monotonic() + 2)


def wait_for(condition: Callable[[], object], unit: Unit, *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, unit.describe()
        unit.notice_end()
        unit.start_if_due()
        time.sleep(0.02)


def test_killed_process_is_started_again(make: Callable[..., Unit]) -> None:
    unit = make("sleep", "60")
    unit.start_if_due()
    unit.notice_health(None)
    assert unit.state == "healthy"
    assert unit.process is not None
    first = unit.process.pid
    os.kill(first, signal.SIGKILL)
    wait_for(lambda: unit.process is not None and unit.process.pid != first, unit)
    assert unit.restarts == 1
    assert unit.reason == "was killed by SIGKILL"


def test_workers_end_with_their_process(make: Callable[..., Unit]) -> None:
    """Those of a killed scheduler would go on beside those of the next."""
    unit = make("sh", "-c", "sleep 61 & sleep 61 & wait")
    unit.start_if_due()
    assert unit.process is not None
    pid = unit.process.pid
    wait_for(lambda: len(find_session(pid)) == 3, unit)
    os.kill(pid, signal.SIGKILL)
    wait_for(lambda: unit.restarts == 1, unit)
    wait_for(lambda: find_session(pid) == [], unit)


def test_reason_quotes_the_last_error(make: Callable[..., Unit]) -> None:
    unit = make(sys.executable, "-c", "raise ValueError('no such table')")
    wait_for(lambda: unit.restarts == 1, unit)
    assert unit.reason == "ended with exit code 1: ValueError: no such table"
    assert unit.state == "backing off"


def test_reason_names_a_taken_port(make: Callable[..., Unit]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        unit = make("false", port=server.getsockname()[1])
        wait_for(lambda: unit.restarts == 1, unit)
    assert unit.reason.endswith("is taken by another program")


def test_set_up_step_runs_once(make: Callable[..., Unit]) -> None:
    unit = make("true", is_once=True)
    wait_for(lambda: unit.state == "done", unit)
    assert unit.is_ready
    unit.start_if_due()
    assert unit.process is None


def test_failed_set_up_step_is_tried_again(make: Callable[..., Unit], tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    unit = make("sh", "-c", f"test -e {flag} || {{ touch {flag}; exit 3; }}", is_once=True)
    wait_for(lambda: unit.state == "done", unit)
    assert unit.restarts == 1


@pytest.mark.parametrize(("was_healthy", "limit"), [(True, "HANG_SECONDS"), (False, "START_SECONDS")])
def test_hung_process_is_killed(
    make: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch, was_healthy: bool, limit: str
) -> None:
    """One that never got healthy has longer: a busy machine starts it slowly."""
    unit = make("sleep", "60", check=lambda started: "silent")
    unit.start_if_due()
    if was_healthy:
        unit.notice_health(None)
    other = ({"HANG_SECONDS", "START_SECONDS"} - {limit}).pop()
    monkeypatch.setattr(units, other, 0.0)
    unit.end_if_hung()
    assert unit.process is not None
    assert unit.process.poll() is None
    monkeypatch.setattr(units, limit, 0.0)
    unit.end_if_hung()
    wait_for(lambda: unit.restarts == 1, unit)


def test_delay_doubles_with_jitter_and_is_bounded() -> None:
    for failures, longest in ((1, 0.5), (2, 1.0), (4, 4.0), (30, 30.0)):
        delays = [back_off_seconds(failures) for _ in range(200)]
        assert longest / 2 <= min(delays) < max(delays) <= longest


def test_long_health_wipes_failures_out(make: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "CALM_SECONDS", 0.0)
    unit = make("sleep", "60")
    unit.failures = 5
    unit.start_if_due()
    unit.notice_health(None)
    time.sleep(0.01)
    unit.notice_health(None)
    assert unit.failures == 0


def test_unhealthy_is_told(make: Callable[..., Unit]) -> None:
    unit = make("sleep", "60")
    unit.start_if_due()
    unit.notice_health("slow")
    assert (unit.state, unit.reason) == ("starting", "slow")
    unit.notice_health(None)
    unit.notice_health("lost")
    assert (unit.state, unit.reason) == ("unhealthy", "lost")


@pytest.mark.parametrize(("told_by", "restarts"), [(None, True), ("first", False)])
def test_process_is_not_ended_because_another_does_not_answer(
    home: Home, make: Callable[..., Unit], monkeypatch: pytest.MonkeyPatch, told_by: str | None, restarts: bool
) -> None:
    """The scheduler's health is the API server's word: an API server that hangs must not take the scheduler along."""
    import threading

    monkeypatch.setattr(units, "START_SECONDS", 0.2)
    first = make("sleep", "60", name="first")  # starting for good, and without a check never ended
    second = make("sleep", "60", name="second", check=lambda started: "can't tell", told_by=told_by)
    supervisor = Supervisor(home, [first, second])
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        deadline = time.monotonic() + (20 if restarts else 2)
        while not second.restarts and time.monotonic() < deadline:
            time.sleep(0.05)
    finally:
        supervisor.stop()
        thread.join(20)
    assert bool(second.restarts) is restarts


def test_supervisor_waits_for_needs_and_ends_all(home: Home, make: Callable[..., Unit]) -> None:
    """The second starts only once the first is done; both end when the loop is told to stop."""
    import threading

    first = make("true", name="first", is_once=True)
    second = make("sleep", "60", name="second", needs=("first",), check=lambda started: None)
    supervisor = Supervisor(home, [second, first])
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    with contextlib.ExitStack() as stack:
        stack.callback(thread.join, 10)
        stack.callback(supervisor.stop)
        deadline = time.monotonic() + 10
        while second.state != "healthy" and time.monotonic() < deadline:
            time.sleep(0.05)
        assert (first.state, second.state) == ("done", "healthy")
    assert second.state == "stopped"
    assert second.process is None
