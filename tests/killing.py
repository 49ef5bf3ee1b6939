"""
Kill a process at every crash point that it passes, cheaply: each try is a fork of the process that has imported
everything (`tests.forks`).

A child counts the crash points that it passes, and kills itself at the n-th, or passes all of them and tells their
names.

    with forge("tests.sources.jobs", environment={}) as run:
        names = run("ingest", arguments).passed
        for n in range(1, len(names) + 1):
            assert run("ingest", arguments, kill_at=n).status == KILLED
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

from tests.forks import PROCESSES

# Those that pass crash points: what a child imported later would not count.
COUNTED = (
    "include.quality.validation",
    "include.quality.publication",
    "include.sources.extraction",
    "include.sources.survey",
)


@dataclass(frozen=True, kw_only=True)
class Try:
    """How a child ended: 0, or minus the signal that killed it; and the crash points that it passed, in order."""

    status: int
    passed: tuple[str, ...]


Runner = Callable[..., Try]


@contextlib.contextmanager
def forge(module: str, *, environment: Mapping[str, str]) -> Iterator[Runner]:
    """Give what runs a function of a module in a child, with keyword arguments and these environment variables."""

    def run(function: str, arguments: Mapping[str, Any], *, kill_at: int = 0) -> Try:
        receiving, sending = PROCESSES.Pipe(duplex=False)
        job = {
            "module": module,
            "function": function,
            "arguments": arguments,
            "kill_at": kill_at,
            "environment": environment,
        }
        child = PROCESSES.Process(target=_work, args=(job, sending))
        child.start()
        sending.close()
        passed: list[str] = []
        with receiving, contextlib.suppress(EOFError):
            while True:
                passed.append(receiving.recv())
        child.join()
        status = child.exitcode
        child.close()
        assert status is not None
        return Try(status=status, passed=tuple(passed))

    yield run


def _work(job: Mapping[str, Any], sending: Connection) -> None:
    status = 1
    try:
        os.environ.update(job["environment"])
        module = importlib.import_module(job["module"])
        for name in COUNTED:
            importlib.import_module(name)
        _count_crash_points(job["kill_at"], sending)
        getattr(module, job["function"])(**job["arguments"])
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        # Not sys.exit: Delta's threads may outlive the interpreter's end.
        os._exit(status)


def _count_crash_points(kill_at: int, sending: Connection) -> None:
    from include.lake import crash_points

    original, n_passed = crash_points.crash_point, 0

    def crash_point(name: str) -> None:
        nonlocal n_passed
        n_passed += 1
        sending.send(name)
        if n_passed == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for module in list(sys.modules.values()):
        if getattr(module, "crash_point", None) is original:
            module.crash_point = crash_point  # type: ignore[attr-defined]
