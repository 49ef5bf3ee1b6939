"""
Each message once: whoever competes, whatever is down, whenever a sender dies; and what cannot be
promised is counted.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.alerts.outbox import LEASE_SECONDS, DeliveryCounts, Outbox
from include.errors import DeliveryError
from include.lake.incidents import close_incident, open_incident, read_incidents
from include.lake.store import Lake
from tests.alerts.receivers import HookSink
from tests.alerts.workers import deliver, send_naively
from tests.crashes import KILLED
from tests.forks import run_at_once, run_snippet

NAME = {"workflow": "parcels", "kind": "failed_task", "subject": "ingest.extract"}


def fail(lake: Lake, key: str = "2026-01-05") -> str:
    return open_incident(lake, **NAME, partition_key=key, summary="the source refused the query", counts={})


def mend(lake: Lake, key: str = "2026-01-05") -> None:
    assert close_incident(lake, **NAME, partition_key=key)


def later(**delta: float) -> datetime:
    return datetime.now(UTC) + timedelta(**delta)


def test_an_incident_is_told_once_and_its_end_once(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    fail(lake)
    assert [outbox.deliver().sent for _ in range(3)] == [1, 0, 0]
    fail(lake)  # again while it is open
    assert outbox.deliver().sent == 0
    mend(lake)
    assert [outbox.deliver().sent for _ in range(3)] == [1, 0, 0]
    assert hook.texts == [
        "[Updraft] parcels 2026-01-05: a task failed",
        "[Updraft] Recovered: parcels 2026-01-05: a task failed",
    ]
    assert [body["event"] for body in hook.bodies] == ["alert", "recovery"]


def test_the_next_incident_of_a_name_is_told_anew(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    for _ in range(2):
        fail(lake)
        outbox.deliver()
        mend(lake)
        outbox.deliver()
    assert [body["event"] for body in hook.bodies] == ["alert", "recovery"] * 2
    assert len({body["incidents"][0]["id"] for body in hook.bodies}) == 2


def test_nothing_is_sent_of_another_workflow(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    open_incident(lake, **{**NAME, "workflow": "others"}, partition_key="", summary="s", counts={})
    assert outbox.deliver() == DeliveryCounts()
    assert hook.requests == []


def test_what_is_over_before_it_was_told_is_one_message(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    fail(lake)
    mend(lake)
    assert [outbox.deliver().sent for _ in range(2)] == [1, 0]
    assert [(body["event"], bool(body["incidents"][0]["closed_at"])) for body in hook.bodies] == [("alert", True)]


def test_a_new_channel_is_not_told_the_past(lake: Lake, outbox: Outbox) -> None:
    fail(lake)
    mend(lake)
    assert outbox.deliver(now=later(days=2)) == DeliveryCounts()


def test_a_channel_that_is_down_is_told_later_once(
    lake: Lake, hook: HookSink, outbox: Outbox, caplog: pytest.LogCaptureFixture
) -> None:
    hook.status = 503
    fail(lake)
    assert outbox.deliver() == DeliveryCounts(failed=1)
    assert "Nobody was told through 'ops_hook' at attempt 1; tried again in 30 s" in caplog.text
    assert outbox.deliver(now=later(seconds=20)) == DeliveryCounts()  # not asked again so soon
    assert outbox.deliver(now=later(seconds=40)) == DeliveryCounts(failed=1)
    hook.status = 204
    assert outbox.deliver(now=later(seconds=80)) == DeliveryCounts()  # the second wait is a minute
    assert [outbox.deliver(now=later(seconds=110 + n)).sent for n in range(3)] == [1, 0, 0]
    ((headers, _),) = hook.requests
    assert headers["x-updraft-attempt"] == "3"


@pytest.mark.claim("alerts")
def test_hours_without_the_channel_lose_nothing(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    """Five incidents come while nothing gets through; two of them are mended; then each is told of once."""
    hook.status = 500
    moment = datetime.now(UTC)
    ids = []
    for n in range(5):
        ids.append(fail(lake, f"2026-01-{n + 1:02}"))
        moment += timedelta(minutes=20)
        replace(outbox, is_round=True).deliver(now=moment)
    mend(lake, "2026-01-01")
    mend(lake, "2026-01-02")
    hook.status = 204
    for _ in range(4):
        moment += timedelta(minutes=10)
        replace(outbox, is_round=True).deliver(now=moment)
    told = [incident["id"] for body in hook.bodies for incident in body["incidents"]]
    assert sorted(told) == sorted(ids)
    assert {body["event"] for body in hook.bodies} == {"alert"}


@pytest.mark.parametrize(
    "error", [DeliveryError("there is no such connection"), ValueError("the password is Rumpelstiltskin")]
)
def test_one_bad_channel_keeps_no_other_from_being_told(
    lake: Lake, hook: HookSink, outbox: Outbox, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    def open_channel(name: str) -> Any:
        if name == "broken":
            raise error
        return outbox.open_channel(name)

    fail(lake)
    assert replace(outbox, channels=("broken", "ops_hook"), open_channel=open_channel).deliver() == DeliveryCounts(
        sent=1, failed=1
    )
    assert len(hook.requests) == 1
    assert "'broken'" in caplog.text
    assert "Rumpelstiltskin" not in caplog.text


def test_who_dies_while_it_looks_for_the_connection_holds_up_nobody(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    """A busy Dag processor is killed there: nothing is claimed yet, so the next round tells at once."""

    def die(name: str) -> Any:
        raise KeyboardInterrupt(name)

    fail(lake)
    with pytest.raises(KeyboardInterrupt):
        replace(outbox, open_channel=die).deliver()
    assert outbox.deliver() == DeliveryCounts(sent=1)


def test_each_channel_is_told(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    fail(lake)
    assert replace(outbox, channels=("one", "two")).deliver().sent == 2
    assert len({headers["x-updraft-delivery"] for headers, _ in hook.requests}) == 2


@pytest.mark.claim("alerts")
def test_a_storm_becomes_few_messages_and_forgets_no_incident(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    """A backfill fails day after day: three are told one by one, the others by the next round, together."""
    ids = []
    for n in range(8):
        ids.append(fail(lake, f"2026-01-{n + 1:02}"))
        outbox.deliver()
    assert len(hook.requests) == 3
    assert outbox.deliver() == DeliveryCounts(waiting=5)
    assert replace(outbox, is_round=True).deliver() == DeliveryCounts(sent=1)
    assert hook.texts[-1] == "[Updraft] parcels: 5 incidents (5 × a task failed)"
    for n in range(8):
        mend(lake, f"2026-01-{n + 1:02}")
    assert replace(outbox, is_round=True).deliver() == DeliveryCounts(sent=1)
    assert replace(outbox, is_round=True).deliver() == DeliveryCounts()
    for event in ("alert", "recovery"):
        told = [incident["id"] for body in hook.bodies if body["event"] == event for incident in body["incidents"]]
        assert sorted(told) == sorted(ids)


def test_what_was_one_message_stays_one(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    rounds = replace(outbox, is_round=True)
    hook.status = 500
    for n in range(5):
        fail(lake, f"2026-01-0{n + 1}")
    assert rounds.deliver() == DeliveryCounts(failed=1)
    hook.status = 204
    fail(lake, "2026-01-06")
    assert rounds.deliver(now=later(seconds=40)).sent == 2
    assert sorted(len(body["incidents"]) for body in hook.bodies) == [1, 5]


def test_incidents_of_one_name_are_told_one_after_the_other(lake: Lake, hook: HookSink, outbox: Outbox) -> None:
    first = fail(lake)
    mend(lake)
    second = fail(lake)
    assert [outbox.deliver().sent for _ in range(3)] == [1, 1, 0]
    assert [body["incidents"][0]["id"] for body in hook.bodies] == [first, second]


# Who competes, and who dies: in processes of their own.


def run_together(work: Callable[[Any], int], lake: Lake, hook: HookSink, *, n: int) -> list[int]:
    return run_at_once(work, [{"arguments": {"lake": lake.uri, "settings": hook.settings()}}] * n)


@pytest.mark.claim("races")
def test_of_four_watchers_one_sends(lake: Lake, hook: HookSink) -> None:
    for key in ("2026-01-05", "2026-01-06"):
        fail(lake, key)
    assert sum(run_together(deliver, lake, hook, n=4)) == 2
    assert sorted(hook.texts) == [
        "[Updraft] parcels 2026-01-05: a task failed",
        "[Updraft] parcels 2026-01-06: a task failed",
    ]


@pytest.mark.claim("alerts")
def test_the_control_without_a_ledger_sends_twice(lake: Lake, hook: HookSink) -> None:
    fail(lake)
    assert run_together(send_naively, lake, hook, n=2) == [1, 1]
    assert len(hook.requests) == 2


DELIVER = "from tests.alerts.workers import outbox_of\noutbox_of(arguments).deliver()"


@pytest.mark.parametrize(("crash_at", "n_copies"), [("alert.before_send", 1), ("alert.after_send", 2)])
@pytest.mark.claim("alerts")
def test_a_sender_that_dies_loses_no_message(
    lake: Lake, hook: HookSink, outbox: Outbox, crash_at: str, n_copies: int
) -> None:
    """
    At least once: who dies between the channel's answer and the ledger's line leaves a second copy, by
    the same name.
    """
    fail(lake)
    arguments = {"lake": lake.uri, "settings": hook.settings()}
    assert run_snippet(DELIVER, arguments=arguments, crash_at=crash_at) == KILLED
    assert outbox.deliver() == DeliveryCounts()  # the claim holds
    assert [outbox.deliver(now=later(seconds=LEASE_SECONDS + n)).sent for n in range(1, 4)] == [1, 0, 0]
    assert len(hook.requests) == n_copies
    assert len({headers["x-updraft-delivery"] for headers, _ in hook.requests}) == 1
    assert [i.is_open for i in read_incidents(lake)] == [True]
