"""Evidence: the file behind a decision, named by its own digest, and what must agree with it before anything ships."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from include.errors import EvidenceError, LakeError
from include.lake.digests import digest_bytes
from include.lake.files import get_file, put_file
from include.lake.ledger import DECISIONS, PROMOTIONS, DecisionRecord, latest_decision, require_intact
from include.lake.ledger_chain import digest_of_link
from include.lake.store import Lake
from include.modeling.model import ModelManifest
from include.modeling.provenance import code_digest, lock_digest
from include.modeling.snapshot import Snapshot, read_snapshot
from include.registry.lookup import read_version
from include.registry.proof import disagreements, unproven
from include.registry.store import Registry
from include.registry.versions import load_version
from include.workflow import Workflow

PROMOTE = "PROMOTE"
_MAX_REASONS = 3


def gate_digest(workflow: Workflow) -> str:
    """
    Digest of all in the declaration that a verdict depends on: the gate (not whom it asks), what is predicted, the
    metric, the seed.
    """
    return digest_json(
        {
            "gate": workflow.gate.model_dump(mode="json", exclude={"approval", "approvers"}),
            "target": workflow.target.model_dump(mode="json"),
            "metric": workflow.metric,
            "random_state": workflow.training.random_state,
        }
    )


def digest_json(content: Mapping[str, Any]) -> str:
    """SHA-256 of the content's canonical JSON."""
    return digest_bytes(_canonical(content))


def write_evidence(lake: Lake, workflow_name: str, content: Mapping[str, Any]) -> tuple[str, str]:
    """Write evidence once; returns its URI and its digest."""
    data = _canonical(content)
    digest = digest_bytes(data)
    return put_file(lake, _path(workflow_name, digest), data), digest


def read_evidence(lake: Lake, decision: DecisionRecord) -> dict[str, Any]:
    """
    Read the evidence of a decision.

    Raises
    ------
    EvidenceError
        If it is missing, or differs by a byte from what was decided on.

    """
    name = f"the evidence of version {decision.model_version} of {decision.workflow!r}"
    try:
        data = get_file(lake, _path(decision.workflow, decision.evidence_digest))
    except LakeError:
        raise EvidenceError(f"{name} is missing from the lake: judge the version again") from None
    if digest_bytes(data) != decision.evidence_digest:
        raise EvidenceError(f"{name} was changed after the decision: restore the file, or train again")
    content: dict[str, Any] = json.loads(data)
    return content


def require_evidence(workflow: Workflow, version: str, *, lake: Lake, registry: Registry) -> DecisionRecord:
    """
    Find the PROMOTE decision behind a version, and hash all that it was made on again.

    It asks the ledger and the files alone: what a task's state says ("success", marked by hand) is no evidence.

    Returns
    -------
    DecisionRecord
        The version's last decision.

    Raises
    ------
    ModelVersionNotFoundError
        If there is no such version.
    EvidenceError
        If there is no decision, it is not PROMOTE, a line of the ledger was changed, the evidence is missing, changed
        or another version's, or gate, code, lock file, rows or seed are not those that were judged (then judge again:
        what was proven is not what is asked now). The message names what differs.
    TamperedModelError
        If a byte of the stored model is not the one that was judged.

    """
    read_version(registry, workflow.name, version)
    require_intact(lake, DECISIONS, workflow.name)
    decision = latest_decision(lake, workflow.name, version)
    if decision is None:
        raise EvidenceError(
            f"version {version} of {workflow.name!r} was never judged: run the gate task of {workflow.name}.train"
        )
    if decision.verdict != PROMOTE:
        reasons = "; ".join(reasons_of(decision)[:_MAX_REASONS])
        raise EvidenceError(
            f"version {version} of {workflow.name!r} was judged {decision.verdict}, and ships nothing: {reasons}"
        )
    if lake.evidence_key is not None and decision.signature is None:
        raise EvidenceError(
            f"the decision on version {version} of {workflow.name!r} is not signed, though UPDRAFT_EVIDENCE_KEY is "
            "set: judge it again"
        )
    content = read_evidence(lake, decision)
    _check_agrees(workflow, content, decision)
    if "approval" in content:
        _check_approval(workflow, content, decision, lake=lake)
    if content["gate_digest"] != gate_digest(workflow):
        raise EvidenceError(
            f"the gate of {workflow.name!r} was changed after version {version} was judged: clear the gate task, so "
            "that it is judged by it"
        )
    model = load_version(registry, workflow.name, version, lake=lake)
    _check_unchanged(workflow, content, model.manifest, lake=lake, version=version)
    return decision


