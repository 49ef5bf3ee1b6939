"""Who may see what. The one module that uses Airflow's authentication, which is not part of its public interface."""

from __future__ import annotations

from typing import Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import DagDetails
from airflow.api_fastapi.core_api.security import GetUserDep, requires_authenticated
from airflow.models.dag import DagModel

__all__ = ["GetUserDep", "Step", "may_read", "requires_authenticated"]

Step = Literal["ingest", "train", "monitor"]


def may_read(user: Any, workflow_name: str, *, step: Step = "ingest") -> bool:
    """
    Whether a user may read what a step of a workflow made: as who may read its Dag, `<name>.ingest` for rows,
    `<name>.train` for models.

    :param user: the authenticated user
    :param workflow_name: name of the workflow
    :param step: which of its Dags
    """
    dag_id = f"{workflow_name}.{step}"
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    return bool(get_auth_manager().is_authorized_dag(method="GET", details=details, user=user))
