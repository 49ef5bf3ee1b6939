"""The local canary, without a server: whose turn it is, and when it ends."""

from __future__ import annotations

import asyncio
import threading

import pytest

from include.serving import canary as module
from include.serving.canary import Canary, CanaryTerms

TERMS = CanaryTerms(share=0.25, requests=40, seconds=60, max_distance=0.5)


class Clock:
    """A clock that is set by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def canary(clock: Clock) -> Canary:
    return Canary("7", TERMS, clock=clock)


def test_a_share_of_a_quarter_is_every_fourth(canary: Canary) -> None:
    assert [canary.takes_next() for _ in range(8)] == [False, False, False, True] * 2


def test_it_passes_once_it_has_answered_enough(canary: Canary) -> None:
    for i in range(40):
        assert canary.state == "running"
        canary.champion_answered([i / 40])
        canary.answered([i / 40])
    assert (canary.state, canary.describe()["distance"]) == ("passed", 0)
    assert not any(canary.takes_next() for _ in range(8))


def test_past_its_time_what_was_seen_decides(canary: Canary, clock: Clock) -> None:
    canary.answered([0.5])
    clock.now = 60
    assert (canary.state, canary.n_requests) == ("passed", 1)


def test_other_scores_than_the_champions_fail_it(canary: Canary) -> None:
    for i in range(30):
        canary.champion_answered([i / 100])
        canary.answered([0.9])
    assert canary.state == "failed"
    assert "distance 1.00, 0.5 is allowed" in canary.reason
    assert not any(canary.takes_next() for _ in range(8))


def test_a_failure_is_final(canary: Canary, clock: Clock) -> None:
    canary.fail("first")
    canary.fail("second")
    clock.now = 60
    assert (canary.state, canary.reason) == ("failed", "first")


def test_three_slow_answers_fail_it_and_are_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_ANSWER_SECONDS", 0.01)
    canary, slow = Canary("7", TERMS), threading.Event()

    async def ask_three_slow() -> None:
        for _ in range(3):
            with pytest.raises(TimeoutError):
                await canary.ask(slow.wait)
            slow.set()
            while canary._n_working:
                await asyncio.sleep(0.001)
            slow.clear()

    asyncio.run(ask_three_slow())
    assert canary.state == "failed"
    assert "3 answers took longer" in canary.reason
