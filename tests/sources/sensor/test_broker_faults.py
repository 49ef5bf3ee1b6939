"""
What a broker does to its queue: it is restarted, killed, overflows, forgets. All the readings are there, or it is said
which are not.
"""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest

from include.lake.incidents import open_incidents, read_incidents
from include.sources.sensor import drain
from include.sources.sensor.arrears import record_gaps, take_stock
from include.sources.sensor.messages import land
from include.workflow.partitions import window_of_moment
from tests.mqtt_broker import as_json, running_broker
from tests.sources.sensor.stations import declare, landed_payloads, reading, rows_of
from tests.sources.sensor.test_collection import collect_until, run_collect

pytestmark = pytest.mark.claim("sensors")


def numbered(first, last, today):
    """Readings with these numbers, the last one included, a second apart."""
    numbers = range(first, last + 1)
    return [("stations/north", as_json(reading(n, measured_at=str(today + timedelta(seconds=n))))) for n in numbers]


def payloads_of(messages):
    return {payload for _, payload in messages}


def missing(lake):
    return [(incident.kind, incident.summary, dict(incident.counts)) for incident in open_incidents(lake)]


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_a_broker_that_goes_and_comes_back_in_mid_drain_costs_nothing(tmp_path, lake, today, monkeypatch, is_killed):
    """
    It goes when three batches of 100 have landed and are not acknowledged yet, or not all; it comes back half a second
    later.
    """
    workflow = declare(tmp_path / "w", start=today.date(), max_seconds=300)
    sent = numbered(0, 1999, today)
    with running_broker(tmp_path / "queue", max_ack_pending=100) as broker:
        returns = threading.Timer(0.5, broker.start)
        n_landed = []

        def land_and_lose_the_broker(messages, **where):
            land(messages, **where)
            n_landed.append(len(messages))
            if len(n_landed) == 3:
                broker.stop(kill=is_killed)
                returns.start()

        run_collect(workflow, lake, broker.uri, today)
        broker.publish(sent)
        monkeypatch.setattr(drain, "land", land_and_lose_the_broker)
        report = run_collect(workflow, lake, broker.uri, today)
        returns.join()
        assert report.counts["reconnects"] >= 1
        collect_until(payloads_of(sent), workflow, lake, broker.uri, today)
    assert set(landed_payloads(lake, workflow)) == payloads_of(sent)
    assert set(rows_of(lake, workflow, str(today.date()))["sequence"].to_pylist()) == set(range(2000))
    assert read_incidents(lake) == []


def test_a_queue_that_overflows_is_told_of_by_the_numbers_of_what_is_gone(tmp_path, broker, stations, lake, today):
    """The broker keeps 1,000 of 5,000 messages. When the device sends the others again, the incident is over."""
    run_collect(stations, lake, broker.uri, today)
    first = numbered(0, 9, today)
    broker.publish(first)
    collect_until(payloads_of(first), stations, lake, broker.uri, today)
    broker.limit_queue(1000)
    sent = numbered(10, 5009, today)
    broker.publish(sent)
    report = collect_until(payloads_of(sent[-1000:]), stations, lake, broker.uri, today)
    assert (len(landed_payloads(lake, stations)), report.counts["missing_readings"]) == (1010, 4000)
    said = f"4000 readings of north in {today.date()} never arrived: numbers 10 to 4009"
    assert missing(lake) == [("missing_readings", said, {"missing": 4000})]
    for start in range(0, 4000, 1000):
        again = sent[start : start + 1000]
        broker.publish(again)
        collect_until(payloads_of(again), stations, lake, broker.uri, today)
    assert missing(lake) == []
    assert set(rows_of(lake, stations, str(today.date()))["sequence"].to_pylist()) == set(range(5010))


def test_a_broker_that_forgot_its_queue_is_told_of_twice(tmp_path, broker, stations, lake, today):
    """Its disk is gone. That it no longer knows us says that something may be lost; the device's count says what."""
    run_collect(stations, lake, broker.uri, today)
    first = numbered(0, 9, today)
    broker.publish(first)
    collect_until(payloads_of(first), stations, lake, broker.uri, today)
    broker.publish(numbered(10, 109, today))
    broker.stop(kill=True)
    broker.forget()
    broker.start()
    assert run_collect(stations, lake, broker.uri, today).counts["is_new_session"] == 1
    assert [kind for kind, _, _ in missing(lake)] == ["lost_session"]
    last = numbered(110, 119, today)
    broker.publish(last)
    collect_until(payloads_of(last), stations, lake, broker.uri, today)
    said = f"100 readings of north in {today.date()} never arrived: numbers 10 to 109"
    assert missing(lake) == [("missing_readings", said, {"missing": 100})]


