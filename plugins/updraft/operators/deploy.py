"""The steps of `<name>.deploy`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.errors import EvidenceError, StalePromotionError
from include.workflow import Workflow
from updraft import assets
from updraft.hooks.aws import targets
from updraft.operators.base import UpdraftOperator, WorkflowOperator
from updraft.periods import refuse_unknown_params

if TYPE_CHECKING:
    from include.registry.backfilled import Override

# As long as a backfilled version waits for a person, no other version of its workflow is deployed.
APPROVAL_TIMEOUT = timedelta(hours=4)


class VerifyEvidenceOperator(WorkflowOperator):
    """
    Hash model, evidence and gate settings again and compare them with the decision that lets the version through.

    If another version became champion since, this one is judged again, against that one. A version that is older than
    the champion, or was trained as of a past date, is skipped: a backfill never moves the champion by itself. With
    *Allow backfilled* in the form it goes on to the next task, where a person has to approve it.
    """

    triage = (
        "an evidence error names what differs from the decision. Nothing was deployed, the champion still answers. "
        "Train again."
    )

    def execute(self, context: Any) -> dict[str, Any]:
        """Verify; the result names the version that the next steps deploy."""
        from include.deployment.rollout import verify_evidence
        from include.lake.store import open_lake
        from include.registry.versions import open_registry

        refuse_unknown_params(context)
        version = self._version(context)
        allow = bool(context["params"].get("allow_backfilled"))
        try:
            verified = verify_evidence(
                self.workflow,
                version,
                lake=open_lake(),
                registry=open_registry(),
                allow_backfilled=allow,
                decided_by=f"deployment {context['run_id']}",
            )
        except StalePromotionError as error:
            raise AirflowSkipException(str(error)) from None
        decision = verified.decision
        return {
            "version": version,
            "evidence_digest": decision.evidence_digest,
            "champion": decision.champion_version,
            "approval_reason": verified.approval_reason,
        }

    def _version(self, context: Any) -> str:
        """The form's version, or the one that the triggering event names, or the current challenger."""
        from include.registry.versions import open_registry, version_of_alias

        if version := context["params"].get("model_version"):
            return str(version)
        events = [event for found in context["triggering_asset_events"].values() for event in found]
        if events:
            return str(max(events, key=lambda event: event.timestamp).extra["version"])
        challenger: str | None = version_of_alias(open_registry(), self.workflow.name, "challenger")
        if challenger is None:
            raise EvidenceError(
                f"model {self.workflow.name!r} has no challenger: train first, or name a version in the trigger form"
            )
        return challenger


class ApproveBackfilledOperator(ApprovalOperator):
    """
    Ask a person, where a backfilled version is to be deployed by override; any other version passes at once.

    Nobody's answer within the time, and *Reject*, end the run: the champion goes on answering. Who approved is recorded
    in `ledger/promotions`. Marking this task as succeeded by hand approves nothing.

    :param workflow: the declaration; it stays in the Dag file's process and is not serialized
    :param reason: why the version may not be promoted by itself; empty, if it may (templated)
    """

    template_fields: Sequence[str] = ("subject", "body", "reason")
    triage = (
        "'awaiting input' waits for an answer: open it under Browse > Required Actions, and read the version's card "
        "before you do."
    )

    def __init__(self, *, workflow: Workflow, reason: Any, **kwargs: Any) -> None:
        kwargs.setdefault("doc_md", UpdraftOperator.describe.__func__(type(self)))  # type: ignore[attr-defined]
        super().__init__(
            subject=f"Deploy a backfilled version of {workflow.name}?",
            body="{{ ti.xcom_pull(task_ids='verify_evidence', key='approval_reason') }}. Its model card and its "
            "decision stand with "
            "the version in the registry; the form of this run asked for it (`allow_backfilled`).",
            defaults="Reject",
            response_timeout=APPROVAL_TIMEOUT,
            **kwargs,
        )
        self.workflow = workflow
        self.reason = reason

    def execute(self, context: Any) -> Any:
        """Pass, or wait for an answer."""
        return super().execute(context) if self.reason else {"approved_by": ""}

    def execute_complete(self, context: Any, event: dict[str, Any]) -> dict[str, Any]:
        """Go on after an approval; the result says whose. A rejection skips what follows."""
        answer = super().execute_complete(context, event)
        user = answer["responded_by_user"] or {}
        is_approved = answer["chosen_options"] == [self.APPROVE]
        return {"approved_by": str(user.get("name") or user.get("id") or "") if is_approved else ""}


