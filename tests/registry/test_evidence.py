"""The decision record: what it holds, and that promotion hashes all of it again and names what differs."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from include.errors import EvidenceError
from include.lake.ledger import DECISIONS, PROMOTIONS
from include.lake.ledger_chain import chain_head
from include.lake.store import open_table
from include.modeling.provenance import code_digest, lock_digest
from include.registry.evidence import read_evidence, require_evidence
from include.registry.judgement import judge_version
from tests.registry.house import House
from tests.registry.test_promotion import assert_nothing_ships, champion, promoted, rolled_back

KEY = "a key of the tests, of thirty-two bytes or more"


def test_a_decision_holds_digests_of_all_that_it_was_made_of(house: House) -> None:
    version = house.register("monday3")
    content = read_evidence(house.lake, house.judge(version))
    assert content["snapshot"]["digest"] == house.snapshots["monday3"].digest
    assert (content["code_digest"], content["lock_digest"]) == (code_digest(), lock_digest())
    assert (content["seed"], content["gate_seed"]) == (0, house.workflow.training.random_state)
    assert all(len(content[name]) == 64 for name in ("model_digest", "gate_digest", "workflow_digest", "lock_digest"))
    assert set(content["metrics"]["candidate"]["roc_auc"]) == {"value", "low", "high"}
    # the control of the tests below
    assert require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"code_digest": "0" * 64}, r"the code \(include/\): judged with 000000000000…, now "),
        ({"lock_digest": "0" * 64}, r"the lock file \(requirements.txt\): judged with"),
        ({"seed": 7}, "the model's seed: judged with 7, now 0"),
        ({"code_digest": "0" * 64, "seed": 7}, "the code .* the model's seed"),
    ],
)
def test_what_differs_is_named(house: House, changes: dict[str, object], told: str) -> None:
    version = house.register("monday3")
    house.decide(version, None, **changes)
    assert_nothing_ships(house, version, EvidenceError, f"was judged by is not what is there now: .*{told}")


@pytest.mark.claim("refusal")
def test_rows_that_are_no_longer_those_that_were_judged_are_named(house: House) -> None:
    version, snapshot = house.register("monday3"), house.snapshots["monday3"]
    fields = {**vars(snapshot), "missing_partitions": []}
    house.decide(version, None, snapshot=fields)
    assert require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)  # the control
    house.decide(version, None, snapshot={**fields, "digest": "1" * 64})
    assert_nothing_ships(
        house, version, EvidenceError, "the rows: judged on 111111111111…, trained on .*; the rows: snapshot .* differ"
    )
    house.decide(version, None, snapshot=fields)
    for path in Path(house.lake.uri).glob("parcels/validated/2026-01-20/*.parquet"):
        path.unlink()
    assert_nothing_ships(house, version, EvidenceError, "the rows: ")


def edit(house: House) -> None:
    open_table(house.lake, DECISIONS).update(predicate="sequence = 1", updates={"decided_by": "'somebody else'"})


def remove(house: House) -> None:
    open_table(house.lake, DECISIONS).delete("sequence = 1")


@pytest.mark.parametrize(
    ("tamper", "told"), [(edit, "line 1 .* was changed after it was written"), (remove, "line 1 is missing")]
)
def test_a_ledger_with_a_changed_line_ships_nothing(house: House, tamper: Callable[[House], None], told: str) -> None:
    """Though the line is another version's, and the one asked for is in order."""
    other, version = house.register("monday3b"), house.register("monday3")
    house.decide(other, None, verdict="HOLD")
    house.decide(version, None)
    tamper(house)
    assert_nothing_ships(house, version, EvidenceError, told)


def test_on_a_changed_history_of_promotions_nothing_is_promoted_or_rolled_back(house: House) -> None:
    first, second = house.register("monday3"), house.register("monday4")
    house.decide(first, None)
    promoted(house, first)
    house.decide(second, first)
    promoted(house, second)
    open_table(house.lake, PROMOTIONS).update(predicate="epoch = 1", updates={"decided_by": "'somebody else'"})
    with pytest.raises(EvidenceError, match=r"line 1 \(version 1, promote\) was changed"):
        rolled_back(house, second)
    with pytest.raises(EvidenceError, match="was changed"):
        promoted(house, first)
    assert champion(house) == second


def test_a_history_of_promotions_that_was_written_anew_does_not_agree_with_the_evidence(house: House) -> None:
    """Whole in itself, and shorter, or gone: what the gate saw last is not in it."""
    first, second = house.register("monday3"), house.register("monday4")
    house.decide(first, None)
    promoted(house, first)
    head = chain_head(house.lake, PROMOTIONS, "parcels")
    house.decide(second, first, promotions_head=head)
    assert require_evidence(house.workflow, second, lake=house.lake, registry=house.registry)  # the control
    shutil.rmtree(f"{house.lake.uri}/{PROMOTIONS}")
    for _ in range(2):
        with pytest.raises(
            EvidenceError, match="the history of promotions: its line 1 is not the one that the verdict came after"
        ):
            promoted(house, second)
        house.decide(first, None)
        promoted(house, first)
        house.decide(second, first, promotions_head=head)


@pytest.mark.claim("refusal")
def test_the_evidence_of_a_judgement_names_the_last_promotion(house: House) -> None:
    first = house.register("monday3")
    assert read_evidence(house.lake, house.judge(first))["promotions_head"] is None
    promoted(house, first)
    head = read_evidence(house.lake, house.judge(house.register("monday3b")))["promotions_head"]
    assert tuple(head) == chain_head(house.lake, PROMOTIONS, "parcels")


def test_with_a_key_only_signed_decisions_ship(house: House) -> None:
    version = house.register("monday3")
    work = {"registry": house.registry, "decided_by": "test"}
    judge_version(house.workflow, house.snapshots["monday3"], version, lake=house.lake, **work)
    signing = replace(house.lake, evidence_key=KEY)
    with pytest.raises(EvidenceError, match="is not signed, though UPDRAFT_EVIDENCE_KEY is set: judge it again"):
        require_evidence(house.workflow, version, lake=signing, registry=house.registry)
    judge_version(house.workflow, house.snapshots["monday3"], version, lake=signing, **work)
    assert require_evidence(house.workflow, version, lake=signing, registry=house.registry).signature
    with pytest.raises(EvidenceError, match=r"line 2 .* is not signed with this key"):
        require_evidence(
            house.workflow, version, lake=replace(signing, evidence_key=KEY[::-1]), registry=house.registry
        )


def test_the_code_digest_is_of_names_and_bytes(tmp_path: Path) -> None:
    digests = set()
    for change in ("", "byte", "name", "outside"):
        root = tmp_path / f"copy{change}"
        (root / "modeling" / "inner").mkdir(parents=True)
        (root / "serving").mkdir()
        (root / "errors.py").write_text("a = 1")
        (root / "modeling" / "inner" / ("b.py" if change != "name" else "c.py")).write_text(
            "b = 2" if change != "byte" else "b = 3"
        )
        (root / "serving" / "server.py").write_text(change)
        digests.add(code_digest(root, ("errors.py", "modeling")))
    assert len(digests) == 3  # what is outside of the parts changes nothing
    assert lock_digest(tmp_path / "none.txt") == "unknown"