def test_a_broker_that_forgets_in_mid_drain_is_told_of(tmp_path, lake, today, monkeypatch):
    """Of 300 messages a hundred have landed when it loses its disk; it is back before the drain ends."""
    workflow = declare(tmp_path / "w", start=today.date(), max_seconds=300)
    with running_broker(tmp_path / "queue", max_ack_pending=100) as broker:
        n_landed = []

        def land_and_lose_the_queue(messages, **where):
            land(messages, **where)
            n_landed.append(len(messages))
            if len(n_landed) == 1:
                broker.stop(kill=True)
                broker.forget()
                broker.start()

        run_collect(workflow, lake, broker.uri, today)
        broker.publish(numbered(0, 299, today))
        monkeypatch.setattr(drain, "land", land_and_lose_the_queue)
        while not n_landed:
            report = run_collect(workflow, lake, broker.uri, today)
        assert (report.counts["is_new_session"], report.counts["messages"]) == (0, n_landed[0])
        assert [kind for kind, _, _ in missing(lake)] == ["lost_session"]
        # The next one finds a session again: that is told, once.
        run_collect(workflow, lake, broker.uri, today)
    assert missing(lake) == []


def test_what_a_broker_took_and_lost_when_it_was_killed_is_counted(tmp_path, broker, stations, lake, today):
    """
    Killed right after it had confirmed 500 messages. What is on its disk by then is its own affair: the rest is told
    of.
    """
    run_collect(stations, lake, broker.uri, today)
    first, last = numbered(0, 0, today), numbered(501, 501, today)
    broker.publish(first)
    collect_until(payloads_of(first), stations, lake, broker.uri, today)
    broker.publish(numbered(1, 500, today))
    broker.stop(kill=True)
    broker.start()
    broker.publish(last)
    report = collect_until(payloads_of(last), stations, lake, broker.uri, today)
    n_missing = sum(counts["missing"] for kind, _, counts in missing(lake) if kind == "missing_readings")
    assert len(landed_payloads(lake, stations)) + n_missing == 502
    assert n_missing == report.counts["missing_readings"]


def test_several_holes_are_named_one_by_one(broker, stations, lake, today):
    run_collect(stations, lake, broker.uri, today)
    lost = {3, 4, 8, 12, 13, 14}
    sent = [message for n, message in enumerate(numbered(0, 20, today)) if n not in lost]
    broker.publish(sent)
    collect_until(payloads_of(sent), stations, lake, broker.uri, today)
    said = f"6 readings of north in {today.date()} never arrived: numbers 3 to 4, 8, 12 to 14"
    assert missing(lake) == [("missing_readings", said, {"missing": 6})]


def test_a_device_that_has_been_silent_for_long_has_not_recovered(broker, stations, lake, today):
    """
    Weeks later its last reading is out of sight, and with it what it owes: the incident stays, until the
    readings come.
    """
    run_collect(stations, lake, broker.uri, today)
    sent = [message for n, message in enumerate(numbered(0, 9, today)) if n != 5]
    broker.publish(sent)
    collect_until(payloads_of(sent), stations, lake, broker.uri, today)
    told = missing(lake)
    assert [counts for _, _, counts in told] == [{"missing": 1}]
    later = take_stock(stations.source, workflow=stations, now=today + timedelta(weeks=6), lake=lake)
    window = window_of_moment("day", today + timedelta(weeks=6))
    assert (
        later.readings.num_rows,
        record_gaps(later, source=stations.source, workflow=stations, window=window, lake=lake),
    ) == (0, 0)
    assert missing(lake) == told
    broker.publish(numbered(5, 5, today))
    collect_until(payloads_of(numbered(0, 9, today)), stations, lake, broker.uri, today)
    assert missing(lake) == []
