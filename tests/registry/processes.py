"""Real processes that register, judge and promote, and may be killed on the way."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

from include.errors import UpdraftError
from include.modeling.snapshot import Snapshot
from tests.forks import PROCESSES


def start(work: Callable[..., None], *arguments: Any) -> ForkServerProcess:
    """Start a process."""
    process = PROCESSES.Process(target=work, args=arguments)
    process.start()
    return process


def run_killed(work: Callable[..., None], *arguments: Any) -> None:
    """Run a process that has to die by SIGKILL."""
    process = start(work, *arguments)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL


def register_in(home: Path, packages: Path, training: str, crash_at: str) -> None:
    """Register a package, killed at a crash point."""
    from tests.registry.house import open_house

    house = open_house(home, packages, {})
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    house.register(training)


def judge_in(home: Path, packages: Path, snapshots: dict[str, Snapshot], version: str, crash_at: str) -> None:
    """Judge a version, killed at a crash point."""
    from tests.registry.house import open_house

    house = open_house(home, packages, snapshots)
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    house.judge(version)


def promote_in(home: Path, packages: Path, version: str, crash_at: str) -> None:
    """Promote a version, killed at a crash point."""
    from include.registry.promotion import promote
    from tests.registry.house import open_house

    house = open_house(home, packages, {})
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    promote(house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test")


def race_in(home: Path, packages: Path, version: str, barrier: Any, answers: Any) -> None:
    """Promote a version at the same moment as others; put what came of it on a queue."""
    from include.registry.promotion import promote
    from tests.registry.house import open_house

    house = open_house(home, packages, {})
    barrier.wait()
    try:
        promote(house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test")
        answers.put((version, "won"))
    except UpdraftError as error:
        answers.put((version, type(error).__name__))
