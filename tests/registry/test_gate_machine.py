"""
A random life of decisions: trainings of any worth, judgements, forged and spoiled evidence, people who approve,
promotions.

Verdicts, proofs and approvals are the real functions'; the ledger is a list and the evidence store a mapping, so that
500 lives of 50 steps take seconds. What may be champion is told by what was planted, not by what the gate said.
"""

from __future__ import annotations

import functools
import json
import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from include.errors import EvidenceError
from include.evaluation.gate import Verdict, judge
from include.lake.ledger import DecisionRecord
from include.registry.evidence import _check_agrees, digest_json, gate_digest
from include.registry.proof import Approval, approved_content, disagreements, why_not_approvable
from include.workflow import Gate, Workflow
from tests.evaluation.rows import draw_evidence
from tests.factories import declare_workflow

NOW = datetime(2026, 3, 2, tzinfo=UTC)
GATE = Gate(minimum={"roc_auc": 0.6}, minimum_rows=40, max_latency_ms=20)
N = 120
GOOD = draw_evidence(n_rows=N, noise=0.05, champion_noise=8, metric="roc_auc")
ALIKE = replace(
    GOOD, champion=np.clip(np.asarray(GOOD.candidate) + 0.02 * np.random.default_rng(0).normal(size=N), 0, 1)
)
SPOILED: dict[str, dict[str, Any]] = {
    "nan": {"candidate": np.where(np.arange(N) == 5, math.nan, GOOD.candidate)},
    "no scores": {"candidate": None},
    "no latency": {"latency_ms": None},
    "slow": {"latency_ms": 30.0},
    "empty": {"y_true": np.array([]), "candidate": np.array([]), "naive": np.array([])},
    "unknown truth": {"y_true": np.full(N, math.nan)},
    "guess": {"candidate": np.random.default_rng(1).random(N)},
    "worse": {"candidate": GOOD.champion, "champion": GOOD.candidate},
    "itself": {"champion": GOOD.candidate},
    "trained on all": {"seen_by_candidate": np.ones(N, dtype=bool)},
    "older": {"champion_as_of": NOW},
}
# Good or not whatever the champion; "alike" is good as a first model, and for a person to decide where there is a
# champion.
WORTHS = ("good", "alike", *SPOILED)


@functools.cache
def verdict_on(worth: str, *, has_champion: bool) -> Verdict:
    """The real gate's verdict on evidence of known worth."""
    evidence = {"good": GOOD, "alike": ALIKE}.get(worth) or replace(GOOD, **SPOILED[worth])
    if not has_champion:
        evidence = replace(evidence, champion=None, seen_by_champion=None, champion_as_of=None)
    return judge(evidence, GATE)


@functools.cache
def workflow_of(folder: Path) -> Workflow:
    """The workflow whose versions these are."""
    workflow = declare_workflow(folder, gate=GATE)
    search = workflow.training.search.model_copy(update={"metric": "roc_auc"})
    return workflow.model_copy(update={"training": workflow.training.model_copy(update={"search": search})})


@dataclass
class Version:
    """What was planted: may it be champion as it is, or if a person says so?"""

    worth: str
    is_sound: bool = False
    is_doubtful: bool = False


