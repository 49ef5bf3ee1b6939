"""The step of `roll_back_model`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from include.errors import RegistryError, StalePromotionError
from include.workflow import Workflow
from updraft import assets
from updraft.hooks.aws import targets
from updraft.operators.base import UpdraftOperator
from updraft.periods import refuse_unknown_params

if TYPE_CHECKING:
    from include.lake.store import Lake


class RollBackOperator(UpdraftOperator):
    """
    Withdraw the champion in ledger, registry and endpoint, and let an earlier one answer again. Its bytes are verified
    first.

    Cleared, it completes what was cut short, and never goes back a second time.

    :param workflows: the declared ones; they stay in the Dag file's process and are not serialized
    """

    triage = (
        "the message says why nothing was rolled back, or which endpoint does not follow yet: clear this task once it "
        "answers. The ledger's line, if there is one, stands."
    )

    def __init__(self, *, workflows: Sequence[Workflow], **kwargs: Any) -> None:
        super().__init__(outlets=[assets.endpoint(workflow) for workflow in workflows], **kwargs)
        self.workflows = {workflow.name: workflow for workflow in workflows}

    def execute(self, context: Any) -> dict[str, Any]:
        """Roll back; the result names the version withdrawn and the one that answers."""
        refuse_unknown_params(context)
        params, run = context["params"], context["dag_run"]
        workflow = self.workflows[params["workflow"]]

        from include.deployment.rollout import roll_back_version
        from include.lake.store import open_lake
        from include.registry.versions import open_registry

        # An outlet without an event of ours would emit one of its own.
        self.outlets: list[Any] = [assets.endpoint(workflow)]
        lake = open_lake()
        by = f"{run.triggering_user_name or 'unknown'}: {params['reason']} (run {context['run_id']})"
        record = roll_back_version(
            workflow,
            _version_to_withdraw(lake, workflow.name, by=by),
            to_version=_version_to_restore(lake, workflow.name, params),
            lake=lake,
            registry=open_registry(),
            targets=targets(workflow),
            decided_by=by,
        )
        result = {"version": record.model_version, "previous_version": record.previous_version, "epoch": record.epoch}
        context["outlet_events"][assets.endpoint(workflow)].extra = result
        return result


def _version_to_withdraw(lake: Lake, workflow_name: str, *, by: str) -> str:
    """The champion; or, if an earlier try of this very run has withdrawn it already, the one that was."""
    from include.lake.ledger import PROMOTIONS, current_champion, read_ledger

    champion = current_champion(lake, workflow_name)
    if champion is None:
        raise RegistryError(f"model {workflow_name!r} has no champion: there is nothing to roll back")
    if champion.decided_by == by:
        return str(champion.previous_version)
    if by in read_ledger(lake, PROMOTIONS, workflow=workflow_name)["decided_by"].to_pylist():
        raise StalePromotionError(
            f"this run has rolled {workflow_name!r} back already, and version {champion.model_version} became champion "
            "since: to withdraw that one, start another run"
        )
    return champion.model_version


def _version_to_restore(lake: Lake, workflow_name: str, params: Any) -> str | None:
    """The form's version, or the one that was champion at the form's time; None: the one that the champion replaced."""
    from include.lake.ledger import current_champion

    version, text = params["to_version"], params["to_time"]
    if version and text:
        raise RegistryError(f"to_version {version!r} and to_time {text!r} are both given: leave one empty")
    if not text:
        return str(version) if version else None
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    champion = current_champion(lake, workflow_name, at=moment)
    if champion is None:
        raise RegistryError(
            f"no version of {workflow_name!r} was champion at {moment:%Y-%m-%d %H:%M %Z} yet: name a later time"
        )
    return champion.model_version