class DeploymentStepOperator(WorkflowOperator):
    """
    A step of the deployment of one version.

    :param version: number of the version (templated)
    """

    template_fields: Sequence[str] = ("version",)

    def __init__(self, *, version: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version


class StageOperator(DeploymentStepOperator):
    """
    Load the version beside the champion that goes on answering: into a local endpoint's staged slot, or as an endpoint
    of its own.
    """

    triage = (
        "'does not answer' means that the endpoint is down: see its log, then clear this task. The champion is "
        "untouched."
    )

    def execute(self, context: Any) -> None:
        """Stage the version."""
        from include.deployment.rollout import stage_version
        from include.registry.versions import open_registry

        stage_version(self.workflow, self.version, registry=open_registry(), targets=targets(self.workflow))


class SmokeTestOperator(DeploymentStepOperator):
    """Ask the staged model for predictions on golden rows, and compare them with those made offline at training."""

    triage = "the message says which answers differ. The staged model is dropped, the champion goes on answering."

    def execute(self, context: Any) -> dict[str, Any]:
        """Smoke-test; the result counts the rows and the largest difference."""
        from include.deployment.rollout import smoke_test
        from include.registry.versions import open_registry

        return asdict(smoke_test(self.workflow, self.version, registry=open_registry(), targets=targets(self.workflow)))


class ApprovedStepOperator(DeploymentStepOperator):
    """
    A step after which real requests may be answered by the version: of a backfilled one it asks for the approval.

    :param approval: result of the task that asked for an approval (templated)
    """

    template_fields: Sequence[str] = ("version", "approval")

    def __init__(self, *, approval: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.approval = approval

    def _override(self, context: Any) -> Override | None:
        """
        Who asked in the form, and who agreed: what counts as an approval is the answer itself, not the state of the
        task.
        """
        from include.registry.backfilled import Override

        if not context["params"].get("allow_backfilled"):
            return None
        run = context["dag_run"]
        approved_by = str(self.approval.get("approved_by") or "") if isinstance(self.approval, Mapping) else ""
        return Override(
            requested_by=f"{run.triggering_user_name or 'unknown'}, run {context['run_id']}", approved_by=approved_by
        )


class CanaryOperator(ApprovedStepOperator):
    """
    Let the version answer a share of the requests, where the workflow declares a canary, and watch it; without one this
    passes at once.

    An error, slow answers, a score that is no number, or other scores than the champion's on the same traffic withdraw
    it.
    """

    triage = (
        "the message says what the version did wrong. It was withdrawn; ledger and alias never named it, the champion "
        "answers. Train again."
    )

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Run the canary; the result counts, for each endpoint, the requests that the version answered."""
        from include.deployment.rollout import shift_traffic
        from include.lake.store import open_lake
        from include.registry.versions import open_registry

        reports = shift_traffic(
            self.workflow,
            self.version,
            lake=open_lake(),
            registry=open_registry(),
            targets=targets(self.workflow),
            override=self._override(context),
        )
        return [asdict(report) for report in reports]


class PromoteOperator(ApprovedStepOperator):
    """
    Make the version champion, in one commit of the promotion ledger; alias and endpoint follow. The old
    one stays.
    """

    triage = (
        "clear this task: a promotion that was cut short is completed. 'stale' means that a newer champion stands: "
        "nothing is to be done."
    )

    def execute(self, context: Any) -> dict[str, Any]:
        """Promote; the result names the old and the new champion."""
        from include.deployment.rollout import promote_version
        from include.lake.store import open_lake
        from include.registry.versions import open_registry

        record = promote_version(
            self.workflow,
            self.version,
            lake=open_lake(),
            registry=open_registry(),
            targets=targets(self.workflow),
            decided_by=f"deployment {context['run_id']}",
            override=self._override(context),
        )
        result = {"version": record.model_version, "previous_version": record.previous_version, "epoch": record.epoch}
        context["outlet_events"][assets.endpoint(self.workflow)].extra = result
        return result
