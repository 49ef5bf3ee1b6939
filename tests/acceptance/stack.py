"""PostgreSQL and Airflow's four processes, really running, on a home of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded.airflow_env import ADMIN_USER, stack_environment
from embedded.api_client import AirflowClient
from embedded.control import read_status, start, stop, wait_until_healthy
from embedded.home import Home
from embedded.processes import find_marked


@dataclass(frozen=True, kw_only=True)
class AirflowStack:
    """A running stack, and a signed-in client of its Airflow."""

    home: Home
    client: AirflowClient

    @property
    def environment(self) -> dict[str, str]:
        """The environment of its processes: UPDRAFT_…, connections, AIRFLOW__…."""
        return stack_environment(self.home)


@contextmanager
def running_stack(folder: Path, *, environ: Mapping[str, str] | None = None) -> Iterator[AirflowStack]:
    """
    Run a stack for the length of a `with` block; `UPDRAFT_DAGS_FOLDER` in `environ` names other Dags than the
    project's.

    That its end leaves no process is checked each time.
    """
    home = Home(folder=folder)
    start(home, {**os.environ, "UPDRAFT_SERVE_WORKFLOW": "", **(environ or {})})
    try:
        wait_until_healthy(home)
        yield AirflowStack(home=home, client=signed_in(home))
    finally:
        n_stopped = stop(home)
    assert_ended(home, n_stopped)


def signed_in(home: Home) -> AirflowClient:
    """Sign in as a home's administrator."""
    return AirflowClient(
        f"http://127.0.0.1:{home.ports['airflow']}", user=ADMIN_USER, password=home.secrets["admin_password"]
    )


def assert_ended(home: Home, n_stopped: int) -> None:
    """All of a stack's processes were stopped, and none is left."""
    assert n_stopped >= len(("supervisor", "postgres", "api-server", "scheduler", "dag-processor", "triggerer"))
    assert find_marked(home) == []
    assert read_status(home) == {}
    assert stop(home) == 0
