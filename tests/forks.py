"""Processes forked from one that has imported what they need: cheap enough to kill by the dozen."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Mapping, Sequence
from multiprocessing.synchronize import Barrier
from typing import Any

# One server serves a test process, and imports what the first who starts it has asked for: so all ask here. It has run
# nothing: neither Delta's threads nor a database connection, which would not survive a fork. Its environment is the one
# that whoever started it had.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(
    [
        "include.alerts.channels",
        "include.alerts.outbox",
        "include.lake.maintenance",
        "include.modeling.search",
        "include.quality.publication",
        "include.quality.validation",
        "include.registry.judgement",
        "include.registry.promotion",
        "include.sources.changes",
        "include.sources.extraction",
        "include.sources.images",
        "include.sources.survey",
        "alembic",
        "mlflow",
        "mlflow.store.model_registry.sqlalchemy_store",
        "mlflow.store.tracking.sqlalchemy_store",
        "requests",
        "skops.io",
        "boto3",
        "tests.alerts.workers",
        "tests.deployment.sites",
        "tests.lake.workers",
        "tests.privacy.kill_jobs",
        "tests.quality.publishing",
        "tests.registry.house",
        "tests.sources.images.killing",
        "tests.sources.kill_jobs",
    ]
)


def run_snippet(snippet: str, *, arguments: Any = None, crash_at: str = "") -> int | None:
    """
    Run Python text in a process of its own, which kills itself at the crash point; return its exit status.

    The snippet finds `arguments` under that name.
    """
    process = PROCESSES.Process(target=_execute, args=(snippet, arguments, crash_at))
    process.start()
    process.join(120)
    return process.exitcode


def _execute(snippet: str, arguments: Any, crash_at: str) -> None:
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    exec(snippet, {"arguments": arguments})


def run_at_once(work: Callable[..., Any], each: Sequence[Mapping[str, Any]]) -> list[Any]:
    """Call a function by each keywords in a process of its own, all at the same moment; return what they return."""
    with PROCESSES.Pool(len(each), _stand_ready, [PROCESSES.Barrier(len(each))]) as pool:
        return pool.starmap(_start_together, [(work, keywords) for keywords in each], chunksize=1)


_barrier: Barrier


def _stand_ready(barrier: Barrier) -> None:
    global _barrier
    _barrier = barrier


def _start_together(work: Callable[..., Any], keywords: Mapping[str, Any]) -> Any:
    # Who waits here takes no second job.
    _barrier.wait(120)
    return work(**keywords)