def reasons_of(decision: DecisionRecord) -> list[str]:
    """Sentences of the verdict."""
    return [str(reason) for reason in json.loads(decision.reasons)]


def _check_approval(workflow: Workflow, content: Mapping[str, Any], decision: DecisionRecord, *, lake: Lake) -> None:
    """What a person let pass must be what the gate held, with nothing added but the approval."""
    held = read_evidence(lake, replace(decision, evidence_digest=str(content["approval"].get("held_evidence"))))
    if wrong := disagreements(workflow, content, held):
        raise EvidenceError(
            f"the approval of version {decision.model_version} of {decision.workflow!r} does not fit what was held "
            f"({', '.join(wrong[:_MAX_REASONS])}): clear the gate task, and ask again"
        )


def _check_agrees(workflow: Workflow, content: Mapping[str, Any], decision: DecisionRecord) -> None:
    """
    The ledger's line and the evidence must tell the same, and every required check must have passed, or be overruled by
    a person.
    """
    expected = {
        "workflow": decision.workflow,
        "model_version": decision.model_version,
        "model_digest": decision.model_digest,
        "champion_version": decision.champion_version,
        "verdict": PROMOTE,
    }
    differing = [name for name, value in expected.items() if content.get(name) != value]
    checks = content.get("checks") or []
    differing += unproven(workflow, content) if checks else []
    if differing or not checks:
        raise EvidenceError(
            f"the evidence of version {decision.model_version} of {decision.workflow!r} does not prove it "
            f"({', '.join(differing[:_MAX_REASONS]) or 'no checks'}): judge the version again"
        )


def provenance() -> dict[str, str]:
    """Digests of what judges, and of what a model is made by, besides declaration and rows."""
    return {"code_digest": code_digest(), "lock_digest": lock_digest()}


def _check_unchanged(
    workflow: Workflow, content: Mapping[str, Any], manifest: ModelManifest, *, lake: Lake, version: str
) -> None:
    """
    Hash what the verdict was made by and on once more. Evidence from before these digests were taken does not hold
    them.
    """
    now: dict[str, Any] = {**provenance(), "seed": manifest.random_state}
    named = {
        "code_digest": "the code (include/)",
        "lock_digest": "the lock file (requirements.txt)",
        "seed": "the model's seed",
    }
    differing = [
        f"{named[name]}: judged with {_short(content[name])}, now {_short(value)}"
        for name, value in now.items()
        if name in content and content[name] != value
    ]
    head = content.get("promotions_head")
    if head is not None and digest_of_link(lake, PROMOTIONS, workflow.name, head[0]) != head[1]:
        differing.append(f"the history of promotions: its line {head[0]} is not the one that the verdict came after")
    if "snapshot" in content:
        snapshot = Snapshot(**content["snapshot"])
        if manifest.snapshot.get("digest") != snapshot.digest:
            differing.append(
                f"the rows: judged on {_short(snapshot.digest)}, trained on {_short(manifest.snapshot.get('digest'))}"
            )
        try:
            read_snapshot(workflow, snapshot, lake=lake, part="test")
        except LakeError as error:
            differing.append(f"the rows: {error}")
    if differing:
        raise EvidenceError(
            f"what version {version} of {workflow.name!r} was judged by is not what is there now: "
            f"{'; '.join(differing)}. Clear the gate task, so that it is judged again, or train again"
        )


def _short(digest: Any) -> str:
    return f"{digest[:12]}…" if isinstance(digest, str) and len(digest) > 12 else str(digest)


def _canonical(content: Mapping[str, Any]) -> bytes:
    return json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()


def _path(workflow_name: str, digest: str) -> str:
    return f"{workflow_name}/_evidence/{digest}.json"
