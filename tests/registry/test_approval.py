"""A person's word on a HOLD: what it needs, what it leaves in the ledger, and what nobody can approve."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from include.errors import EvidenceError
from include.lake.ledger import DECISIONS, DecisionRecord, read_ledger
from include.registry.approval import approve_version, ask_for_approval, is_approvable
from include.registry.evidence import read_evidence, reasons_of, require_evidence, write_evidence
from include.registry.promotion import promote
from include.registry.proof import Approval
from tests.registry.house import House

pytestmark = pytest.mark.claim("approval")

JANE = Approval(user_id="jane", user_name="Jane Doe", at=datetime(2026, 2, 3, 9, 30, tzinfo=UTC), run_id="manual__1")


def check(name: str, *, passed: bool | None = True, forces: str | None = None, reason: str = "seen") -> dict[str, Any]:
    return {"name": name, "passed": passed, "forces": forces, "reason": reason, "observed": None, "bound": None}


def hold(house: House, *, failing: str = "naive", forces: str = "HOLD", **changes: Any) -> DecisionRecord:
    """Register a version that is held for one check, all others having passed."""
    version = house.register("monday3")
    checks = [check(name) for name in house.required(None) if name != failing]
    checks.append(check(failing, passed=False, forces=forces, reason="perhaps by chance | <b>alone</b>"))
    told = {"verdict": "HOLD", "checks": checks, "reasons": ["perhaps by chance | <b>alone</b>"]}
    return house.decide(version, None, **{**told, **changes})


def approve(house: House, held: DecisionRecord, approval: Approval = JANE) -> DecisionRecord:
    return approve_version(
        house.workflow, held.model_version, lake=house.lake, approval=approval, held_digest=held.evidence_digest
    )


def require(house: House, version: str) -> DecisionRecord:
    return require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)


def test_an_approval_is_a_decision_of_its_own(house: House) -> None:
    held = hold(house)
    assert is_approvable(house.workflow, held, lake=house.lake)
    with pytest.raises(EvidenceError, match="judged HOLD"):
        require(house, held.model_version)
    decision = approve(house, held)
    content = read_evidence(house.lake, decision)
    assert (decision.verdict, decision.decided_by) == ("PROMOTE", "Jane Doe (jane) in manual__1")
    assert reasons_of(decision)[0].startswith("approved by Jane Doe (jane) on 2026-02-03 09:30 UTC")
    assert content["approval"]["overruled"] == ["naive"]
    assert content["approval"]["held_evidence"] == held.evidence_digest
    assert require(house, held.model_version) == decision
    shipped = promote(
        house.workflow, held.model_version, lake=house.lake, registry=house.registry, target="local", decided_by="test"
    )
    assert shipped.model_version == held.model_version


def test_approved_twice_is_recorded_once(house: House) -> None:
    held = hold(house)
    assert approve(house, held) == approve(house, held)
    assert [line["verdict"] for line in read_ledger(house.lake, DECISIONS).to_pylist()] == ["HOLD", "PROMOTE"]


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"verdict": "REJECT", "forces": "REJECT"}, "the verdict is REJECT: a person decides on a HOLD alone"),
        ({"failing": "numbers"}, "'numbers' can't be overruled"),
        ({"failing": "distinct"}, "'distinct' can't be overruled"),
        ({"forces": "REJECT"}, "'naive' can't be overruled"),
        (
            {"checks": [check("naive", passed=False, forces="HOLD")]},
            "its evidence is not complete \\(minimum roc_auc, numbers, rows",
        ),
        ({"checks": []}, "its evidence is not complete"),
        ({"verdict": "PROMOTE"}, "the verdict is PROMOTE"),
    ],
)
def test_what_nobody_can_approve(house: House, how: dict[str, Any], message: str) -> None:
    held = hold(house, **how)
    assert not is_approvable(house.workflow, held, lake=house.lake)
    for work in (
        lambda: approve(house, held),
        lambda: ask_for_approval(house.workflow, held.model_version, lake=house.lake),
    ):
        with pytest.raises(EvidenceError, match=message):
            work()
    assert read_ledger(house.lake, DECISIONS).num_rows == 1


def test_an_approval_has_a_person(house: House) -> None:
    with pytest.raises(EvidenceError, match="nobody is named"):
        approve(house, hold(house), replace(JANE, user_id=""))


def test_a_version_that_was_never_judged_can_not_be_approved(house: House) -> None:
    version = house.register("monday3")
    with pytest.raises(EvidenceError, match="was never judged"):
        approve_version(house.workflow, version, lake=house.lake, approval=JANE, held_digest="0" * 64)


def test_an_answer_to_an_old_question_is_refused(house: House) -> None:
    old = hold(house)
    hold(house, failing="rows")
    with pytest.raises(EvidenceError, match="was judged anew since you were asked"):
        approve(house, old)


FORGED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "nobody": lambda c: {**c, "approval": {**c["approval"], "user_id": ""}},
    "fewer overruled": lambda c: {**c, "approval": {**c["approval"], "overruled": []}},
    "more overruled": lambda c: {**c, "approval": {**c["approval"], "overruled": ["naive", "rows"]}},
    "other checks": lambda c: {**c, "checks": [check(one["name"]) for one in c["checks"]]},
    "other rows": lambda c: {**c, "n_rows": 10_000},
    "no such evidence": lambda c: {**c, "approval": {**c["approval"], "held_evidence": "0" * 64}},
}


@pytest.mark.parametrize("how", FORGED)
def test_a_forged_approval_ships_nothing(house: House, how: str) -> None:
    decision = approve(house, hold(house))
    forged = FORGED[how](read_evidence(house.lake, decision))
    house.decide(decision.model_version, None, **forged)
    with pytest.raises(EvidenceError, match=r"does not fit what was held|does not prove it|is missing from the lake"):
        require(house, decision.model_version)


def test_an_approval_of_what_was_rejected_ships_nothing(house: House) -> None:
    """Written by hand, past `approve_version`: promotion looks at what was held by itself."""
    rejected = hold(house, verdict="REJECT", forces="REJECT")
    content = read_evidence(house.lake, rejected)
    approval = {"user_id": "jane", "user_name": "Jane", "at": "2026", "run_id": "1", "overruled": ["naive"]}
    house.decide(
        rejected.model_version,
        None,
        **{**content, "verdict": "PROMOTE", "approval": {**approval, "held_evidence": rejected.evidence_digest}},
    )
    with pytest.raises(EvidenceError, match="the verdict is REJECT: a person decides on a HOLD alone"):
        require(house, rejected.model_version)


def test_the_question_shows_the_evidence_and_no_markup_of_its_own(house: House) -> None:
    held = hold(house)
    request = ask_for_approval(house.workflow, held.model_version, lake=house.lake, card_uri="file:///cards/1/card.md")
    assert request.subject == "Ship version 1 of parcels although the gate holds it?"
    assert "there is no champion yet" in request.body
    assert "`file:///cards/1/card.md`" in request.body
    first = next(line for line in request.body.splitlines() if line.startswith("| naive"))
    assert first == "| naive | **held** | perhaps by chance \\| \\<b\\>alone\\</b\\> |"
    assert "<b>" not in request.body.replace("\\<b\\>", "")


def test_evidence_that_lacks_a_required_check_proves_nothing(house: House) -> None:
    """Whatever wrote PROMOTE: a gate that was replaced by one that says yes leaves no self-test."""
    version = house.register("monday3")
    house.decide(
        version, None, checks=[check(name) for name in house.required(None) if not name.startswith("self-test")]
    )
    with pytest.raises(EvidenceError, match="check 'self-test', check 'self-test constant'"):
        require(house, version)
    write_evidence(house.lake, "parcels", {})
    house.decide(version, None)
    assert require(house, version).verdict == "PROMOTE"  # the control
