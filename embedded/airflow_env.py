"""
Airflow's configuration, by environment alone: no airflow.cfg to edit, nothing taken over from the user's
own Airflow.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from embedded.cases import CASES, FLIGHTS
from embedded.databases import database_uri
from embedded.home import PROJECT_ROOT, Home
from embedded.processes import MARK

ADMIN_USER = "admin"
MAIN_ENDPOINT = "endpoint"


def stack_environment(home: Home, environ: Mapping[str, str] | None = None) -> dict[str, str]:
    """
    Environment of every process of the stack: the caller's, less its own Airflow and Python, plus ours.

    A variable `AIRFLOW_CONN_…` or `AIRFLOW_VAR_…` of the caller stays: that is how a team hands over its connections.
    `UPDRAFT_…` and the keys of a cloud stay for the same reason.
    """
    given = os.environ if environ is None else environ
    kept = {name: value for name, value in given.items() if not _is_foreign(name)}
    loopback = ",".join(filter(None, [kept.get("no_proxy") or kept.get("NO_PROXY"), "127.0.0.1,localhost"]))
    return {
        **kept,
        **{"no_proxy": loopback, "NO_PROXY": loopback},
        **_updraft(home, given),
        **_airflow(home, given),
        **_quiet(),
        **_connections(home, given),
        "PYTHONPATH": os.pathsep.join(str(PROJECT_ROOT / part) for part in ("", "plugins", "config")),
        MARK: str(home.folder),
    }


def endpoint_port(workflow_name: str, environ: Mapping[str, str] | None = None) -> str:
    """Name of the port that a workflow's endpoint listens on: one has the main port, each other demo one of its own."""
    given = os.environ if environ is None else environ
    main = given.get("UPDRAFT_SERVE_WORKFLOW") or FLIGHTS.workflow_name
    return MAIN_ENDPOINT if workflow_name == main else f"endpoint_{workflow_name}"


def _is_foreign(name: str) -> bool:
    is_handed_over = name.startswith(("AIRFLOW_CONN_", "AIRFLOW_VAR_"))
    # Without bytecode each process would compile all of Airflow anew.
    is_python = name in {"PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP", "PYTHONDONTWRITEBYTECODE", "VIRTUAL_ENV"}
    # make hands its own options down; a make that a task runs must not see them.
    return (
        is_python
        or name in {"MAKEFLAGS", "MAKELEVEL", "MFLAGS"}
        or (name.startswith("AIRFLOW_") and not is_handed_over)
    )


def _connections(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    # Those of every demo, so that one that is asked for later needs no restart of Airflow.
    names = {f"AIRFLOW_CONN_{case.connection.upper()}": case for case in CASES.values() if case.connection}
    return {name: given.get(name) or case.connection_uri(home) for name, case in names.items()}


def _endpoints(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    ports = {f"UPDRAFT_ENDPOINT_URL__{name.upper()}": endpoint_port(name, given) for name in CASES}
    ports = {
        "UPDRAFT_ENDPOINT_URL": MAIN_ENDPOINT,
        **{name: port for name, port in ports.items() if port != MAIN_ENDPOINT},
    }
    return {name: given.get(name) or f"http://127.0.0.1:{home.ports[port]}" for name, port in ports.items()}


def _updraft(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    return {
        **_endpoints(home, given),
        "UPDRAFT_HOME": str(home.folder),
        "UPDRAFT_REGISTRY_URI": given.get("UPDRAFT_REGISTRY_URI") or database_uri(home, "mlflow", driver="psycopg2"),
        "UPDRAFT_ENDPOINT_TOKEN": given.get("UPDRAFT_ENDPOINT_TOKEN") or home.secrets["endpoint_token"],
    }


def _airflow(home: Home, given: Mapping[str, str]) -> dict[str, str]:
    url = f"http://127.0.0.1:{home.ports['airflow']}"
    options = {
        "CORE__DAGS_FOLDER": given.get("UPDRAFT_DAGS_FOLDER") or str(PROJECT_ROOT / "dags"),
        "CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "CORE__EXECUTOR": "LocalExecutor",
        "CORE__PARALLELISM": "16",
        "CORE__LOAD_EXAMPLES": "False",
        # A Dag file of ours need not contain the word airflow, without which Airflow would pass over it.
        "CORE__DAG_DISCOVERY_SAFE_MODE": "False",
        "CORE__DAGS_ARE_PAUSED_AT_CREATION": "True",
        "CORE__FERNET_KEY": home.secrets["fernet_key"],
        "CORE__SIMPLE_AUTH_MANAGER_USERS": f"{ADMIN_USER}:admin",
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home.airflow / "passwords.json"),
        "CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "DATABASE__SQL_ALCHEMY_CONN": database_uri(home, "airflow", driver="psycopg2"),
        "API__HOST": "127.0.0.1",
        "API__PORT": str(home.ports["airflow"]),
        "API__BASE_URL": url,
        "API__WORKERS": "1",
        "API__SECRET_KEY": home.secrets["api_secret_key"],
        "API_AUTH__JWT_SECRET": home.secrets["jwt_secret"],
        # The default waits a second between two looks at the queue: a chain of ten tasks then takes 12 s instead of 3
        # s.
        "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": given.get("UPDRAFT_SCHEDULER_IDLE_SECONDS") or "0.1",
        "SCHEDULER__MAX_TIS_PER_QUERY": "64",
        # A restarted scheduler takes over what its predecessor left within half a minute, not five.
        "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
        # A task that is gone with its worker counts as lost after two minutes, not five: thrice what an API server
        # needs to restart.
        "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "120",
        # The preloaded modules reach the tasks by fork; Python 3.14's default start method would load them anew.
        "CORE__MP_START_METHOD": "fork",
        # A file that has changed is parsed at once all the same: this is for what it imports.
        "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": given.get("UPDRAFT_DAG_PARSE_SECONDS") or "30",
        "DAG_PROCESSOR__REFRESH_INTERVAL": "30",
        "DAG_PROCESSOR__PRINT_STATS_INTERVAL": "600",
        # An API server that restarts takes up to 40 s on two cores: tasks knock for longer than that.
        "WORKERS__EXECUTION_API_RETRIES": "10",
        "WORKERS__EXECUTION_API_TIMEOUT": "15",
        "WORKERS__MAX_FAILED_HEARTBEATS": "12",
        "LOGGING__BASE_LOG_FOLDER": str(home.airflow / "logs"),
    }
    return {"AIRFLOW_HOME": str(home.airflow), **{f"AIRFLOW__{name}": value for name, value in options.items()}}


def _quiet() -> dict[str, str]:
    return {
        # No part of the stack calls home.
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "GX_ANALYTICS_ENABLED": "false",
        "GIT_PYTHON_REFRESH": "quiet",
        # The parallelism is in the mapped tasks; and no thread pool may exist in the scheduler when it forks.
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        # Airflow's process titles would overwrite the mark by which a stray process is found.
        "SPT_NOENV": "1",
        "PYTHONUNBUFFERED": "1",
    }
