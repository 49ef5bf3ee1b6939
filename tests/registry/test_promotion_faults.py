"""Promotion when it is killed, raced and shuffled."""

from __future__ import annotations

import queue
import signal
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from include.errors import EvidenceError, RegistryError, StalePromotionError
from include.lake.ledger import PROMOTIONS, PromotionRecord, append_promotion, current_champion, read_ledger
from include.lake.store import Lake
from include.registry import version_of_alias
from include.registry.promotion import promote, reconcile_alias, roll_back
from tests.forks import PROCESSES
from tests.registry.house import House, open_house
from tests.registry.processes import promote_in, race_in, run_killed, start
from tests.registry.test_promotion import alias, champion, n_promotions, promoted

CRASH_POINTS = (
    "promote.before_ledger",
    "append_ledger.before_commit",
    "append_ledger.after_commit",
    "promote.before_alias",
)
N_KILLS = 20
N_RACERS = 8


@pytest.mark.claim("kills")
def test_killed_at_each_point_readers_see_the_old_or_the_new_champion(
    house: House, record_property: Callable[[str, object], None]
) -> None:
    """Twenty promotions, each killed at one of the points and run again."""
    versions = [house.register("monday3"), house.register("monday3b")]
    house.decide(versions[0], None)
    promoted(house, versions[0])
    for turn in range(N_KILLS):
        old, new = versions[turn % 2], versions[(turn + 1) % 2]
        crash_at = CRASH_POINTS[turn % len(CRASH_POINTS)]
        house.decide(new, old)
        run_killed(promote_in, house.settings.home, house.packages, new, crash_at)
        is_committed = crash_at in {"append_ledger.after_commit", "promote.before_alias"}
        assert champion(house) == (new if is_committed else old)
        assert alias(house) == old
        assert promoted(house, new).epoch == turn + 2
        assert (champion(house), alias(house), n_promotions(house)) == (new, new, turn + 2)
    record_property(
        "figure", f"promotion: {N_KILLS} kills, each time the old or the new champion, each re-run complete"
    )


@pytest.mark.claim("kills")
def test_killed_at_any_moment_a_rerun_completes(house: House) -> None:
    """The control of the test above: no point is named, the kill comes when it comes."""
    version = house.register("monday3")
    house.decide(version, None)
    for milliseconds in (0, 50, 100, 150, 200, 300, 400):
        process = start(promote_in, house.settings.home, house.packages, version, "nowhere")
        process.join(milliseconds / 1000)
        process.kill()
        process.join()
        assert process.exitcode in {0, -signal.SIGKILL}
        assert champion(house) in {None, version}
    assert promoted(house, version).epoch == 1
    assert (champion(house), alias(house), n_promotions(house)) == (version, version, 1)


@pytest.mark.claim("races")
def test_of_eight_racing_promotions_one_wins_each_epoch(house: House) -> None:
    versions = [house.register(name) for name in ("monday3", "monday3b")]
    barrier, answers = PROCESSES.Barrier(N_RACERS), PROCESSES.Queue()
    previous: str | None = None
    for epoch in (1, 2):
        candidates = [version for version in versions if version != previous]
        for version in candidates:
            house.decide(version, previous)
        racers = [
            start(race_in, house.settings.home, house.packages, candidates[i % len(candidates)], barrier, answers)
            for i in range(N_RACERS)
        ]
        told = [answers.get(timeout=60) for _ in racers]
        for racer in racers:
            racer.join()
        winner = champion(house)
        # A racer of the winner's own version finds its promotion done; every other one is refused.
        assert {version for version, answer in told if answer == "won"} == {winner}
        assert {answer for version, answer in told if version != winner} <= {
            "StalePromotionError",
            "ConcurrentWriteError",
        }
        assert (alias(house), n_promotions(house)) == (winner, epoch)
        previous = winner
    with pytest.raises(queue.Empty):
        answers.get_nowait()


def test_a_naive_alias_moves_back(house: House) -> None:
    """The control of the promotion tests: MLflow's own alias takes any version, judged or not, older or not."""
    newer, older = house.register("monday4"), house.register("monday3")
    for version in (newer, older):
        house.registry.client.set_registered_model_alias("parcels", "champion", version)
    assert version_of_alias(house.registry, "parcels", "champion") == older


