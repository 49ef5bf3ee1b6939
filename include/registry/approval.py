"""A person's word on a version that the gate holds: what is shown, and the decision that follows from a yes."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from include.errors import EvidenceError
from include.evaluation.markdown import code, table, text
from include.lake.crash_points import crash_point
from include.lake.ledger import DecisionRecord, append_decision, latest_decision
from include.lake.store import Lake
from include.registry.evidence import read_evidence, write_evidence
from include.registry.proof import Approval, approved_content, why_not_approvable
from include.workflow import Workflow

_MAX_CELL = 300  # characters of a reason
_MAX_CHECKS = 60


@dataclass(frozen=True, kw_only=True)
class ApprovalRequest:
    """What a person is asked: a headline, and the evidence in Markdown."""

    subject: str
    body: str


def is_approvable(workflow: Workflow, decision: DecisionRecord, *, lake: Lake) -> bool:
    """
    Whether a person may let a version pass: it is held, for nothing that can't be overruled, and its
    evidence is whole.
    """
    if decision.verdict != "HOLD":
        return False
    try:
        return not why_not_approvable(workflow, read_evidence(lake, decision))
    except EvidenceError:
        return False


def ask_for_approval(workflow: Workflow, version: str, *, lake: Lake, card_uri: str = "") -> ApprovalRequest:
    """
    Write what a person needs to decide on a held version.

    Parameters
    ----------
    workflow, version
        Which one.
    lake : Lake
        Where the decision is.
    card_uri : str
        Where the model card lies.

    Raises
    ------
    EvidenceError
        If the version's last decision can't be approved by anybody.

    """
    decision, content = _held(workflow, version, lake=lake)
    champion = decision.champion_version
    replaced = f"champion {code(champion)}" if champion else "nothing: there is no champion yet"
    lines = [
        f"The gate can't tell whether version {code(version)} of {code(workflow.name)} should replace {replaced}.",
        "",
        *(f"- {text(reason)[:_MAX_CELL]}" for reason in content["reasons"]),
        "",
        *_check_lines(content["checks"]),
        "",
        f"Model card: {code(card_uri)}" if card_uri else "",
        f"Evidence: {code(decision.evidence_uri)}, digest {code(decision.evidence_digest)}",
        "",
        "*Approve* ships it on your word: your name goes into `ledger/decisions`. *Reject*, or no answer in time, "
        "leaves the champion.",
    ]
    return ApprovalRequest(
        subject=f"Ship version {version} of {workflow.name} although the gate holds it?", body="\n".join(lines)
    )


def approve_version(
    workflow: Workflow, version: str, *, lake: Lake, approval: Approval, held_digest: str
) -> DecisionRecord:
    """
    Record that a person lets a held version pass.

    Parameters
    ----------
    workflow, version
        Which one.
    lake : Lake
        Where the decision is, and the new one goes.
    approval : Approval
        The person's answer.
    held_digest : str
        Digest of the evidence that the person was shown.

    Returns
    -------
    DecisionRecord
        The new decision, PROMOTE; of an earlier try, if that had committed already.

    Raises
    ------
    EvidenceError
        If the version was judged anew since the person was asked, its decision can't be approved, or nobody is named.

    """
    if not approval.user_id:
        raise EvidenceError(
            f"nobody is named who approves version {version} of {workflow.name!r}: an approval has a person"
        )
    latest = latest_decision(lake, workflow.name, version)
    if latest is not None and latest.verdict == "PROMOTE":
        earlier = read_evidence(lake, latest).get("approval") or {}
        if earlier.get("held_evidence") == held_digest and earlier.get("user_id") == approval.user_id:
            return latest
    decision, content = _held(workflow, version, lake=lake)
    if decision.evidence_digest != held_digest:
        raise EvidenceError(
            f"version {version} of {workflow.name!r} was judged anew since you were asked: clear the gate task, and "
            "look at what is new"
        )
    approved = approved_content(content, approval, held_digest=held_digest)
    uri, digest = write_evidence(lake, workflow.name, approved)
    record = replace(
        decision,
        verdict="PROMOTE",
        reasons=json.dumps(approved["reasons"]),
        evidence_digest=digest,
        evidence_uri=uri,
        decided_at=datetime.now(UTC),
        decided_by=f"{approval.user_name} ({approval.user_id}) in {approval.run_id}",
    )
    crash_point("approve.before_ledger")
    append_decision(lake, record)
    crash_point("approve.after_ledger")
    return record


def _held(workflow: Workflow, version: str, *, lake: Lake) -> tuple[DecisionRecord, dict[str, Any]]:
    decision = latest_decision(lake, workflow.name, version)
    if decision is None:
        raise EvidenceError(
            f"version {version} of {workflow.name!r} was never judged: run the gate task of {workflow.name}.train"
        )
    content = read_evidence(lake, decision)
    if content.get("verdict") != decision.verdict:
        raise EvidenceError(
            f"the evidence of version {version} of {workflow.name!r} tells another verdict: judge the version again"
        )
    if reason := why_not_approvable(workflow, content):
        raise EvidenceError(f"nobody can approve version {version} of {workflow.name!r}: {reason}")
    return decision, content


def _check_lines(checks: list[Mapping[str, Any]]) -> Iterator[str]:
    """Failed checks first."""
    told = sorted(checks, key=lambda check: (check["passed"] is not False, check["passed"] is not None))
    words = {True: "passed", False: "**held**", None: "not judged"}
    rows = [
        (text(check["name"]), words[check["passed"]], text(check["reason"])[:_MAX_CELL]) for check in told[:_MAX_CHECKS]
    ]
    yield from table(("check", "", "what was seen"), rows)
    if len(told) > _MAX_CHECKS:
        yield ""
        yield f"… and {len(told) - _MAX_CHECKS} more"
