"""From Airflow's connections to AWS's credentials, and so to the targets of a deployment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException

from include.errors import DeploymentError
from include.workflow import Workflow

if TYPE_CHECKING:
    from include.deployment.aws import AwsAccess
    from include.deployment.target import Target

# As the Amazon provider of Airflow names them.
_KNOWN_EXTRAS = frozenset(
    {"aws_access_key_id", "aws_secret_access_key", "aws_session_token", "region_name", "endpoint_url", "service_config"}
)


def targets(workflow: Workflow) -> list[Target]:
    """
    Where a workflow is deployed to, with credentials.

    :param workflow: the declaration
    :raises DeploymentError: if a connection is missing or of another type
    """
    from include.deployment.targets import targets_of
    from include.settings import read_settings

    return targets_of(workflow, read_settings(), access_of=aws_access)


def aws_access(conn_id: str | None) -> AwsAccess:
    """
    Credentials of a connection of type `aws`; without one, whatever boto3 finds by itself. What is secret stays in this
    process.

    :param conn_id: id of an Airflow connection :raises DeploymentError: if there is no such connection, its type is
    another, or it asks for what Updraft does not do
    """
    from include.deployment.aws import AwsAccess

    if conn_id is None:
        return AwsAccess()
    try:
        found = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise DeploymentError(
            f"there is no Airflow connection {conn_id!r} that can be read: add it under Admin > Connections, "
            f"or set AIRFLOW_CONN_{conn_id.upper()} to a URI or JSON"
        ) from None
    if found.conn_type != "aws":
        raise DeploymentError(
            f"connection {conn_id!r} is of type {found.conn_type!r}: SageMakerEndpoint needs one of type 'aws'"
        )
    extra = found.extra_dejson
    unknown = sorted(set(extra) - _KNOWN_EXTRAS)
    if unknown:
        raise DeploymentError(
            f"connection {conn_id!r} has the extra {', '.join(unknown)}, which Updraft does not act upon: give the "
            f"workers a role or a profile and leave conn_id out, or use {', '.join(sorted(_KNOWN_EXTRAS))}"
        )
    access_key = found.login or extra.get("aws_access_key_id") or None
    secret_key = found.password or extra.get("aws_secret_access_key") or None
    if (access_key is None) != (secret_key is None):
        raise DeploymentError(
            f"connection {conn_id!r} has only one of access key (login) and secret key (password): give both, or none"
        )
    return AwsAccess(
        access_key=access_key,
        secret_key=secret_key,
        session_token=extra.get("aws_session_token"),
        endpoint_urls=_endpoint_urls(extra),
    )


def _endpoint_urls(extra: Mapping[str, Any]) -> dict[str, str]:
    services = {name: values.get("endpoint_url") for name, values in (extra.get("service_config") or {}).items()}
    return {name: str(url) for name, url in {"*": extra.get("endpoint_url"), **services}.items() if url}
