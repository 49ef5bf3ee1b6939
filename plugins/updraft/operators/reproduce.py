"""The steps of `reproduce_model` and `audit_models`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.sdk.exceptions import AirflowSkipException

from include.workflow import Workflow
from updraft.operators.base import UpdraftOperator, WorkflowOperator
from updraft.periods import refuse_unknown_params

TRIAGE = (
    "the message names what differs: a line of the record, a stored file, the seed, rows of a partition, a library. "
    "Nothing was changed or deployed by it. What each of them means, and what to do, stands in "
    "docs/reproducibility.md."
)


class ReproduceVersionOperator(UpdraftOperator):
    """
    Fit the form's version again from its manifest, and compare digests: equal, or the task fails and names what
    differs.

    :param workflows: the declared ones; they stay in the Dag file's process and are not serialized
    """

    triage = TRIAGE

    def __init__(self, *, workflows: Sequence[Workflow], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflows = workflows

    def execute(self, context: Any) -> dict[str, Any]:
        """Rebuild; the result holds both digests."""
        refuse_unknown_params(context)
        name = context["params"]["workflow"]
        workflow = next((workflow for workflow in self.workflows if workflow.name == name), None)
        if workflow is None:
            from include.errors import DeclarationError

            raise DeclarationError(
                f"{name!r} is no declared workflow: {', '.join(workflow.name for workflow in self.workflows)}"
            )
        return rebuild(workflow, str(context["params"]["version"]))


class AuditModelOperator(WorkflowOperator):
    """
    Fit one of the workflow's older versions again, picked at random, and compare digests: equal, or the task fails and
    tells people.
    """

    triage = f"{TRIAGE} Clearing this task rebuilds the same version once more."

    def execute(self, context: Any) -> dict[str, Any]:
        """Pick and rebuild; the result holds the version and both digests."""
        from include.registry.reproduction import choose_version
        from include.registry.store import open_registry

        # By the run's id: a retry has to meet the same version.
        version = choose_version(open_registry(), self.workflow.name, seed=context["run_id"])
        if version is None:
            raise AirflowSkipException(f"{self.workflow.name} has no version yet: there is nothing to rebuild")
        return rebuild(self.workflow, version)


def rebuild(workflow: Workflow, version: str) -> dict[str, Any]:
    """
    Rebuild a version, and fail if anything differs.

    :param workflow: the declaration
    :param version: number of the version
    """
    from include.lake.store import open_lake
    from include.registry.reproduction import reproduce_version
    from include.registry.store import open_registry

    done = reproduce_version(workflow, version, lake=open_lake(), registry=open_registry())
    done.require_equal()
    return {**asdict(done), "differences": list(done.differences)}
