"""The declared workflows that a user may read."""

from __future__ import annotations

from typing import Any

from fastapi import HTTPException

from include.workflow import Workflow
from include.workflows import declared_workflows
from updraft.ui.access import Step, may_read


def is_declared(name: str) -> bool:
    """
    Whether there is a workflow of this name.

    :param name: from the address
    """
    return any(workflow.name == name for workflow in declared_workflows())


def workflow_of_dag(dag_id: str | None) -> str | None:
    """
    Name the workflow that a Dag's tab is about, if the Dag is one of a workflow.

    :param dag_id: from the address
    """
    name = (dag_id or "").rpartition(".")[0]
    return name if is_declared(name) else None


def readable_workflows(user: Any, *, step: Step = "ingest") -> list[Workflow]:
    """
    Return those that a user may read.

    :param user: the authenticated user
    :param step: what of them: as its Dag
    """
    return [workflow for workflow in declared_workflows() if may_read(user, workflow.name, step=step)]


def readable_workflow(user: Any, name: str, *, step: Step = "ingest") -> Workflow:
    """
    Return a workflow by its name: 403 for one that the user may not read, so that they know whom to ask, and 404 for
    none.

    :param user: the authenticated user
    :param name: from the address
    :param step: what of it: as its Dag
    """
    for workflow in declared_workflows():
        if workflow.name == name:
            if may_read(user, name, step=step):
                return workflow
            what = {"ingest": "rows", "train": "models", "monitor": "reports"}[step]
            raise HTTPException(
                403, f"you may not read {name}.{step}, and so not its {what}: ask an administrator of Airflow"
            )
    raise HTTPException(404, "there is no such workflow: see the lists at /updraft/quarantine and /updraft/models")
