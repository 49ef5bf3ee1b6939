"""Airflow's metadata database in this process, and the flights in a real PostgreSQL."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from embedded.demo_data import load_flights, reader_uri
from embedded.postgres import PostgresServer, create_database
from include.settings import PROJECT_ROOT

PROJECT_DAGS = PROJECT_ROOT / "dags"


@pytest.fixture(scope="session")
def flights_uri(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The demo's flights database, for the role that can only read it."""
    home = tmp_path_factory.mktemp("flights")
    create_database(postgres, "flights")
    load_flights(postgres.uri("flights"), home=home)
    return reader_uri(postgres.uri("flights"), home=home)


@pytest.fixture(scope="session")
def airflow_db() -> None:
    """A migrated metadata database (SQLite) in this test run's Airflow home."""
    from airflow.utils.db import initdb

    initdb()


@pytest.fixture(scope="module")
def server(airflow_db):
    """Airflow's own app, with the plugin mounted as in production."""
    from airflow.api_fastapi.app import create_app, purge_cached_app

    purge_cached_app()
    return create_app(apps="all")


@pytest.fixture(scope="module")
def tokens(server):
    """Tokens as Airflow's own login gives them, by kind of user; one that has run out; one that nobody has signed."""
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser

    manager = get_auth_manager()
    made = {role: manager.generate_jwt(SimpleAuthManagerUser(username=role, role=role)) for role in ("viewer", "admin")}
    made["nobody"] = manager.generate_jwt(SimpleAuthManagerUser(username="nobody", role=None))
    made["expired"] = manager.generate_jwt(
        SimpleAuthManagerUser(username="admin", role="admin"), expiration_time_in_seconds=-3600
    )
    return {**made, "forged": made["admin"][:-6] + "AAAAAA"}


@pytest.fixture
def ask(server, tokens, workflow, monkeypatch):
    """Ask for a page below /updraft as one of the users; `workflow` is the test file's own."""
    from starlette.testclient import TestClient

    import updraft.ui.workflows

    monkeypatch.setenv("UPDRAFT_HOME", str(workflow.folder.parent / "home"))
    monkeypatch.setattr(updraft.ui.workflows, "declared_workflows", lambda: [workflow])
    client = TestClient(server, raise_server_exceptions=False)

    def send(path: str, user: str | None = "viewer", method: str = "GET"):
        headers = {"Authorization": f"Bearer {tokens[user]}"} if user else {}
        return client.request(method, f"/updraft{path}", headers=headers, follow_redirects=False)

    return send


def parse_dag(dag_id: str, folder: Path = PROJECT_DAGS) -> Any:
    """
    One of a folder's Dags, parsed anew: `dag.test()` leaves a run's conf in the params of the object it
    is called on.
    """
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db

    path = _file_of(dag_id) if folder == PROJECT_DAGS else folder
    bag = DagBag(dag_folder=str(path))
    if (content := _content_of(path)) not in _known_to_airflow:
        DagBundlesManager().sync_bundles_to_db()
        sync_bag_to_db(bag, "dags-folder", None)
        _known_to_airflow.add(content)
    dag = bag.dags[dag_id]
    for task in dag.tasks:
        task.retries = 0  # dag.test() would wait out every delay
    return dag


def run_parsed(dag: Any, conf: dict[str, Any]) -> Any:
    """Run a parsed Dag with `dag.test()`, which by itself would parse and store all of the project's Dags each time."""
    import airflow.dag_processing.dagbag as dagbag_module

    parse = dagbag_module.BundleDagBag
    with mock.patch.object(dagbag_module, "BundleDagBag", lambda **arguments: parse(**arguments, collect_dags=False)):
        return dag.test(logical_date=None, run_conf=conf)


# Dag files whose Dags are in Airflow's database, by path and text.
_known_to_airflow: set[tuple[str, ...]] = set()


def _content_of(path: Path) -> tuple[str, ...]:
    files = sorted(path.glob("*.py")) if path.is_dir() else [path]
    return tuple(text for file in files for text in (str(file), file.read_text(encoding="utf-8")))


def _file_of(dag_id: str) -> Path:
    return PROJECT_DAGS / f"{dag_id.partition('.')[0]}.py"


@pytest.fixture(scope="session")
def run_dag(airflow_db: None) -> Callable[..., Any]:
    """
    Run one of the project's Dags with `dag.test()`, as a run without a logical date; it can't set a partition key
    itself (3.3.2).
    """
    import airflow.models.dagrun as dagrun_module

    create = dagrun_module.get_or_create_dagrun

    def run(dag_id: str, *, partition_key: str | None = None, conf: dict[str, Any] | None = None) -> Any:
        def create_with_key(*args: Any, **kwargs: Any) -> Any:
            dag_run = create(*args, **kwargs)
            if partition_key is not None:
                dag_run.partition_key = partition_key
                kwargs["session"].merge(dag_run)
                kwargs["session"].commit()
            return dag_run

        with mock.patch.object(dagrun_module, "get_or_create_dagrun", create_with_key):
            return run_parsed(parse_dag(dag_id), conf or {})

    return run


@pytest.fixture(scope="session")
def updraft_home(tmp_path_factory: pytest.TempPathFactory, flights_uri: str) -> Iterator[Path]:
    """Updraft's settings for the Dags: a home of its own, the flights, and an endpoint's address and token."""
    from embedded.postgres import free_port

    home = tmp_path_factory.mktemp("home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(home))
        patch.setenv("UPDRAFT_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
        patch.setenv("UPDRAFT_ENDPOINT_TOKEN", "a token of the tests that nobody else knows")
        patch.setenv("AIRFLOW_CONN_FLIGHTS_DB", flights_uri)
        yield home
