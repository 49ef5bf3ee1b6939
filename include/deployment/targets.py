"""From what a workflow declares to the targets themselves."""

from __future__ import annotations

from collections.abc import Callable

from include.deployment.aws import AwsAccess
from include.deployment.endpoint_client import EndpointClient
from include.deployment.local import LocalTarget
from include.deployment.sagemaker import SageMakerTarget
from include.deployment.target import Target
from include.settings import Settings
from include.workflow import SageMakerEndpoint, Workflow

AccessOf = Callable[[str | None], AwsAccess]


def targets_of(workflow: Workflow, settings: Settings, *, access_of: AccessOf | None = None) -> list[Target]:
    """
    Return a workflow's targets, each once.

    Parameters
    ----------
    workflow, settings
        What is declared, and where endpoints are whose declaration names no address.
    access_of : callable, optional
        From the id of a connection (None: there is none) to AWS's credentials; without it, boto3's own chain for all.

    """
    targets: dict[str, Target] = {}
    for declared in workflow.deployment.targets:
        target: Target
        if isinstance(declared, SageMakerEndpoint):
            target = SageMakerTarget(declared, AwsAccess() if access_of is None else access_of(declared.conn_id))
        else:
            url = (declared.url or settings.endpoint_url_of(workflow.name)).rstrip("/")
            target = LocalTarget(client=EndpointClient(url=url, token=settings.endpoint_token))
        targets.setdefault(target.name, target)
    return list(targets.values())
