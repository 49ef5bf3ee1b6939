"""A person's word on a model that the gate holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk.exceptions import AirflowSkipException

from include.workflow import Workflow
from updraft.operators.train import VersionStepOperator


class ApproveOperator(VersionStepOperator, ApprovalOperator):
    """
    Ask a person whether a version that the gate holds may ship; the page under *Required Actions* shows the evidence.

    A version that passed the gate passes here at once. No answer in time means no. The approver's name goes to
    `ledger/decisions`.

    :param verdict: result of the gate task (templated)
    :param evaluated: result of the evaluate task, for the card's address (templated)
    """

    template_fields: Sequence[str] = ("training", "version", "verdict", "evaluated", "subject", "body")
    triage = (
        "waiting means that somebody is asked: answer under Required Actions. Marking this task as succeeded ships "
        "nothing, for what follows asks the ledger. 'Judged anew' means that the question is out of date: clear the "
        "gate task."
    )

    def __init__(self, *, workflow: Workflow, verdict: Any, evaluated: Any, **kwargs: Any) -> None:
        users = [{"id": name, "name": name} for name in workflow.gate.approvers]
        # The question itself is written when it is asked.
        kwargs |= {
            "subject": f"Ship a version of {workflow.name} that the gate holds?",
            "defaults": self.REJECT,
            "assigned_users": users or None,
        }
        super().__init__(workflow=workflow, response_timeout=workflow.gate.approval, **kwargs)
        self.verdict = verdict
        self.evaluated = evaluated

    def execute(self, context: Any) -> Any:
        """Ask, and wait; or pass, where nobody need be asked."""
        from include.lake.store import open_lake
        from include.registry.approval import ask_for_approval

        if self._told("verdict") == "PROMOTE":
            self.log.info("the gate said PROMOTE: nobody need be asked")
            return {"verdict": "PROMOTE", "approved_by": "", "evidence_digest": self._told("evidence_digest")}
        card_uri = self.evaluated.get("card_uri", "") if isinstance(self.evaluated, Mapping) else ""
        request = ask_for_approval(self.workflow, self.version, lake=open_lake(), card_uri=card_uri)
        self.subject, self.body = request.subject, request.body
        return super().execute(context)

    def execute_complete(self, context: Any, event: dict[str, Any]) -> Any:
        """Record an approval in the ledger; a rejection, or no answer in time, skips what follows."""
        if event.get("timedout"):
            self.log.info("nobody answered in time: version %s is not approved", self.version)
        answer = super().execute_complete(context, event)
        if answer["chosen_options"] != [self.APPROVE]:
            raise AirflowSkipException(f"version {self.version} was not approved")
        from include.lake.store import open_lake
        from include.registry.approval import approve_version
        from include.registry.proof import Approval

        user = answer["responded_by_user"] or {}
        approval = Approval(
            user_id=str(user.get("id") or ""),
            user_name=str(user.get("name") or ""),
            at=answer["responded_at"],
            run_id=context["run_id"],
        )
        held = str(self._told("evidence_digest") or "")
        decision = approve_version(self.workflow, self.version, lake=open_lake(), approval=approval, held_digest=held)
        return {
            "verdict": decision.verdict,
            "approved_by": approval.user_id,
            "evidence_digest": decision.evidence_digest,
        }

    def _told(self, name: str) -> Any:
        return self.verdict.get(name) if isinstance(self.verdict, Mapping) else None
