"""Which processes the stack consists of, in the order of their start."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

import requests

from embedded.airflow_env import MAIN_ENDPOINT, endpoint_port, stack_environment
from embedded.cases import CASES
from embedded.databases import check_server, is_external
from embedded.home import Home, requested_demos
from embedded.postgres import prepare_server
from embedded.services import HealthCheck, Service, check_answer, get_locally


def plan_services(home: Home, environ: Mapping[str, str] | None = None) -> list[Service]:
    """List the processes: PostgreSQL, Airflow's, and those of each demo that was asked for."""
    given = os.environ if environ is None else environ
    if not is_external():
        prepare_server(home.folder / "postgres", port=home.ports["postgres"])
    environment = stack_environment(home, given)
    services = [
        *([] if is_external() else [_postgres(home, environment)]),
        *_airflow(home, environment),
        *(_endpoint(home, workflow, environment, given) for workflow in _served(home, given)),
        *(service for name in _requested(home) for service in CASES[name].services(home, environment)),
    ]
    names = {service.name for service in services}
    return [_without_missing_needs(service, names) for service in services]


def endpoint_name(workflow: str, environ: Mapping[str, str] | None = None) -> str:
    """Name of the unit that serves a workflow."""
    return "endpoint" if endpoint_port(workflow, environ) == MAIN_ENDPOINT else f"{workflow}-endpoint"


def _served(home: Home, given: Mapping[str, str]) -> list[str]:
    named = given.get("UPDRAFT_SERVE_WORKFLOW")
    return list(dict.fromkeys([*([named] if named else []), *_requested(home)]))


def _requested(home: Home) -> list[str]:
    return [name for name in requested_demos(home) if name in CASES]


def _airflow(home: Home, environment: Mapping[str, str]) -> list[Service]:
    needs = ("postgres", "airflow-setup")

    def component(name: str, *options: str, health: str) -> Service:
        command, check = (sys.executable, "-m", "airflow", name, *options), _airflow_check(port, health)
        return Service(
            name=name, command=command, needs=needs, check=check, told_by="api-server", environment=environment
        )

    def set_up(part: str) -> Service:
        command = (sys.executable, "-m", "embedded.setup", part)
        return Service(
            name=f"{part}-setup", command=command, needs=("postgres",), is_once=True, environment=environment
        )

    port = home.ports["airflow"]
    return [
        set_up("airflow"),
        set_up("mlflow"),
        Service(
            name="api-server",
            command=(sys.executable, "-m", "airflow", "api-server"),
            needs=needs,
            check=lambda started: check_answer(f"http://127.0.0.1:{port}/api/v2/version"),
            port=port,
            environment=environment,
        ),
        # Task logs are files on this machine, which the API server reads by itself: no log server is needed.
        component("scheduler", "--skip-serve-logs", health="scheduler"),
        component("dag-processor", health="dag_processor"),
        component("triggerer", "--skip-serve-logs", health="triggerer"),
    ]


def _postgres(home: Home, environment: Mapping[str, str]) -> Service:
    server = home.postgres
    return Service(
        name="postgres",
        command=tuple(server.command()),
        check=lambda started: check_server(home),
        port=server.port,
        environment=environment,
        # SIGINT is PostgreSQL's fast shutdown: open sessions end, nothing is lost. SIGTERM would wait for them.
        stop_signal=signal.SIGINT,
        orphan_signal=signal.SIGINT,
        stop_seconds=30,
    )


def _endpoint(home: Home, workflow: str, environment: Mapping[str, str], given: Mapping[str, str]) -> Service:
    port = home.ports[endpoint_port(workflow, given)]
    return Service(
        name=endpoint_name(workflow, given),
        command=(sys.executable, "-m", "include.serving", "--workflow", workflow, "--port", str(port)),
        needs=("postgres", "mlflow-setup"),
        check=lambda started: check_answer(f"http://127.0.0.1:{port}/v2/health/live"),
        port=port,
        environment=environment,
        orphan_signal=signal.SIGTERM,
        stop_seconds=20,
    )


def _without_missing_needs(service: Service, names: set[str]) -> Service:
    return replace(service, needs=tuple(need for need in service.needs if need in names))


def _airflow_check(port: int, component: str) -> HealthCheck:
    def check(started: datetime) -> str | None:
        try:
            health = get_locally(f"http://127.0.0.1:{port}/api/v2/monitor/health").json()[component]
        except (requests.RequestException, KeyError, ValueError):
            return "the API server can't tell yet"
        heartbeat = health.get(f"latest_{component}_heartbeat")
        # A killed predecessor's last heartbeat looks healthy for another 30 s: only one of this process counts.
        if not heartbeat or datetime.fromisoformat(heartbeat) < started:
            return "no heartbeat yet"
        return None if health["status"] == "healthy" else f"Airflow calls it {health['status']}"

    return check
