"""
`python -m embedded.supervisor`: starts the stack's processes, watches them, restarts those that die, and ends them all.

One a home (a lock sees to it), in a session of its own, so that it outlives the terminal. Three of Airflow's four
processes end by themselves when the metadata database goes away for a moment: something has to bring them back.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import signal
import sys
import threading
import time
from typing import Any, TextIO

import psutil

from embedded.home import Home, choose_ports, open_home, prepare_home, requested_demos, write_json
from embedded.plan import plan_services
from embedded.postgres import PostgresError
from embedded.processes import adopt_orphans, find_marked, identify, save_record, stop_all
from embedded.units import Unit
from include.errors import UpdraftError

TICK_SECONDS = 0.2
log = logging.getLogger("embedded.supervisor")


class Supervisor:
    """Keeps the units of one home running until it is asked to stop."""

    def __init__(self, home: Home, units: list[Unit]) -> None:
        self.home = home
        self.units = {unit.service.name: unit for unit in units}
        self._stop = threading.Event()
        self._written: dict[str, Any] = {}
        self._logged: dict[str, str] = {}
        self._requested = requested_demos(home)

    def run(self) -> None:
        """Watch until `stop` is called; then end everything, the database last."""
        threading.Thread(target=self._check_forever, daemon=True).start()
        ticks = 0
        while not self._stop.wait(TICK_SECONDS):
            for unit in self.units.values():
                unit.notice_end()
                if self._are_needs_ready(unit):
                    unit.start_if_due()
                if self._are_needs_ready(unit) and self._can_be_told(unit):
                    unit.end_if_hung()
                else:
                    unit.forgive()
            self._write_status()
            ticks += 1
            if ticks % 10 == 0:
                self._bury_orphans()
            self._take_in_demos()
        self._end_all()

    def stop(self, *_: object) -> None:
        """Ask the loop to end (a signal handler)."""
        self._stop.set()

    def _are_needs_ready(self, unit: Unit) -> bool:
        return all(self.units[need].is_ready for need in unit.service.needs)

    def _can_be_told(self, unit: Unit) -> bool:
        teller = unit.service.told_by
        return teller is None or self.units[teller].is_ready

    def _check_forever(self) -> None:
        # Beside the loop: a check that waits for an answer must not keep a dead process from being noticed.
        is_calm = False
        while not self._stop.wait(5.0 if is_calm else 1.0):
            is_calm = all(unit.is_ready for unit in self.units.values())
            for unit in self.units.values():
                process, check = unit.process, unit.service.check
                if process is not None and check is not None:
                    problem = check(unit.started)
                    if unit.process is process:
                        unit.notice_health(problem)

    def _take_in_demos(self) -> None:
        """Add what a demo that was asked for since needs. What runs goes on."""
        requested = requested_demos(self.home)
        if requested == self._requested:
            return
        try:
            new = [service for service in plan_services(self.home) if service.name not in self.units]
        except (UpdraftError, PostgresError) as error:
            log.error("%s", error)
            return  # and try again: what was asked for is not forgotten
        self._requested = requested
        # Another dictionary, for the health checks go through the old one in another thread.
        self.units = {**self.units, **{service.name: Unit(self.home, service) for service in new}}

    def _bury_orphans(self) -> None:
        known = {unit.process.pid for unit in self.units.values() if unit.process is not None}
        for child in psutil.Process().children():
            if child.pid not in known:
                with contextlib.suppress(ChildProcessError):
                    os.waitpid(child.pid, os.WNOHANG)

    def _write_status(self) -> None:
        status = {"supervisor": os.getpid(), "units": {name: unit.describe() for name, unit in self.units.items()}}
        if status != self._written:
            write_json(self.home.run / "status.json", status)
            self._written = status
        for name, unit in self.units.items():
            line = f"{unit.state} ({unit.reason})" if unit.reason and unit.state != "healthy" else unit.state
            if self._logged.get(name) != line:
                self._logged[name] = line
                log.info("%s: %s", name, line)

    def _end_all(self) -> None:
        # Those that talk to the API server and the database first: each wave finds what it needs still there.
        last = [self.units[name] for name in ("api-server", "postgres") if name in self.units]
        waves = [[unit for unit in self.units.values() if unit not in last], *([unit] for unit in last)]
        for wave in waves:
            for unit in wave:
                unit.ask_to_end()
            for unit in wave:
                unit.make_end(deadline=time.monotonic() + unit.service.stop_seconds)
        self._write_status()


def main() -> int:
    """Supervise the home that the environment names, unless another supervisor does."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    home = open_home()
    prepare_home(home)
    with (home.run / "supervisor.lock").open("a") as lock:
        if not _take(lock):
            log.info("another supervisor runs this home already")
            return 0
        return _supervise(home)


def _take(lock: TextIO) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _supervise(home: Home) -> int:
    own = identify(os.getpid())
    if own is not None:
        save_record(home, "supervisor", own)
    adopt_orphans()
    strays = stop_all(find_marked(home))
    if strays:
        log.info("stopped %s processes that an earlier supervisor left", strays)
    try:
        moved = choose_ports(home)
        if moved:
            log.info("taken by others, chosen anew: the ports of %s", ", ".join(moved))
        units = [Unit(home, service) for service in plan_services(home)]
    except (UpdraftError, PostgresError) as error:
        write_json(home.run / "status.json", {"error": str(error), "units": {}})
        log.error("%s", error)
        return 1
    supervisor = Supervisor(home, units)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, supervisor.stop)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    supervisor.run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
