"""
Collects and extracts a small site in forked children that are killed: a line of JSON in, how many were killed out.

The process that forks has imported everything, and touches no table itself.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sys
import time
import traceback
from pathlib import Path

import include.sources.web  # noqa: F401  # what each child would import
from include.lake.fencing import new_token
from include.lake.store import Lake
from include.sources.extraction import collect_partition, extract_partition
from include.workflow import Workflow
from tests.sources.web.small_site import DAYS, declare


def kill_rounds(*, uri: str, folder: str, address: str, crash_at: str | None, rounds: int, is_forgetful: bool) -> int:
    """
    Kill at a point (or, without one, at moments of chance) up to so many times, or until it is passed; then run to the
    end.
    """
    workflow, lake = declare(Path(folder), address), Lake(uri=uri, storage_options={})
    rng = random.Random(7)
    n_killed = 0
    for _ in range(rounds):
        if _child(workflow, lake, crash_at=crash_at, after_seconds=None if crash_at else rng.uniform(0.0, 0.3)) == 0:
            break
        n_killed += 1
        if is_forgetful:  # as a crawler would be that keeps what it has in memory
            shutil.rmtree(Path(uri) / workflow.name / "_crawls", ignore_errors=True)
    if _child(workflow, lake, crash_at=None, after_seconds=None) != 0:
        raise RuntimeError("the last run was killed, though nothing should have")
    return n_killed


def _child(workflow: Workflow, lake: Lake, *, crash_at: str | None, after_seconds: float | None) -> int:
    pid = os.fork()
    if pid == 0:
        _work(workflow, lake, crash_at)
    if after_seconds is not None:
        time.sleep(after_seconds)
        os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return 9
    if os.WEXITSTATUS(status):
        raise RuntimeError("a child failed; its error is above")
    return 0


def _work(workflow: Workflow, lake: Lake, crash_at: str | None) -> None:
    os.environ["UPDRAFT_CRASH_AT"] = crash_at or ""
    try:
        collect_partition(workflow, DAYS[0], connection_uri=None, lake=lake, token=new_token())
        for day in DAYS:
            extract_partition(workflow, day, connection_uri=None, lake=lake, token=new_token())
    except BaseException:
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    for line in sys.stdin:
        sys.stdout.write(f"{kill_rounds(**json.loads(line))}\n")
        sys.stdout.flush()
