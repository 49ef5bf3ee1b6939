"""`python -m embedded up|down|status|demo|airflow …`: the embedded stack from the command line."""

from __future__ import annotations

import os
import sys
import time

from embedded.control import StackError, read_status, start, stop, wait_until_healthy
from embedded.home import open_home, prepare_home, request_demo, requested_demos
from embedded.postgres import PostgresError
from include.errors import UpdraftError

DEFAULT_WORKFLOW = "flight_delays"
USAGE = """Usage: python -m embedded COMMAND

  demo [WORKFLOW] bring everything up, run the whole loop for flight_delays (or another), show what came of it
  up              start the stack: PostgreSQL, Airflow's four processes, the endpoint
  status          say what runs
  down            stop all that was started here, and nothing else
  airflow ARG …   run Airflow's own command line against this stack"""


def main(arguments: list[str]) -> int:
    """Run one command."""
    command, *rest = arguments or ["help"]
    commands = {"up": _up, "down": _down, "status": _status}
    try:
        if command == "airflow":
            return _airflow(rest)
        if command == "demo" and len(rest) <= 1:
            return _demo(*rest)
        if command in commands and not rest:
            return commands[command]()
    except (StackError, UpdraftError, PostgresError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrupted. What runs goes on: `make status` shows it, `make down` stops it.", file=sys.stderr)
        return 130
    print(USAGE, file=sys.stderr)
    return 2


def _up() -> int:
    home = open_home()
    prepare_home(home)
    if "UPDRAFT_SERVE_WORKFLOW" not in os.environ and not requested_demos(home):
        request_demo(home, DEFAULT_WORKFLOW)
    begun = time.monotonic()
    is_new = start(home)
    wait_until_healthy(home, progress=lambda line: print(f"  {time.monotonic() - begun:5.1f} s  {line}", flush=True))
    print(f"{'Up' if is_new else 'Already up'}: http://127.0.0.1:{home.ports['airflow']}")
    print(f"User admin, password in {home.airflow / 'passwords.json'}")
    return 0


def _down() -> int:
    home = open_home()
    count = stop(home)
    print(f"Stopped {count} processes." if count else "Nothing was running.")
    return 0


def _status() -> int:
    status = read_status(open_home())
    if not status.get("units"):
        print(status.get("error") or "Nothing runs here: `make demo` starts it.")
        return 1
    width = max(map(len, status["units"]))
    for name, unit in status["units"].items():
        facts = [f"pid {unit['pid']}" if unit["pid"] else "", f"port {unit['port']}" if unit["port"] else ""]
        facts.append(f"{unit['restarts']} restarts" if unit["restarts"] else "")
        reason = (
            f"last: {unit['reason']}" if unit["reason"] and (unit["restarts"] or unit["state"] != "healthy") else ""
        )
        print(f"{name:{width}} {unit['state']:12} {'  '.join(filter(None, [*facts, reason]))}")
    return 0 if all(unit["state"] in {"healthy", "done"} for unit in status["units"].values()) else 1


def _demo(workflow_name: str = DEFAULT_WORKFLOW) -> int:
    from embedded.cases import CASES
    from embedded.demo import run_demo

    if workflow_name not in CASES:
        print(f"no demo of the workflow {workflow_name!r}: there are those of {', '.join(CASES)}", file=sys.stderr)
        return 2
    return run_demo(open_home(), CASES[workflow_name])


def _airflow(rest: list[str]) -> int:
    from embedded.airflow_env import stack_environment
    from embedded.processes import MARK

    home = open_home()
    if not home.ports:
        raise StackError("nothing has been started here yet: `make demo` or `python -m embedded up` first")
    environment = stack_environment(home)
    # A person's command is none of the stack's processes: `down` leaves it alone.
    del environment[MARK]
    os.execve(sys.executable, [sys.executable, "-m", "airflow", *rest], environment)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
