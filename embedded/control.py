"""Up, down and status of one home, for `python -m embedded` and for tests."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from embedded.home import PROJECT_ROOT, Home, prepare_home, read_json
from embedded.processes import MARK, find_marked, load_record, send_signal, stop_all, wait_for_end

START_TIMEOUT_SECONDS = 600.0
# A unit that failed this often in a row will not come up by waiting.
HOPELESS_FAILURES = 6

READY = frozenset({"healthy", "done"})
# On a busy machine minutes pass between two changes: nobody should have to wonder.
REMIND_SECONDS = 15.0

Progress = Callable[[str], None]


class StackError(Exception):
    """Raised when the stack does not come up; the message names the process, the reason and its log."""


def start(home: Home, environ: Mapping[str, str] | None = None) -> bool:
    """Start the supervisor in the background; False if it runs already."""
    prepare_home(home)
    if load_record(home, "supervisor") is not None:
        return False
    (home.run / "status.json").unlink(missing_ok=True)
    given = os.environ if environ is None else environ
    with (home.logs / "supervisor.log").open("ab") as log:
        # The shell ends at once, so that the supervisor is nobody's child and outlives its starter and the terminal.
        subprocess.run(
            ["/bin/sh", "-c", '"$0" -m embedded.supervisor &', sys.executable],
            check=False,
            cwd=PROJECT_ROOT,
            env={**given, "UPDRAFT_HOME": str(home.folder), MARK: str(home.folder)},
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return True


def read_status(home: Home) -> dict[str, Any]:
    """Read what the supervisor last wrote; without a supervisor, no unit runs."""
    status: dict[str, Any] = read_json(home.run / "status.json")
    return status if load_record(home, "supervisor") is not None or "error" in status else {}


def wait_until_healthy(
    home: Home,
    names: Iterable[str] | None = None,
    *,
    at_least: Iterable[str] = (),
    timeout_seconds: float = START_TIMEOUT_SECONDS,
    progress: Progress | None = None,
) -> None:
    """Block until the named units (if none are named: all, and `at_least` these) are healthy or done."""
    deadline = time.monotonic() + timeout_seconds
    wanted = None if names is None else set(names)
    expected = wanted or set(at_least)
    watch = _Watch(progress or (lambda _: None))
    while True:
        status = read_status(home)
        if "error" in status:
            raise StackError(status["error"])
        if watch.has_begun and not status:
            raise StackError(f"the stack was stopped meanwhile; if nobody did, see {home.logs / 'supervisor.log'}")
        units = {name: unit for name, unit in status.get("units", {}).items() if wanted is None or name in wanted}
        watch.tell({name: unit["state"] for name, unit in units.items()})
        if units and expected <= set(units) and all(unit["state"] in READY for unit in units.values()):
            return
        _give_up_if_hopeless(home, units, is_late=time.monotonic() > deadline)
        time.sleep(0.2)


class _Watch:
    """Says what has become of each unit; and when nothing has for a while, which are still awaited."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._begun = self._told = time.monotonic()
        self._states: dict[str, str] = {}
        self.has_begun = False

    def tell(self, states: Mapping[str, str]) -> None:
        changed = [
            name
            for name, state in states.items()
            if state != self._states.get(name) and state not in {"waiting", "starting"}
        ]
        self._states = dict(states)
        self.has_begun = self.has_begun or bool(states)
        for name in changed:
            self._say(f"{name} {states[name]}")
        awaited = [name for name, state in states.items() if state not in READY]
        if awaited and time.monotonic() - self._told > REMIND_SECONDS:
            self._say(f"waiting for {', '.join(awaited)} ({time.monotonic() - self._begun:.0f} s)")

    def _say(self, line: str) -> None:
        self._told = time.monotonic()
        self._progress(line)


def _give_up_if_hopeless(home: Home, units: Mapping[str, Mapping[str, Any]], *, is_late: bool) -> None:
    for name, unit in units.items():
        if unit["failures"] >= HOPELESS_FAILURES:
            raise StackError(f"{name} does not come up: it {unit['reason']}\nIts log: {unit['log']}")
    if not is_late:
        return
    missing = [
        f"{name} ({unit['reason'] or unit['state']})" for name, unit in units.items() if unit["state"] not in READY
    ]
    raise StackError(f"not healthy in time: {', '.join(missing) or 'the supervisor itself'}\nLogs: {home.logs}")


def stop(home: Home) -> int:
    """End the supervisor and every process of this home, even without a supervisor; return how many had to go."""
    marked = find_marked(home)
    supervisor = load_record(home, "supervisor")
    if supervisor is not None:
        send_signal(supervisor, signal.SIGTERM)
        wait_for_end([supervisor], timeout_seconds=120)
    # What is left belongs to a supervisor that was killed, or hangs: it is found by its mark, and never by a bare
    # number.
    stop_all(find_marked(home))
    (home.run / "status.json").unlink(missing_ok=True)
    return len(marked)
