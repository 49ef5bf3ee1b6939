"""Promotion: evidence or nothing, never backwards, once."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from include.errors import EvidenceError, RegistryError, StalePromotionError, TamperedModelError, UpdraftError
from include.lake.ledger import PROMOTIONS, PromotionRecord, current_champion, read_ledger
from include.registry import set_alias, version_of_alias
from include.registry.evidence import require_evidence
from include.registry.promotion import promote, reconcile_alias, roll_back, set_challenger
from tests.registry.house import House, with_gate
from tests.registry.test_versions import TAMPERINGS, files_of


def promoted(house: House, version: str, **options: Any) -> PromotionRecord:
    return promote(
        house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test", **options
    )


def rolled_back(house: House, version: str, **options: Any) -> PromotionRecord:
    return roll_back(
        house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test", **options
    )


def champion(house: House) -> str | None:
    record = current_champion(house.lake, "parcels")
    return None if record is None else record.model_version


def alias(house: House, name: str = "champion") -> str | None:
    return version_of_alias(house.registry, "parcels", name)


def n_promotions(house: House) -> int:
    return len(read_ledger(house.lake, PROMOTIONS))


def assert_nothing_ships(house: House, version: str, error: type[UpdraftError], match: str) -> None:
    """Neither champion nor challenger."""
    with pytest.raises(error, match=match):
        promoted(house, version)
    with pytest.raises(error, match=match):
        set_challenger(house.workflow, version, lake=house.lake, registry=house.registry)
    assert (champion(house), alias(house), alias(house, "challenger"), n_promotions(house)) == (None, None, None, 0)


def test_a_judged_version_becomes_challenger_and_champion(house: House) -> None:
    version = house.register("monday3")
    decision = house.judge(version)
    assert set_challenger(house.workflow, version, lake=house.lake, registry=house.registry) == decision
    record = promoted(house, version, expected_champion=None)
    assert (record.model_version, record.previous_version, record.epoch, record.action) == (version, None, 1, "promote")
    assert (champion(house), alias(house), alias(house, "challenger")) == (version, version, version)


@pytest.mark.claim("refusal")
def test_a_second_run_changes_nothing(house: House) -> None:
    version = house.register("monday3")
    house.judge(version)
    assert promoted(house, version) == promoted(house, version)
    assert n_promotions(house) == 1


# Somebody marks the gate task as succeeded by hand, after it refused: what follows asks the ledger, and finds no
# PROMOTE.


def test_a_version_that_was_never_judged_ships_nothing(house: House) -> None:
    assert_nothing_ships(house, house.register("monday3"), EvidenceError, "was never judged")


@pytest.mark.parametrize(
    ("gate", "verdict"), [({"minimum": {"roc_auc": 0.99}}, "REJECT"), ({"minimum_rows": 100_000}, "HOLD")]
)
def test_a_refused_version_ships_nothing(house: House, gate: dict[str, Any], verdict: str) -> None:
    version = house.register("monday3")
    assert house.judge(version, workflow=with_gate(house.workflow, **gate)).verdict == verdict
    assert_nothing_ships(house, version, EvidenceError, f"was judged {verdict}")


def test_a_version_that_does_not_exist_ships_nothing(house: House) -> None:
    house.register("monday3")
    assert_nothing_ships(house, "7", RegistryError, "no such thing")


def test_a_later_refusal_overrules_an_earlier_promote(house: House) -> None:
    version = house.register("monday3")
    house.judge(version)
    house.judge(version, workflow=with_gate(house.workflow, minimum={"roc_auc": 0.99}))
    assert_nothing_ships(house, version, EvidenceError, "was judged REJECT")


@pytest.mark.claim("refusal")
def test_another_gate_than_the_one_that_judged_ships_nothing(house: House) -> None:
    version = house.register("monday3")
    house.judge(version)
    changed = with_gate(house.workflow, minimum={"roc_auc": 0.61})
    with pytest.raises(EvidenceError, match="was changed after version 1 was judged"):
        promote(changed, version, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    assert promoted(house, version)  # the control: the gate that judged lets it through


def test_changed_evidence_ships_nothing(house: House) -> None:
    version = house.register("monday3")
    path = Path(house.decide(version, None).evidence_uri)
    assert require_evidence(house.workflow, version, lake=house.lake, registry=house.registry)  # the control
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_version": "2"}))
    assert_nothing_ships(house, version, EvidenceError, "was changed after the decision")
    path.unlink()
    assert_nothing_ships(house, version, EvidenceError, "is missing from the lake")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"model_version": "2"}, "model_version"),
        ({"model_digest": "0" * 64}, "model_digest"),
        ({"champion_version": "9"}, "champion_version"),
        ({"checks": []}, "no checks"),
        ({"checks": [{"name": "naive", "passed": False}]}, "check 'naive'"),
    ],
)
def test_evidence_that_proves_something_else_ships_nothing(house: House, changes: dict[str, Any], told: str) -> None:
    version = house.register("monday3")
    house.decide(version, None, **changes)
    assert_nothing_ships(house, version, EvidenceError, told)


@pytest.mark.parametrize("tamper", TAMPERINGS)
def test_a_tampered_model_ships_nothing(house: House, tamper: Callable[[Path, Path], None]) -> None:
    version = house.register("monday4")
    house.decide(version, None)
    tamper(files_of(house, version), house.packages)
    assert_nothing_ships(house, version, TamperedModelError, "remove it or|is recorded")


def test_a_champion_never_gets_older(house: House) -> None:
    newer, older = house.register("monday4"), house.register("monday3")
    house.decide(newer, None)
    promoted(house, newer)
    house.decide(older, newer)
    with pytest.raises(StalePromotionError, match="a champion never gets older"):
        promoted(house, older)
    assert (champion(house), alias(house), n_promotions(house)) == (newer, newer, 1)


@pytest.mark.claim("refusal")
def test_another_model_as_of_the_same_time_may_follow(house: House) -> None:
    first, second = house.register("monday3"), house.register("monday3b")
    house.decide(first, None)
    house.decide(second, first)
    promoted(house, first)
    assert promoted(house, second, expected_champion=first).epoch == 2


def test_a_decision_against_another_champion_is_stale(house: House) -> None:
    first, second = house.register("monday3"), house.register("monday4")
    house.decide(first, None)
    house.decide(second, None)
    promoted(house, first)
    with pytest.raises(StalePromotionError, match="was judged against champion None, but 1 is champion now"):
        promoted(house, second)
    house.decide(second, first)
    with pytest.raises(StalePromotionError, match="not 7 as expected"):
        promoted(house, second, expected_champion="7")
    assert promoted(house, second).previous_version == first


def three_champions(house: House) -> tuple[str, str, str]:
    versions = house.register("monday3"), house.register("monday3b"), house.register("monday4")
    previous = None
    for version in versions:
        house.decide(version, previous)
        promoted(house, version)
        previous = version
    return versions


def test_rolled_back_to_the_one_before(house: House) -> None:
    first, second, third = three_champions(house)
    record = rolled_back(house, third)
    assert (record.model_version, record.previous_version, record.epoch, record.action) == (
        second,
        third,
        4,
        "roll_back",
    )
    assert alias(house) == second
    assert rolled_back(house, third) == record  # a second run
    assert rolled_back(house, second).model_version == first  # twice back is not forth again
    assert n_promotions(house) == 5


@pytest.mark.claim("refusal")
def test_rolled_back_to_a_chosen_one_and_forth(house: House) -> None:
    first, _, third = three_champions(house)
    assert rolled_back(house, third, to_version=first).model_version == first
    assert rolled_back(house, first, to_version=third).model_version == third
    assert alias(house) == third


@pytest.mark.claim("refusal")
def test_a_promotion_that_was_rolled_back_is_not_repeated(house: House) -> None:
    """A retry of an old promotion must not undo what a person did since."""
    _, second, third = three_champions(house)
    rolled_back(house, third)
    with pytest.raises(StalePromotionError, match=r"was promoted already \(epoch 3\)"):
        promoted(house, third)
    assert champion(house) == second


def test_what_cannot_be_rolled_back_is_told(house: House) -> None:
    with pytest.raises(RegistryError, match="has no champion"):
        rolled_back(house, "1")
    version = house.register("monday3")
    house.decide(version, None)
    promoted(house, version)
    with pytest.raises(RegistryError, match="replaced no other champion"):
        rolled_back(house, version)
    with pytest.raises(StalePromotionError, match="version 5 of 'parcels' is not the champion, 1 is"):
        rolled_back(house, "5")
    with pytest.raises(RegistryError, match="was no earlier champion"):
        rolled_back(house, version, to_version="2")


@pytest.mark.claim("refusal")
def test_a_tampered_model_is_not_rolled_back_to(house: House) -> None:
    _, second, third = three_champions(house)
    TAMPERINGS[0](files_of(house, second), house.packages)
    with pytest.raises(TamperedModelError):
        rolled_back(house, third)
    assert champion(house) == third


def test_the_alias_follows_the_ledger(house: House) -> None:
    version, other = house.register("monday3"), house.register("monday4")
    house.decide(version, None)
    promoted(house, version)
    set_alias(house.registry, "parcels", "champion", other)
    assert reconcile_alias("parcels", lake=house.lake, registry=house.registry) == version
    assert alias(house) == version


def test_without_a_champion_the_alias_names_none(house: House) -> None:
    version = house.register("monday3")
    set_alias(house.registry, "parcels", "champion", version)
    assert reconcile_alias("parcels", lake=house.lake, registry=house.registry) is None
    assert alias(house) is None
