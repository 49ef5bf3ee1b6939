"""
Promotion: a compare-and-set on the promotion ledger. The ledger is the truth; MLflow's alias and the endpoint follow
it.

A decision is good for one promotion, against the champion that it was made against. Whoever is killed before the
ledger's commit has changed nothing; whoever is killed after it is completed by a re-run, which appends no second line.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import Enum
from typing import Final, Literal

from include.errors import ConcurrentWriteError, RegistryError, StalePromotionError
from include.lake.crash_points import crash_point
from include.lake.ledger import (
    CHAMPION,
    PROMOTIONS,
    DecisionRecord,
    PromotionRecord,
    append_promotion,
    current_champion,
    require_intact,
)
from include.lake.store import Lake
from include.registry.backfilled import Override, require_override
from include.registry.evidence import require_evidence
from include.registry.lookup import set_alias, version_of_alias
from include.registry.store import Registry
from include.registry.succession import earlier_champion, promotions_of, version_of
from include.registry.versions import load_version
from include.workflow import Workflow

CHALLENGER = "challenger"


class _Any(Enum):
    ANY = "any"


ANY: Final = _Any.ANY
ExpectedChampion = str | None | Literal[_Any.ANY]


@dataclass(frozen=True, kw_only=True)
class _Change:
    """One change of champion, before it is in the ledger."""

    version: str
    as_of: datetime
    action: Literal["promote", "roll_back"]
    target: str
    decided_by: str
    override: Override | None = None


def set_challenger(workflow: Workflow, version: str, *, lake: Lake, registry: Registry) -> DecisionRecord:
    """Name a version the challenger, if its evidence stands (raises as `require_evidence`)."""
    decision = require_evidence(workflow, version, lake=lake, registry=registry)
    set_alias(registry, workflow.name, CHALLENGER, version)
    return decision


def promote(  # noqa: PLR0913 - who, where and why of one record
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    target: str,
    decided_by: str,
    expected_champion: ExpectedChampion = ANY,
    override: Override | None = None,
) -> PromotionRecord:
    """
    Make a version the champion.

    Parameters
    ----------
    workflow, version
        Which one.
    lake, registry
        Where ledger and models are.
    target : str
        What it is deployed to, for the record.
    decided_by : str
        Who or what asked for it, for the record.
    expected_champion : str or None, optional
        Refuse unless this version is the champion (None: unless there is none).
    override : Override, optional
        Who asked for a backfilled version, and who approved it: without it none is promoted.

    Returns
    -------
    PromotionRecord
        The line in force; of an earlier try, if that had committed already.

    Raises
    ------
    EvidenceError, TamperedModelError
        As `require_evidence`; also if a line of `ledger/promotions` was changed, or if nobody approved the override.
    StalePromotionError
        If the champion is newer or the version backfilled (without `override`), the champion is not the one that the
        version was judged against, or the decision was spent by an earlier promotion.

    """
    require_intact(lake, PROMOTIONS, workflow.name)
    champion = current_champion(lake, workflow.name)
    if champion is None or champion.model_version != version:
        decision = require_evidence(workflow, version, lake=lake, registry=registry)
        if expected_champion is not ANY and expected_champion != version_of(champion):
            raise StalePromotionError(
                f"the champion of {workflow.name!r} is version {version_of(champion)}, not {expected_champion} as "
                "expected: decide anew"
            )
        override = require_override(decision, champion, override)
        require_current(decision, lake=lake, is_allowed=override is not None)
        change = _Change(
            version=version,
            as_of=decision.as_of,
            action="promote",
            target=target,
            decided_by=decided_by,
            override=override,
        )
        champion = _commit(lake, workflow.name, change, champion=champion)
    reconcile_alias(workflow.name, lake=lake, registry=registry)
    return champion


def require_current(decision: DecisionRecord, *, lake: Lake, is_allowed: bool = False) -> None:
    """
    Check that a decision still is about today: made against the present champion, not of a backfilled version, and not
    spent.

    With `is_allowed` a backfilled version passes here: `promote` asks for the approval.

    Raises
    ------
    StalePromotionError
        If not.

    """
    name, version = decision.workflow, decision.model_version
    champion = current_champion(lake, name)
    now = version_of(champion)
    if not is_allowed:
        require_override(decision, champion, None)
    for earlier in promotions_of(lake, name, version):
        if earlier.action == "promote" and earlier.recorded_at >= decision.decided_at:
            raise StalePromotionError(
                f"version {version} of {name!r} was promoted already (epoch {earlier.epoch}) and replaced since by "
                f"version {now}: judge it again, or roll back to it"
            )
    if decision.champion_version != now:
        raise StalePromotionError(
            f"version {version} of {name!r} was judged against champion {decision.champion_version}, but {now} is "
            "champion now: clear the gate task, so that it is judged against that one"
        )


def roll_back(  # noqa: PLR0913 - who, where and why of one record
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    target: str,
    decided_by: str,
    to_version: str | None = None,
) -> PromotionRecord:
    """
    Withdraw the champion `version`: let the one that it replaced, or an earlier champion `to_version`, be champion
    again.

    It needs no new evidence and may go back in `as_of`, but the model's bytes are verified. A re-run after `version`
    was withdrawn changes nothing more.

    Raises
    ------
    StalePromotionError
        If `version` is not the champion.
    RegistryError
        If there is nothing to go back to.
    EvidenceError
        If a line of `ledger/promotions` was changed: who was champion is not certain then.

    """
    require_intact(lake, PROMOTIONS, workflow.name)
    champion = current_champion(lake, workflow.name)
    if champion is None:
        raise RegistryError(f"model {workflow.name!r} has no champion: there is nothing to roll back")
    if champion.model_version != version:
        if not (champion.action == "roll_back" and champion.previous_version == version):
            raise StalePromotionError(
                f"version {version} of {workflow.name!r} is not the champion, {champion.model_version} is: look again"
            )
    else:
        earlier = earlier_champion(lake, workflow.name, version, to_version=to_version)
        load_version(registry, workflow.name, earlier.model_version, lake=lake)
        change = _Change(
            version=earlier.model_version, as_of=earlier.as_of, action="roll_back", target=target, decided_by=decided_by
        )
        champion = _commit(lake, workflow.name, change, champion=champion)
    reconcile_alias(workflow.name, lake=lake, registry=registry)
    return champion


def reconcile_alias(workflow_name: str, *, lake: Lake, registry: Registry) -> str | None:
    """
    Let the alias `champion` follow the ledger.

    Returns
    -------
    str or None
        The champion's version.

    """
    while True:
        champion = version_of(current_champion(lake, workflow_name))
        if version_of_alias(registry, workflow_name, CHAMPION) == champion:
            return champion
        # Somebody slower may set the alias after us, and so may we after somebody faster: look until both agree.
        set_alias(registry, workflow_name, CHAMPION, champion)


def _commit(lake: Lake, workflow_name: str, change: _Change, *, champion: PromotionRecord | None) -> PromotionRecord:
    record = PromotionRecord(
        workflow=workflow_name,
        model_version=change.version,
        previous_version=version_of(champion),
        as_of=change.as_of,
        alias=CHAMPION,
        target=change.target,
        action=change.action,
        epoch=1 if champion is None else champion.epoch + 1,
        decided_by=change.decided_by,
        recorded_at=datetime.now(UTC),
        overridden_by=change.override.requested_by if change.override else None,
        approved_by=change.override.approved_by if change.override else None,
    )
    crash_point(f"{change.action}.before_ledger")
    try:
        append_promotion(lake, record)
    except (StalePromotionError, ConcurrentWriteError):
        # Another try of the same change may have won: then it is done.
        winner = current_champion(lake, workflow_name)
        if winner is None or winner.model_version != change.version:
            raise
        record = winner
    crash_point(f"{change.action}.before_alias")
    return record
