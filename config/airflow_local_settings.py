"""
Airflow imports this at the start of each of its processes (it is on PYTHONPATH).

In the scheduler and in Celery's worker it imports the heavy modules once: both fork their tasks, which then find them
loaded. A task that needs pandas, scikit-learn and MLflow costs tenths of a second so, instead of seven. There and in
the Dag processor it imports Updraft too, most of the cost of a Dag file's parse; a team's own workflows are read anew
each time. Import only: code that starts threads (OpenMP, an async runtime) must not run before a fork.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import logging
import os
import signal
import sys
import threading
import warnings

# Airflow copies every public name into its own settings: there is none to copy.
__all__: list[str] = []

# skops first: it looks through sys.modules, and warns about what it meets in the others.
_HEAVY = (
    "skops.io",
    "numpy",
    "pandas",
    "pyarrow",
    "deltalake",
    "sklearn.ensemble",
    "sklearn.linear_model",
    "sklearn.compose",
)
_HEAVIER = (
    "scipy.stats",
    "matplotlib.figure",
    "great_expectations",
    "adbc_driver_postgresql.dbapi",
    "mlflow",
    "mlflow.tracking",
)
# What MLflow itself imports only once a store is opened: a third of the cost of a task that asks the registry.
_STORES = ("mlflow.store.tracking.sqlalchemy_store", "mlflow.store.model_registry.sqlalchemy_store", "alembic.command")
# Of Airflow itself, what a Dag file of ours and its tasks import beside what the scheduler has.
_AIRFLOW = (
    "airflow.providers.standard.operators.trigger_dagrun",
    "airflow.providers.standard.triggers.temporal",
    "airflow.sdk.bases.operatorlink",
)
# Updraft's own: what a Dag file imports, and what its tasks do.
_DAGS = ("updraft.dags", "updraft.lake_dags", "updraft.replay_dags", "updraft.transform_dags", "updraft.watch_dags")
_STEPS = (
    "include.sources.extraction",
    "include.quality.validation",
    "include.quality.publication",
    "include.modeling.search",
    "include.modeling.fitting",
    "include.registry.judgement",
    "include.registry.promotion",
    "include.deployment.rollout",
    "include.alerts.outbox",
)
_CHATTY = ("great_expectations", "mlflow", "matplotlib", "alembic", "urllib3")
_PR_SET_PDEATHSIG = 1


def _component() -> str:
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    return "celery worker" if words[:2] == ["celery", "worker"] else (words[0] if words else "")


def _preload(*modules: str) -> None:
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for module in modules:
            # A team may leave one out: the task that needs it says so far better than the scheduler's start can.
            with contextlib.suppress(ImportError):
                importlib.import_module(module)


def _compile_templates() -> None:
    """Of the pages of validations: each task would do it anew."""
    with contextlib.suppress(ImportError):
        importlib.import_module("include.quality.page").renderers()


def _end_forks_with_their_parent() -> None:
    """
    Have the kernel kill a fork (a worker, its task) when its parent is killed.

    Otherwise a task outlives its killed supervisor and works beside its own retry, and idle workers stay for ever.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    parent = {"pid": 0, "is_main_thread": False}

    def before() -> None:
        parent.update(pid=os.getpid(), is_main_thread=threading.current_thread() is threading.main_thread())

    def in_child() -> None:
        # The kernel's bond is to the forking thread: a pool's thread may end long before its child has to.
        if not parent["is_main_thread"]:
            return
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent["pid"]:
            os._exit(1)

    os.register_at_fork(before=before, after_in_child=in_child)


_COMPONENT = _component()
if os.environ.get("UPDRAFT_PRELOAD", "1") != "0":
    if _COMPONENT in {"scheduler", "celery worker"}:
        _preload(*_HEAVY, *_HEAVIER, *_STORES, *_AIRFLOW, *_DAGS, *_STEPS)
        _compile_templates()
    elif _COMPONENT == "dag-processor":
        _preload(*_AIRFLOW, *_DAGS)
if _COMPONENT in {"scheduler", "dag-processor", "triggerer", "celery worker"}:
    _end_forks_with_their_parent()