def test_a_slow_process_does_not_leave_an_old_alias(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """While one sets the alias, another promotes: the first looks again."""
    first, second = house.register("monday3"), house.register("monday3b")
    house.decide(first, None)
    record = promoted(house, first)
    house.registry.client.delete_registered_model_alias("parcels", "champion")
    client = house.registry.client

    class SlowClient:
        def __getattr__(self, name: str) -> object:
            if name == "set_registered_model_alias" and champion(house) == first:
                following = replace(record, model_version=second, previous_version=first, epoch=2)
                append_promotion(house.lake, following)
            return getattr(client, name)

    slow = replace(house.registry, client=SlowClient())
    assert reconcile_alias("parcels", lake=house.lake, registry=slow) == second
    assert alias(house) == second


class PromotionMachine(RuleBasedStateMachine):
    """Decisions, promotions and roll-backs in any order, beside a model of what must be."""

    home: Path
    packages: Path
    as_of: ClassVar = {"1": 21, "2": 21, "3": 28}

    @initialize()
    def open(self) -> None:
        self.house = replace(
            open_house(self.home, self.packages, {}),
            lake=Lake(uri=tempfile.mkdtemp(dir=self.home, prefix="lake-"), storage_options={}),
        )
        self.decisions: dict[str, tuple[str, str | None]] = {}  # version: verdict, champion that it was made against
        self.served: list[str] = []
        self.replaced: dict[str, str | None] = {}
        reconcile_alias("parcels", lake=self.house.lake, registry=self.house.registry)

    @property
    def champion(self) -> str | None:
        return self.served[-1] if self.served else None

    @rule(version=st.sampled_from("123"), verdict=st.sampled_from(["PROMOTE", "PROMOTE", "HOLD", "REJECT"]))
    def decide(self, version: str, verdict: str) -> None:
        if version != self.champion:
            self.house.decide(version, self.champion, verdict=verdict)
            self.decisions[version] = (verdict, self.champion)

    @rule(version=st.sampled_from("123"))
    def promote(self, version: str) -> None:
        verdict, against = self.decisions.get(version, ("never", None))
        work = dict(lake=self.house.lake, registry=self.house.registry, target="local", decided_by="test")
        if version == self.champion:
            promote(self.house.workflow, version, **work)  # type: ignore[arg-type]
        elif verdict != "PROMOTE":
            with pytest.raises(EvidenceError):
                promote(self.house.workflow, version, **work)  # type: ignore[arg-type]
        elif against != self.champion or (self.champion and self.as_of[self.champion] > self.as_of[version]):
            with pytest.raises(StalePromotionError):
                promote(self.house.workflow, version, **work)  # type: ignore[arg-type]
        else:
            promote(self.house.workflow, version, **work)  # type: ignore[arg-type]
            self.replaced[version] = self.champion
            self.served.append(version)
            self.decisions[version] = ("PROMOTE", "spent")

    @precondition(lambda self: self.served)
    @rule()
    def roll_back(self) -> None:
        work = dict(lake=self.house.lake, registry=self.house.registry, target="local", decided_by="test")
        version = self.served[-1]
        if self.replaced[version] is None:
            with pytest.raises(RegistryError):
                roll_back(self.house.workflow, version, **work)  # type: ignore[arg-type]
        else:
            roll_back(self.house.workflow, version, **work)  # type: ignore[arg-type]
            self.served.append(str(self.replaced[version]))

    @invariant()
    def ledger_and_alias_agree_with_the_model(self) -> None:
        if hasattr(self, "served"):
            rows = read_ledger(self.house.lake, PROMOTIONS).to_pylist()
            assert [row["model_version"] for row in rows] == self.served
            assert [row["epoch"] for row in rows] == list(range(1, len(rows) + 1))
            assert alias(self.house) == self.champion


@pytest.mark.claim("gate")
def test_no_order_of_steps_ships_what_was_not_proven(house: House) -> None:
    assert [house.register(name) for name in ("monday3", "monday3b", "monday4")] == ["1", "2", "3"]
    machine = type("Machine", (PromotionMachine,), {"home": house.settings.home, "packages": house.packages})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=12,
            stateful_step_count=15,
            deadline=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_the_ledger_answers_which_version_served_when(house: House) -> None:
    versions = house.register("monday3"), house.register("monday3b")
    house.decide(versions[0], None)
    first: PromotionRecord = promoted(house, versions[0])
    house.decide(versions[1], versions[0])
    second = promoted(house, versions[1])
    found = current_champion(house.lake, "parcels", at=first.recorded_at)
    assert found is not None
    assert found.model_version == versions[0]
    assert current_champion(house.lake, "parcels", at=second.recorded_at) == second
