"""
Backfilled trainings: as of a past date, although a later training could have been.

A model of one is a model like any other, but it never becomes champion by itself: somebody has to ask for it, and a
person to agree.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from include.errors import EvidenceError, StalePromotionError
from include.lake.ledger import DecisionRecord, PromotionRecord, current_champion
from include.lake.published import ends_of_published
from include.lake.store import Lake
from include.workflow import Workflow
from include.workflow.partitions import window_of_moment


@dataclass(frozen=True, kw_only=True)
class Override:
    """Who asked for a backfilled version, and the person who agreed: for the record of its promotion."""

    requested_by: str
    approved_by: str


def is_backfilled(workflow: Workflow, as_of: datetime, *, lake: Lake) -> bool:
    """
    Whether a training as of a moment looks back further than it has to.

    It does if the champion is as of a later moment, or if rows were published up to the end of the training period that
    begins at (or holds) the moment: then the training as of that end was possible too. The clock does not count, so
    that a workflow whose data ended years ago, and one whose weekly training is two days late, train ordinary models.
    """
    champion = current_champion(lake, workflow.name)
    if champion is not None and champion.as_of > as_of:
        return True
    following = window_of_moment(workflow.training.every, as_of).end
    return any(end >= following for end in ends_of_published(lake, workflow.name, every=workflow.partition.every))


def backfilled_reason(decision: DecisionRecord, champion: PromotionRecord | None) -> str | None:
    """Why a version may not become champion by itself, in a sentence; None if it may."""
    said = f"version {decision.model_version} of {decision.workflow!r} is as of {decision.as_of:%Y-%m-%d %H:%M}"
    if champion is not None and champion.as_of > decision.as_of:
        return (
            f"{said}, the champion {champion.model_version} as of {champion.as_of:%Y-%m-%d %H:%M}: a champion never "
            "gets older by itself"
        )
    if decision.is_backfilled:
        return f"{said} and backfilled: a later training was possible when it was trained"
    return None


def require_override(
    decision: DecisionRecord, champion: PromotionRecord | None, override: Override | None
) -> Override | None:
    """
    Let a backfilled version through only by an override that a person approved; what is not backfilled needs none.

    Returns
    -------
    Override or None
        What is to be recorded with the promotion.

    Raises
    ------
    StalePromotionError
        If nobody asked for it.
    EvidenceError
        If somebody did, and nobody has approved it.

    """
    reason = backfilled_reason(decision, champion)
    if reason is None:
        return None
    if override is None:
        raise StalePromotionError(
            f"{reason}; nothing is to be done. To deploy it all the same, trigger {decision.workflow}.deploy with "
            "model_version and allow_backfilled"
        )
    if not override.approved_by or not override.requested_by:
        raise EvidenceError(
            f"{reason}. It was asked for, but no person has approved it: answer the task approve_backfilled"
        )
    return override