class Life(RuleBasedStateMachine):
    """One workflow's decisions."""

    folder: Path
    n_promoted = 0

    def __init__(self) -> None:
        super().__init__()
        self.workflow, self.digest = workflow_of(self.folder), digest_of_gate(self.folder)
        self.versions: list[Version] = []
        self.decisions: dict[int, DecisionRecord] = {}
        self.store: dict[str, str] = {}
        self.champion: int | None = None
        self.may_be_champion: set[int] = set()

    def some(self, data: st.DataObject) -> int:
        return data.draw(st.integers(max(0, len(self.versions) - 4), len(self.versions) - 1))

    def record(self, version: int, content: dict[str, Any]) -> None:
        """Append a decision that tells what its evidence tells."""
        digest = digest_json(content)
        self.store[digest] = json.dumps(content)
        self.decisions[version] = DecisionRecord(
            workflow="parcels",
            model_version=str(version),
            champion_version=content["champion_version"],
            as_of=NOW,
            verdict=content["verdict"],
            reasons="[]",
            evidence_digest=digest,
            evidence_uri="",
            model_digest=content["model_digest"],
            decided_at=NOW,
            decided_by="gate",
        )

    def evidence_of(self, version: int) -> dict[str, Any]:
        """Read as `read_evidence` does: bytes that differ are refused."""
        return self.read(self.decisions[version].evidence_digest)

    def read(self, digest: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads(self.store.get(digest, "{}"))
        if digest_json(content) != digest:
            raise EvidenceError("evidence was changed or is missing")
        return content

    @rule(worth=st.sampled_from(WORTHS))
    def train(self, worth: str) -> None:
        self.versions.append(Version(worth=worth))

    @precondition(lambda self: self.versions)
    @rule(data=st.data())
    def judge(self, data: st.DataObject) -> None:
        version = self.some(data)
        found, has_champion = self.versions[version], self.champion is not None
        verdict = verdict_on(found.worth, has_champion=has_champion)
        told = {
            "model_version": str(version),
            "model_digest": f"m{version}",
            "champion_version": str(self.champion) if has_champion else None,
        }
        self.record(version, {"workflow": "parcels", **told, "gate_digest": self.digest, **verdict.to_dict()})
        first = found.worth in {"good", "alike", "worse", "itself", "older"} and not has_champion
        # "worse" and "itself" are the champion's own scores, and a guess: as a first model they stand for themselves.
        found.is_sound = found.worth == "good" or (first and found.worth != "worse")
        # What is older than the champion a person may let pass here; that promotion asks for one more is
        # test_backfilled's.
        found.is_doubtful = found.worth in {"alike", "older"} and has_champion
        if found.is_sound:
            self.may_be_champion.add(version)

    @precondition(lambda self: self.decisions)
    @rule(
        data=st.data(),
        how=st.sampled_from(["verdict", "drop check", "unask check", "no checks", "pass all", "number", "other model"]),
    )
    def forge(self, data: st.DataObject, how: str) -> None:
        """Write other evidence, with a digest that fits: what a faulty task would leave, not one that can't write."""
        version = data.draw(st.sampled_from(sorted(self.decisions)))
        try:
            content = self.evidence_of(version)
        except EvidenceError:
            return
        content |= {"verdict": "PROMOTE"}
        checks = content["checks"]
        if how in {"drop check", "unask check"} and checks:
            index = data.draw(st.integers(0, len(checks) - 1))
            checks[index : index + 1] = [] if how == "drop check" else [{**checks[index], "passed": None}]
        elif how == "no checks":
            content["checks"] = []
        elif how == "other model":
            content["model_version"] = "999"
        elif how == "number" and checks:
            checks[0]["passed"] = 1
        self.record(version, content)

    @precondition(lambda self: self.decisions)
    @rule(data=st.data())
    def spoil_bytes(self, data: st.DataObject) -> None:
        """Change what is stored, and not its digest."""
        digest = self.decisions[data.draw(st.sampled_from(sorted(self.decisions)))].evidence_digest
        self.store[digest] = self.store.get(digest, "{}").replace("HOLD", "PROMOTE").replace("false", "true") + " "
        if data.draw(st.booleans()):
            del self.store[digest]

    @precondition(lambda self: self.decisions)
    @rule(data=st.data(), by_the_rules=st.booleans(), user=st.sampled_from(["jane", ""]))
    def approve(self, data: st.DataObject, by_the_rules: bool, user: str) -> None:
        """A person approves; or somebody writes an approval of what nobody may approve."""
        version = data.draw(st.sampled_from(sorted(self.decisions)))
        decision = self.decisions[version]
        try:
            held = self.evidence_of(version)
        except EvidenceError:
            return
        allowed = not why_not_approvable(self.workflow, held) and bool(user)
        if by_the_rules and not allowed:
            return
        approval = Approval(user_id=user, user_name=user, at=NOW, run_id="run")
        self.record(version, approved_content(held, approval, held_digest=decision.evidence_digest))
        if allowed and self.versions[version].is_doubtful:
            self.may_be_champion.add(version)

    @precondition(lambda self: self.decisions)
    @rule(data=st.data())
    def promote(self, data: st.DataObject) -> None:
        """By the proof that promotion asks for."""
        version = data.draw(st.sampled_from(sorted(self.decisions)))
        decision = self.decisions[version]
        try:
            content = self.evidence_of(version)
            _check_agrees(self.workflow, content, decision)
            if "approval" in content and disagreements(
                self.workflow, content, self.read(content["approval"]["held_evidence"])
            ):
                return
        except EvidenceError:
            return
        if decision.verdict == "PROMOTE" and content["gate_digest"] == self.digest:
            self.champion = version
            Life.n_promoted += 1

    @invariant()
    def nothing_is_champion_without_complete_finite_passed_evidence(self) -> None:
        assert self.champion is None or self.champion in self.may_be_champion, self.versions[self.champion]


@functools.cache
def digest_of_gate(folder: Path) -> str:
    """As `require_evidence` takes it."""
    return gate_digest(workflow_of(folder))


def lives(folder: Path) -> Any:
    """The machine, with its workflow's folder."""
    Life.folder = folder
    case = Life.TestCase
    case.settings = settings(
        max_examples=500,
        stateful_step_count=50,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    return case("runTest")


@pytest.mark.claim("gate")
def test_500_lives_of_50_steps_promote_nothing_unproven(tmp_path: Path) -> None:
    Life.n_promoted = 0
    lives(tmp_path).runTest()
    assert Life.n_promoted > 100, "control: what is proven is promoted"


@pytest.mark.claim("gate")
def test_control_without_the_proof_a_life_goes_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same lives, where promotion asks the verdict alone."""
    monkeypatch.setattr(f"{__name__}._check_agrees", lambda workflow, content, decision: None)
    with pytest.raises(AssertionError):
        lives(tmp_path).runTest()


def test_good_and_doubtful_models_can_become_champion(tmp_path: Path) -> None:
    """The control of the control: the machine promotes what is proven, and what a person lets pass."""
    assert verdict_on("good", has_champion=True).verdict == verdict_on("good", has_champion=False).verdict == "PROMOTE"
    assert verdict_on("alike", has_champion=True).verdict == "HOLD"
    content = {"champion_version": "1", **verdict_on("alike", has_champion=True).to_dict()}
    assert why_not_approvable(workflow_of(tmp_path), content) == ""
