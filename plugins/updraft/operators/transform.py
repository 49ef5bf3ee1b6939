"""The step of `batch_transform`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from include.errors import DeploymentError, RegistryError
from include.workflow import SageMakerEndpoint, Workflow
from updraft.hooks.aws import aws_access
from updraft.operators.base import UpdraftOperator
from updraft.periods import refuse_unknown_params


class TransformOperator(UpdraftOperator):
    """
    Start a SageMaker batch transform job with a version's container, and wait for it. The version's bytes are verified
    first.

    Cleared, it finds the job of its version and places again, and starts no second one.

    :param workflows: those with a `SageMakerEndpoint`; they stay in the Dag file's process and are not serialized
    """

    triage = (
        "the message has SageMaker's reason. If the job is still at work, clear this task: it goes on waiting for the "
        "same one. After a failure trigger the Dag again with another output."
    )

    def __init__(self, *, workflows: Sequence[Workflow], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflows = {workflow.name: workflow for workflow in workflows}

    def execute(self, context: Any) -> dict[str, Any]:
        """Run the job; the result names it, the version, and where the answers lie."""
        refuse_unknown_params(context)
        params = context["params"]
        declared, name = self._target(params["workflow"]), params["workflow"]

        from include.deployment.release import open_release
        from include.deployment.transform import transform_batch
        from include.registry.versions import open_registry

        version = params["model_version"] or _champion(name)
        with open_release(open_registry(), name, str(version)) as release:
            report = transform_batch(
                declared,
                aws_access(declared.conn_id),
                release,
                input_uri=params["input_uri"],
                output_uri=params["output_uri"],
                content_type=params["content_type"],
            )
        return {"version": str(version), **asdict(report)}

    def _target(self, name: str) -> SageMakerEndpoint:
        workflow = self.workflows.get(name)
        if workflow is None:
            raise DeploymentError(
                f"workflow {name!r} declares no SageMakerEndpoint in deployment.targets: a batch transform needs its "
                f"role, bucket and image; these have one: {', '.join(self.workflows) or 'none'}"
            )
        return next(target for target in workflow.deployment.targets if isinstance(target, SageMakerEndpoint))


def _champion(name: str) -> str:
    from include.lake.ledger import current_champion
    from include.lake.store import open_lake

    champion = current_champion(open_lake(), name)
    if champion is None:
        raise RegistryError(f"model {name!r} has no champion: deploy one, or name a version in the form")
    return champion.model_version
