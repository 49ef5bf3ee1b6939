"""
The deploy Dag and a backfilled version: refused, then waiting for a person, then promoted with both names in the
ledger.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from include.lake.ledger import PROMOTIONS, current_champion, read_ledger
from include.registry.promotion import promote
from tests.plugins.conftest import parse_dag
from tests.registry.fixtures import template  # noqa: F401 - a fixture
from tests.registry.house import House, copy_house
from tests.serving.endpoints import ThreadEndpoint
from updraft.dags import build_dags

pytestmark = [pytest.mark.claim("approval"), pytest.mark.airflow]

DAG_FILE = """\
# an Airflow Dag file
from pathlib import Path
from tests.registry.house import declare
from updraft.dags import build_dags

build_dags(declare(Path({folder!r})))
"""


@pytest.fixture(scope="module")
def house(template: Any, tmp_path_factory: pytest.TempPathFactory) -> House:  # noqa: F811
    """A champion as of the third Monday; beside it a newer version that was trained as of a past date."""
    home = tmp_path_factory.mktemp("deploy")
    house = copy_house(template.home, template.snapshots, home)
    champion = house.register("monday3")
    house.decide(champion, None)
    promote(house.workflow, champion, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    house.decide(house.register("monday4", is_backfilled=True), champion)
    (home / "dags").mkdir()
    (home / "dags" / "parcels.py").write_text(DAG_FILE.format(folder=str(home)))
    return house


@pytest.fixture(scope="module")
def api(airflow_db: None) -> Any:
    """Airflow's own API, asked as a person who is logged in."""
    from airflow.api_fastapi.app import create_app, get_auth_manager, purge_cached_app
    from airflow.api_fastapi.auth.managers.simple.user import SimpleAuthManagerUser
    from starlette.testclient import TestClient

    purge_cached_app()
    client = TestClient(create_app(apps="all"))
    token = get_auth_manager().generate_jwt(SimpleAuthManagerUser(username="bob", role="admin"))
    client.headers["Authorization"] = f"Bearer {token}"
    return client


@contextmanager
def answering(api: Any, option: str) -> Iterator[list[Any]]:
    """Somebody who answers as soon as a task waits; what was asked, and how the answer was taken."""
    waited: list[Any] = []
    is_over = threading.Event()

    def answer() -> None:
        while not is_over.wait(0.2):
            for detail in api.get(
                "/api/v2/dags/parcels.deploy/dagRuns/~/hitlDetails", params={"response_received": False}
            ).json()["hitl_details"]:
                ti = detail["task_instance"]
                run = f"/api/v2/dags/parcels.deploy/dagRuns/{ti['dag_run_id']}"
                path = f"{run}/taskInstances/{ti['task_id']}/-1/hitlDetails"
                reply = api.patch(path, json={"chosen_options": [option], "params_input": {}})
                waited.append((ti["task_id"], detail["subject"], detail["body"], reply.status_code))
                return

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield waited
    finally:
        is_over.set()
        thread.join()


def deploy(house: House, monkeypatch: pytest.MonkeyPatch, **conf: Any) -> dict[str, str]:
    monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
    run = parse_dag("parcels.deploy", house.settings.home / "dags").test(
        logical_date=None, run_conf={"model_version": "2", **conf}
    )
    return {ti.task_id: str(ti.state) for ti in run.get_task_instances()}


def task_of(house: House, task_id: str) -> Any:
    """One task of the Dag, to run in this process."""
    return next(dag for dag in build_dags(house.workflow) if dag.dag_id == "parcels.deploy").get_task(task_id)


def promotions(house: House) -> list[dict[str, Any]]:
    return read_ledger(house.lake, PROMOTIONS).to_pylist()


def test_without_override_it_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
    task = task_of(house, "verify_evidence")
    run = {"dag_run": SimpleNamespace(conf={}), "dag": SimpleNamespace(params={}), "triggering_asset_events": {}}
    with pytest.raises(
        AirflowSkipException, match=r"and backfilled: .*; nothing is to be done. To deploy it all the same, trigger"
    ):
        task.execute({"run_id": "manual__1", **run, "params": {"model_version": "2", "allow_backfilled": False}})
    allowed = task.execute({"run_id": "manual__1", **run, "params": {"model_version": "2", "allow_backfilled": True}})
    assert "backfilled" in allowed["approval_reason"]


def test_with_override_it_waits_for_a_person_who_may_say_no(
    house: House, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with answering(api, "Reject") as waited:
        found = deploy(house, monkeypatch, allow_backfilled=True)
    ((task_id, subject, body, status),) = waited
    assert (task_id, status) == ("approve_backfilled", 200)
    assert subject == "Deploy a backfilled version of parcels?"
    assert "version 2 of 'parcels' is as of 2026-02-02 00:00 and backfilled" in body
    assert (found["approve_backfilled"], found["stage"], found["promote"]) == ("success", "skipped", "skipped")
    assert len(promotions(house)) == 1


def test_an_approval_moves_the_champion_and_both_are_in_the_ledger(
    house: House, api: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ThreadEndpoint(house.workflow, house.settings, follow_seconds=3600) as endpoint, answering(api, "Approve"):
        monkeypatch.setenv("UPDRAFT_ENDPOINT_URL", f"http://127.0.0.1:{endpoint.port}")
        monkeypatch.setenv("UPDRAFT_ENDPOINT_TOKEN", str(house.settings.endpoint_token))
        found = deploy(house, monkeypatch, allow_backfilled=True)
        assert endpoint.get("/version").content["model_version"] == "2"
    assert set(found.values()) == {"success"}
    record = current_champion(house.lake, "parcels")
    assert record is not None
    assert (record.model_version, record.approved_by) == ("2", "bob")
    assert ", run manual__" in str(record.overridden_by)


def test_marking_the_approval_as_succeeded_approves_nothing(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a person does in the web UI: the task is green, and has no answer."""
    task = task_of(house, "promote")
    run = SimpleNamespace(triggering_user_name="ann")
    for answer in (None, {}, {"approved_by": ""}, "Approve"):
        task.approval = answer
        override = task._override({"params": {"allow_backfilled": True}, "dag_run": run, "run_id": "manual__9"})
        assert (override.requested_by, override.approved_by) == ("ann, run manual__9", "")
