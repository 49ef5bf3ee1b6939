"""`make reproduce` and the Dags' operators: equal or not, in words and as an exit status."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException

from embedded import reproduce
from include.errors import DeclarationError, PartitionError, ReproductionError
from include.workflow import Workflow
from tests.registry.house import House
from tests.registry.test_reproduction import rewrite_manifest
from updraft.operators.reproduce import AuditModelOperator, ReproduceVersionOperator
from updraft.reproduce_dags import build_audit_models

pytestmark = pytest.mark.claim("reproduction")


@pytest.fixture
def at_home(house: House, monkeypatch: pytest.MonkeyPatch) -> House:
    """The house, as the settings of this process name it."""
    monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
    monkeypatch.setattr("include.serving.server.find_workflow", lambda name: house.workflow)
    return house


def context(**params: Any) -> dict[str, Any]:
    dag = SimpleNamespace(params={"workflow": "", "version": ""})
    return {"params": params, "dag": dag, "dag_run": SimpleNamespace(conf=params), "run_id": "manual__1"}


def test_equal_and_different_are_told_by_command_and_by_task(
    at_home: House, capsys: pytest.CaptureFixture[str]
) -> None:
    version = at_home.register("monday3")
    task = ReproduceVersionOperator(task_id="reproduce", workflows=[at_home.workflow])
    assert reproduce.main(["parcels", version]) == reproduce.EQUAL
    assert "Equal, to the byte." in capsys.readouterr().out
    done = task.execute(context(workflow="parcels", version=version))
    assert done["rebuilt_digest"] == done["recorded_digest"]
    rewrite_manifest(at_home, version, random_state=1)
    assert reproduce.main(["parcels", version]) == reproduce.DIFFERENT
    assert "  files.model.skops: recorded " in capsys.readouterr().err
    with pytest.raises(ReproductionError, match=r"is not reproduced: files\.model\.skops"):
        task.execute(context(workflow="parcels", version=version))


def test_what_can_not_be_asked_is_refused(at_home: House, capsys: pytest.CaptureFixture[str]) -> None:
    at_home.register("monday3")
    for arguments in ([], ["parcels"], ["parcels", ""]):
        assert reproduce.main(arguments) == reproduce.UNUSABLE
    assert reproduce.main(["parcels", "../1"]) == reproduce.DIFFERENT
    assert "has no version '../1'" in capsys.readouterr().err
    task = ReproduceVersionOperator(task_id="reproduce", workflows=[at_home.workflow])
    with pytest.raises(DeclarationError, match="'others' is no declared workflow: parcels"):
        task.execute(context(workflow="others", version="1"))
    with pytest.raises(PartitionError, match=r"unknown keys \['verison'\]"):
        task.execute(context(workflow="parcels", verison="1"))


def test_the_audit_rebuilds_an_older_version_the_same_at_each_try(at_home: House) -> None:
    task = AuditModelOperator(task_id="audit_parcels", workflow=at_home.workflow)
    with pytest.raises(AirflowSkipException, match="has no version yet"):
        task.execute(context())
    for training in ("monday3", "monday3b"):
        at_home.register(training)
    assert task.execute(context())["version"] == task.execute(context())["version"] == "1"
    rewrite_manifest(at_home, "1", random_state=1)
    with pytest.raises(ReproductionError, match="version 1 of 'parcels' is not reproduced"):
        task.execute(context())


def test_a_red_audit_is_told_to_whom_the_workflow_names(workflow: Workflow) -> None:
    dag = build_audit_models([workflow], doc="Audit")
    (task,) = dag.tasks
    assert (task.task_id, dag.timetable.serialize()["expression"], dag.catchup) == (
        "audit_parcels",
        "41 4 * * 0",
        False,
    )
    assert [type(callback).__name__ for callback in task.on_failure_callback] == ["TellOfTask"]
    assert task.on_failure_callback[0].workflow is workflow
