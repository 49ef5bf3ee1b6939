"""
What evidence proves, by its own content: every required check is there and passed, or a person has overruled it.

A person may overrule a HOLD ("it cannot be told"), never a REJECT, and never what no judgement can be made without:
usable numbers, and a model that is not the champion itself. That a model is older than the champion may be overruled
here; promotion then asks for one more approval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from include.evaluation.gate import required_names
from include.workflow import Workflow

PROMOTE, HOLD = "PROMOTE", "HOLD"
NEVER_OVERRULED = frozenset({"numbers", "distinct"})
_OF_THE_VERDICT = frozenset({"verdict", "reasons", "approval"})


@dataclass(frozen=True, kw_only=True)
class Approval:
    """Who approved what the gate had held, when, and in which run of which Dag."""

    user_id: str
    user_name: str
    at: datetime
    run_id: str


def unproven(workflow: Workflow, content: Mapping[str, Any]) -> list[str]:
    """
    Name what evidence of a PROMOTE lacks: required checks that are missing or not passed, and failed ones, that nobody
    has overruled.
    """
    overruled = set((content.get("approval") or {}).get("overruled") or ())
    found = {str(check["name"]): check["passed"] for check in content.get("checks") or ()}
    wrong = {name for name in _required(workflow, content) if found.get(name) is not True}
    wrong |= {name for name, passed in found.items() if passed is False}
    return [f"check {name!r}" for name in sorted(wrong - overruled)]


def why_not_approvable(workflow: Workflow, content: Mapping[str, Any]) -> str:
    """Say why nobody may approve what this evidence is about; empty if somebody may."""
    if content.get("verdict") != HOLD:
        return f"the verdict is {content.get('verdict')}: a person decides on a HOLD alone"
    checks = content.get("checks") or ()
    failed = [check for check in checks if check["passed"] is False]
    for check in failed:
        if check["name"] in NEVER_OVERRULED or check["forces"] != HOLD:
            return f"{check['name']!r} can't be overruled: {check['reason']}"
    missing = sorted(_required(workflow, content) - {check["name"] for check in checks})
    unasked = [
        check["name"] for check in checks if check["passed"] is None and check["name"] in _required(workflow, content)
    ]
    if missing or unasked or not failed:
        return (
            f"its evidence is not complete ({', '.join([*missing, *unasked]) or 'no failed check'}): nobody could tell "
            "what is approved"
        )
    return ""


def approved_content(held: Mapping[str, Any], approval: Approval, *, held_digest: str) -> dict[str, Any]:
    """
    Make the evidence of an approval: all that was held, and who let it pass.

    Parameters
    ----------
    held : mapping
        The evidence of the HOLD.
    approval : Approval
        A person's answer.
    held_digest : str
        Digest of the held evidence: what the person was shown.

    """
    overruled = sorted(check["name"] for check in held["checks"] if check["passed"] is False)
    by = (
        f"approved by {approval.user_name} ({approval.user_id}) on {approval.at:%Y-%m-%d %H:%M} UTC, who overruled "
        "what the gate held for"
    )
    return {
        **held,
        "verdict": PROMOTE,
        "reasons": [f"{by}:", *held["reasons"]],
        "approval": {
            "user_id": approval.user_id,
            "user_name": approval.user_name,
            "at": approval.at.isoformat(),
            "run_id": approval.run_id,
            "held_evidence": held_digest,
            "overruled": overruled,
        },
    }


def disagreements(workflow: Workflow, content: Mapping[str, Any], held: Mapping[str, Any]) -> list[str]:
    """Name in what evidence of an approval differs from what was held: it may add the approval, and nothing else."""
    approval = content["approval"]
    names = (set(content) | set(held)) - _OF_THE_VERDICT
    wrong = [name for name in sorted(names) if content.get(name) != held.get(name)]
    wrong += [f"approval: no {name}" for name in ("user_id", "at", "run_id") if not approval.get(name)]
    failed = sorted(check["name"] for check in held.get("checks") or () if check["passed"] is False)
    if sorted(approval.get("overruled") or ()) != failed:
        wrong.append("approval: overruled checks")
    return wrong + [reason for reason in [why_not_approvable(workflow, held)] if reason]


def _required(workflow: Workflow, content: Mapping[str, Any]) -> frozenset[str]:
    metrics = workflow.gate.metrics or (workflow.metric,)
    return required_names(workflow.gate, metrics=metrics, has_champion=content.get("champion_version") is not None)
