"""
Judge a version by the gate.

The ledger's line is the commit point of a judgement: evidence and card are written before it. The same version judged
again on the same inputs gives the decision that is there.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any

import numpy as np

from include.errors import EvidenceError, StalePromotionError
from include.evaluation.figures import draw_difference
from include.evaluation.gate import GateEvidence, Verdict, judge
from include.evaluation.json_numbers import to_json_number
from include.lake.crash_points import crash_point
from include.lake.ledger import PROMOTIONS, DecisionRecord, append_decision, current_champion, latest_decision
from include.lake.ledger_chain import chain_head
from include.lake.store import Lake
from include.modeling.model import Model
from include.modeling.snapshot import Snapshot
from include.registry.candidate import Candidate, add_to_version, card_of, fetch_candidate
from include.registry.evidence import digest_json, gate_digest, provenance, read_evidence, write_evidence
from include.registry.judged_rows import (
    JudgedRows,
    champion_scores,
    metrics_of,
    predict_judged,
    read_judged_rows,
    require_trained_on,
    seen_in_training,
)
from include.registry.lookup import read_version
from include.registry.scoring import scoring_of
from include.registry.store import Registry
from include.registry.succession import replaced_version
from include.registry.versions import load_version
from include.workflow import Workflow


def judge_version(
    workflow: Workflow, snapshot: Snapshot, version: str, *, lake: Lake, registry: Registry, decided_by: str
) -> DecisionRecord:
    """
    Judge a version by the workflow's gate against the naive baseline and the champion, on the same rows.

    The champion is the promotion ledger's; of a version that was promoted already, the one that it replaced, so that
    nothing is ever compared with itself.

    Returns
    -------
    DecisionRecord
        The line in the ledger: an earlier one, if this version was judged on the same inputs before.

    Raises
    ------
    ModelVersionNotFoundError, TamperedModelError
        As `load_version`, for candidate and champion.
    EvidenceError
        If the version was not trained on this snapshot.

    """
    inputs = _inputs(workflow, snapshot, version, lake=lake, registry=registry)
    if earlier := _same_decision(lake, workflow.name, version, inputs):
        return earlier
    candidate = fetch_candidate(registry, workflow, version, lake=lake)
    require_trained_on(candidate.model.manifest, snapshot, version=version)
    champion_version = inputs["champion_version"]
    champion = None if champion_version is None else load_version(registry, workflow.name, champion_version, lake=lake)
    models = [candidate.model] if champion is None else [candidate.model, champion]
    rows = read_judged_rows(workflow, snapshot, lake=lake, models=models)
    evidence = _gate_evidence(workflow, rows, candidate=candidate, champion=champion)
    verdict = judge(evidence, workflow.gate)
    _add_verdict(registry, workflow, candidate=candidate, evidence=evidence, verdict=verdict)
    content = _content(workflow, inputs, candidate=candidate, evidence=evidence, verdict=verdict)
    content["promotions_head"] = chain_head(lake, PROMOTIONS, workflow.name)
    crash_point("judge.before_evidence")
    uri, digest = write_evidence(lake, workflow.name, content)
    record = DecisionRecord(
        workflow=workflow.name,
        model_version=version,
        champion_version=champion_version,
        as_of=datetime.fromisoformat(candidate.found.as_of),
        verdict=verdict.verdict,
        reasons=json.dumps(list(verdict.reasons)),
        evidence_digest=digest,
        evidence_uri=uri,
        model_digest=candidate.found.model_digest,
        decided_at=datetime.now(UTC),
        decided_by=decided_by,
        is_backfilled=candidate.found.is_backfilled,
    )
    crash_point("judge.before_ledger")
    append_decision(lake, record)
    crash_point("judge.after_ledger")
    return record


def judge_again(
    workflow: Workflow, decision: DecisionRecord, *, lake: Lake, registry: Registry, decided_by: str
) -> DecisionRecord:
    """
    Judge a version that was let through against another champion than today's: on the rows of that decision, against
    the present one.

    Returns
    -------
    DecisionRecord
        A PROMOTE, recorded.

    Raises
    ------
    StalePromotionError
        If the verdict is another one now; it is recorded all the same.

    """
    snapshot = Snapshot(**read_evidence(lake, decision)["snapshot"])
    name, version = workflow.name, decision.model_version
    again = judge_version(workflow, snapshot, version, lake=lake, registry=registry, decided_by=decided_by)
    if again.verdict != "PROMOTE":
        reasons = "; ".join(json.loads(again.reasons))
        raise StalePromotionError(
            f"version {version} of {name!r} was judged against champion {decision.champion_version}; against "
            f"{again.champion_version}, which is champion now, the verdict is {again.verdict}: {reasons}"
        )
    return again


def _inputs(workflow: Workflow, snapshot: Snapshot, version: str, *, lake: Lake, registry: Registry) -> dict[str, Any]:
    """All that a verdict follows from, by digest. What a clock says is not among them."""
    champion = current_champion(lake, workflow.name)
    champion_version = replaced_version(lake, workflow.name, version, champion=champion)
    found = read_version(registry, workflow.name, version)
    return {
        "workflow": workflow.name,
        "model_version": version,
        "model_digest": found.model_digest,
        "training_id": found.training_id,
        "as_of": found.as_of,
        "champion_version": champion_version,
        "champion_digest": None
        if champion_version is None
        else read_version(registry, workflow.name, champion_version).model_digest,
        "snapshot": {**asdict(snapshot), "missing_partitions": list(snapshot.missing_partitions)},
        "gate_digest": gate_digest(workflow),
        "is_backfilled": found.is_backfilled,
        "is_signed": lake.evidence_key is not None,
        **provenance(),
    }


def _same_decision(lake: Lake, workflow_name: str, version: str, inputs: Mapping[str, Any]) -> DecisionRecord | None:
    decision = latest_decision(lake, workflow_name, version)
    if decision is None:
        return None
    try:
        content = read_evidence(lake, decision)
    except EvidenceError:
        # Evidence that is gone or changed proves nothing: judge anew.
        return None
    return decision if content.get("inputs_digest") == _inputs_digest(inputs) else None


def _inputs_digest(inputs: Mapping[str, Any]) -> str:
    # The same rows at a later version of the table are no other input.
    snapshot = {name: value for name, value in inputs["snapshot"].items() if name != "table_version"}
    return digest_json({**inputs, "snapshot": snapshot})


def _gate_evidence(
    workflow: Workflow, rows: JudgedRows, *, candidate: Candidate, champion: Model | None
) -> GateEvidence:
    return GateEvidence(
        metric=workflow.metric,
        y_true=rows.y_true,
        candidate=predict_judged(candidate.model, rows),
        naive=rows.naive,
        champion=None if champion is None else champion_scores(champion, rows),
        seen_by_candidate=seen_in_training(candidate.model.manifest, rows),
        seen_by_champion=None if champion is None else seen_in_training(champion.manifest, rows),
        slices=rows.slices,
        latency_ms=candidate.latency_ms,
        size_mb=candidate.size_mb,
        candidate_as_of=datetime.fromisoformat(candidate.found.as_of),
        champion_as_of=None if champion is None else datetime.fromisoformat(champion.manifest.as_of),
        random_state=workflow.training.random_state,
        task=workflow.target.task,
        times=rows.times,
        block=workflow.block,
    )


def _content(
    workflow: Workflow, inputs: Mapping[str, Any], *, candidate: Candidate, evidence: GateEvidence, verdict: Verdict
) -> dict[str, Any]:
    seed, scoring, blocks = evidence.random_state, scoring_of(workflow), evidence.blocks()
    metrics = {
        name: metrics_of(evidence.y_true, getattr(evidence, name), random_state=seed, scoring=scoring, blocks=blocks)
        for name in ("candidate", "naive")
    }
    n_unseen = None
    if evidence.champion is not None:
        metrics["champion"] = {}
        unseen = ~np.asarray(evidence.seen_by_champion)
        n_unseen = int(unseen.sum())
        if n_unseen:
            y, champion = evidence.y_true[unseen], evidence.champion[unseen]
            blocks = replace(evidence, times=np.asarray(evidence.times)[unseen]).blocks()
            metrics["champion"] = metrics_of(y, champion, random_state=seed, scoring=scoring, blocks=blocks)
    return {
        "format": 2,
        **inputs,
        "inputs_digest": _inputs_digest(inputs),
        "seed": candidate.model.manifest.random_state,
        "gate_seed": seed,
        "gate": workflow.gate.model_dump(mode="json"),
        "workflow_digest": workflow.digest(),
        "n_rows": evidence.n_rows,
        "n_rows_unseen_by_candidate": int((~np.asarray(evidence.seen_by_candidate)).sum()),
        "n_rows_unseen_by_champion": n_unseen,
        "metrics": metrics,
        "measured": {"latency_ms": to_json_number(evidence.latency_ms), "size_mb": to_json_number(evidence.size_mb)},
        **verdict.to_dict(),
    }


def _add_verdict(
    registry: Registry, workflow: Workflow, *, candidate: Candidate, evidence: GateEvidence, verdict: Verdict
) -> None:
    """
    Write the verdict, and the card with it, beside the model. This is for readers; what ships is decided
    by the ledger.
    """
    contents: dict[str, Any] = {"decision.json": verdict.to_dict()}
    figures: dict[str, bytes] = {}
    if candidate.report is not None:
        if evidence.champion is not None and np.isfinite(evidence.champion).all():
            figures = draw_difference(evidence, workflow.gate)
        card = card_of(workflow, candidate, candidate.report, figures=figures, verdict=verdict)
        contents |= {"card.md": card.markdown, "card.html": card.html}
    add_to_version(registry, candidate.found, contents=contents, figures=figures)
