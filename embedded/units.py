"""
One supervised process in its states: waiting, starting, healthy, backing off, done. No loop and no clock
of its own.
"""

from __future__ import annotations

import random
import signal
import subprocess
import time
from datetime import UTC, datetime
from pathlib import Path

from embedded.home import PROJECT_ROOT, Home, is_free
from embedded.processes import ProcessId, die_with_parent, find_session, identify, save_record, send_signal
from embedded.services import Service

MAX_DELAY_SECONDS = 30.0
# A process that was healthy this long starts again without delay.
CALM_SECONDS = 60.0
# Alive, but not healthy for so long: it hangs. A start takes its time on a busy machine: 30 CPU seconds for the
# scheduler, and a process that is killed for being slow begins anew.
HANG_SECONDS = 180.0
START_SECONDS = 480.0


class Unit:
    """A service and what has become of it."""

    def __init__(self, home: Home, service: Service) -> None:
        self.home = home
        self.service = service
        self.state = "waiting"
        self.reason = ""
        self.restarts = 0
        self.failures = 0
        self.process: subprocess.Popen[bytes] | None = None
        self.identity: ProcessId | None = None
        self.started = datetime.now(UTC)
        self._due = 0.0
        self._healthy_since: float | None = None
        self._unhealthy_since = 0.0

    @property
    def log(self) -> Path:
        """Its log file."""
        return self.home.logs / f"{self.service.name}.log"

    @property
    def is_ready(self) -> bool:
        """Whether those that need it may start."""
        return self.state in {"healthy", "done"}

    def describe(self) -> dict[str, object]:
        """Its line in the status file."""
        pid = self.process.pid if self.process else None
        facts = {
            "state": self.state,
            "pid": pid,
            "port": self.service.port,
            "restarts": self.restarts,
            "failures": self.failures,
        }
        return {
            **facts,
            "reason": self.reason,
            "since": self.started.isoformat(timespec="seconds"),
            "log": str(self.log),
        }

    def start_if_due(self) -> None:
        """Start the process, unless it runs, is done or has to wait."""
        if self.process is not None or self.state == "done" or time.monotonic() < self._due:
            return
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.service.command,
                cwd=PROJECT_ROOT,
                env=dict(self.service.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                # The kernel ends it with the supervisor's main thread, which is the one that runs this.
                preexec_fn=lambda: die_with_parent(self.service.orphan_signal),
            )
        self.identity = identify(self.process.pid)
        if self.identity is not None:
            save_record(self.home, self.service.name, self.identity)
        self.state, self.started = "starting", datetime.now(UTC)
        self._healthy_since, self._unhealthy_since = None, time.monotonic()

    def notice_end(self) -> None:
        """If the process has ended: clear up what it left, and plan the next start."""
        if self.process is None or (code := self.process.poll()) is None:
            return
        pid, self.process = self.process.pid, None
        # Its workers would go on, unwatched and beside those of the next process.
        for stray in find_session(pid):
            send_signal(stray, signal.SIGKILL)
        if self.service.is_once and code == 0:
            self.state, self.reason, self.failures = "done", "", 0
            return
        was_calm = self._healthy_since is not None and time.monotonic() - self._healthy_since > CALM_SECONDS
        self.failures = 1 if was_calm else self.failures + 1
        self.restarts += 1
        self.state, self.reason = "backing off", self._explain(code)
        self._due = time.monotonic() + back_off_seconds(self.failures)

    def notice_health(self, problem: str | None) -> None:
        """Take in what its health check found."""
        if self.process is None or self.service.is_once:
            return
        now = time.monotonic()
        if problem is None:
            self.state, self._unhealthy_since = "healthy", now
            self._healthy_since = self._healthy_since or now
            if now - self._healthy_since > CALM_SECONDS:
                self.failures = 0
            return
        if self.state == "healthy":
            self.state, self.reason = "unhealthy", problem
        elif self.restarts == 0:
            self.reason = problem

    def end_if_hung(self) -> None:
        """Kill the process if it has been alive without health for too long; its end is noticed as any other."""
        patience = START_SECONDS if self._healthy_since is None else HANG_SECONDS
        if self.process is not None and self.service.check and time.monotonic() - self._unhealthy_since > patience:
            self.process.kill()

    def forgive(self) -> None:
        """Do not hold it against the process that something it needs is down."""
        self._unhealthy_since = time.monotonic()

    def ask_to_end(self) -> None:
        """Send the stop signal."""
        if self.process is not None:
            self.process.send_signal(self.service.stop_signal)

    def make_end(self, *, deadline: float) -> None:
        """Wait until the deadline, then kill the process and all it started."""
        if self.process is None:
            return
        try:
            self.process.wait(timeout=max(0.1, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stray in find_session(self.process.pid):
            send_signal(stray, signal.SIGKILL)
        self.process, self.state = None, "stopped"

    def _explain(self, code: int) -> str:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        if self.service.port is not None and not is_free(self.service.port):
            return f"{how}: port {self.service.port} is taken by another program"
        last = _last_error(self.log) if code > 0 else ""
        return f"{how}: {last}" if last else how


def back_off_seconds(failures: int) -> float:
    """Delay before the next start: doubled with each failure in a row, with jitter, bounded."""
    return min(MAX_DELAY_SECONDS, 0.5 * 2.0 ** (failures - 1)) * random.uniform(0.5, 1.0)


def _last_error(log: Path) -> str:
    with log.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - 4096))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if "Error" in line and not line.startswith("(Background")]
    return (errors or lines or [""])[-1][:200]
