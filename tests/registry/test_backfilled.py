"""A model as of a past date: marked, and no champion unless somebody asks for it and a person agrees."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from include.deployment.rollout import verify_evidence
from include.errors import EvidenceError, StalePromotionError
from include.lake.ledger import DECISIONS, read_ledger
from include.registry import read_version
from include.registry.backfilled import Override, is_backfilled
from include.registry.promotion import set_challenger
from tests.factories import START, days, parcel_rows
from tests.modeling.published import publish, publish_days, validated
from tests.registry.house import House
from tests.registry.test_promotion import alias, champion, n_promotions, promoted, rolled_back

pytestmark = pytest.mark.claim("approval")

AGREED = Override(requested_by="ann, run manual__1", approved_by="bob")


def test_a_training_is_backfilled_if_a_later_one_was_possible(house: House) -> None:
    """Four weeks are published, from Monday the 5th to Sunday the 1st of February."""
    ends = {
        day: is_backfilled(house.workflow, START + timedelta(days=day), lake=house.lake) for day in (14, 20, 21, 22, 28)
    }
    assert ends == {14: True, 20: True, 21: True, 22: True, 28: False}
    publish_days(house.workflow, house.lake, [days(34)[-1]])
    # Saturday: the fifth week goes on
    assert not is_backfilled(house.workflow, START + timedelta(days=28), lake=house.lake)
    sunday = days(35)[-1]
    publish(house.workflow, house.lake, sunday, validated(parcel_rows(day=sunday, n_rows=1))[:0])
    # It came without rows: nothing to train on
    assert not is_backfilled(house.workflow, START + timedelta(days=28), lake=house.lake)
    publish_days(house.workflow, house.lake, [sunday])
    assert is_backfilled(house.workflow, START + timedelta(days=28), lake=house.lake)


def test_what_is_older_than_the_champion_is_backfilled(house: House) -> None:
    moment = START + timedelta(days=28)
    assert not is_backfilled(house.workflow, moment, lake=house.lake)
    version = house.register("monday4")
    house.decide(version, None)
    promoted(house, version)
    assert not is_backfilled(house.workflow, moment, lake=house.lake)
    assert is_backfilled(house.workflow, moment - timedelta(seconds=1), lake=house.lake)


def test_the_mark_stands_in_registry_evidence_and_ledger(house: House) -> None:
    for training, mark in (("monday3", True), ("monday4", False)):
        version = house.register(training, is_backfilled=mark)
        assert read_version(house.registry, "parcels", version).is_backfilled is mark
        assert (
            house.registry.client.get_model_version("parcels", version).tags["updraft.backfilled"] == str(mark).lower()
        )
        assert house.judge(version).is_backfilled is mark
    assert sorted(read_ledger(house.lake, DECISIONS)["is_backfilled"].to_pylist()) == [False, True]


@pytest.mark.parametrize("has_champion", [True, False])
def test_a_backfilled_version_needs_somebody_who_asks_and_a_person_who_agrees(house: House, has_champion: bool) -> None:
    """Newer than the champion or not: what was trained as of a past date waits."""
    previous = None
    if has_champion:
        previous = house.register("monday3")
        house.decide(previous, None)
        promoted(house, previous)
    version = house.register("monday4", is_backfilled=True)
    house.decide(version, previous)
    work = {"lake": house.lake, "registry": house.registry}
    with pytest.raises(
        StalePromotionError, match=r"2026-02-02 00:00 and backfilled: .* trigger parcels.deploy with model_version"
    ):
        verify_evidence(house.workflow, version, **work)
    with pytest.raises(StalePromotionError, match="and backfilled"):
        promoted(house, version)
    assert "backfilled" in verify_evidence(house.workflow, version, allow_backfilled=True, **work).approval_reason
    for approved_by, requested_by in (("", "ann"), ("bob", "")):
        with pytest.raises(EvidenceError, match="no person has approved it: answer the task approve_backfilled"):
            promoted(house, version, override=Override(requested_by=requested_by, approved_by=approved_by))
    assert (champion(house), n_promotions(house)) == (previous, int(has_champion))
    record = promoted(house, version, override=AGREED)
    assert (record.model_version, record.overridden_by, record.approved_by) == (version, AGREED.requested_by, "bob")
    assert champion(house) == alias(house) == version
    assert promoted(house, version) == record  # a second try


def test_an_older_version_moves_the_champion_only_by_override_and_approval(house: House) -> None:
    newer, older = house.register("monday4"), house.register("monday3")
    house.decide(newer, None)
    promoted(house, newer)
    house.decide(older, newer)
    with pytest.raises(
        StalePromotionError, match="the champion 1 as of 2026-02-02 00:00: a champion never gets older by itself"
    ):
        promoted(house, older)
    with pytest.raises(EvidenceError, match="no person has approved it"):
        promoted(house, older, override=Override(requested_by="ann", approved_by=""))
    assert promoted(house, older, override=AGREED).as_of < datetime(2026, 2, 1, tzinfo=UTC)
    assert rolled_back(house, older).model_version == newer


def test_an_override_is_recorded_only_where_it_was_needed(house: House) -> None:
    version = house.register("monday4")
    house.decide(version, None)
    assert (
        verify_evidence(
            house.workflow, version, lake=house.lake, registry=house.registry, allow_backfilled=True
        ).approval_reason
        == ""
    )
    assert promoted(house, version, override=AGREED).approved_by is None


def test_an_override_replaces_no_evidence(house: House) -> None:
    version = house.register("monday3", is_backfilled=True)
    with pytest.raises(EvidenceError, match="was never judged"):
        promoted(house, version, override=AGREED)
    house.decide(version, None, verdict="HOLD")
    with pytest.raises(EvidenceError, match="was judged HOLD"):
        promoted(house, version, override=AGREED)
    house.decide(version, None)
    assert set_challenger(house.workflow, version, lake=house.lake, registry=house.registry).is_backfilled
