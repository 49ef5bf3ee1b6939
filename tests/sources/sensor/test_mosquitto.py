"""
The same promises with mosquitto, where it is installed (Debian: `apt install mosquitto`): other tests run against
nats-server.

It writes its queue to disk when it is stopped, and every half hour: killed, it has lost what it had confirmed since.
That is told by the numbers of what is missing, as `test_broker_faults.py` shows of another broker.
"""

from __future__ import annotations

import shutil
import threading

import pytest

from include.lake.incidents import read_incidents
from include.sources.sensor import drain
from include.sources.sensor.messages import land
from tests.mqtt_broker import Mosquitto, running_broker
from tests.sources.sensor.stations import declare, landed_payloads, rows_of
from tests.sources.sensor.test_broker_faults import missing, numbered, payloads_of
from tests.sources.sensor.test_collection import collect_until, run_collect

pytestmark = [
    pytest.mark.claim("sensors"),
    pytest.mark.skipif(shutil.which("mosquitto") is None, reason="mosquitto is not installed"),
]


def test_what_was_published_while_nobody_listened_is_all_there_after_a_restart(tmp_path, stations, lake, today):
    sent = numbered(0, 4999, today)
    with running_broker(tmp_path / "broker", kind=Mosquitto) as broker:
        assert run_collect(stations, lake, broker.uri, today).counts["is_new_session"] == 1
        broker.publish(sent)
        broker.stop()
        broker.start()
        assert run_collect(stations, lake, broker.uri, today).counts["is_new_session"] == 0
        collect_until(payloads_of(sent), stations, lake, broker.uri, today)
    assert set(rows_of(lake, stations, str(today.date()))["sequence"].to_pylist()) == set(range(5000))
    assert read_incidents(lake) == []


@pytest.mark.parametrize("is_killed", [False, True], ids=["stopped", "killed"])
def test_it_goes_and_comes_back_in_mid_drain(tmp_path, lake, today, monkeypatch, is_killed):
    """Killed, it may have lost what it had confirmed: what is missing is counted."""
    workflow, sent = declare(tmp_path / "w", start=today.date(), max_seconds=300), numbered(0, 1999, today)
    with running_broker(tmp_path / "broker", kind=Mosquitto) as broker:
        returns = threading.Timer(0.5, broker.start)
        n_landed = []

        def land_and_lose_the_broker(messages, **where):
            land(messages, **where)
            n_landed.append(len(messages))
            if len(n_landed) == 1:  # a hundred: more come once these are acknowledged
                broker.stop(kill=is_killed)
                returns.start()

        run_collect(workflow, lake, broker.uri, today)
        broker.publish(sent)
        monkeypatch.setattr(drain, "land", land_and_lose_the_broker)
        assert run_collect(workflow, lake, broker.uri, today).counts["reconnects"] >= 1
        returns.join()
        last = numbered(2000, 2000, today)
        run_collect(workflow, lake, broker.uri, today)  # killed, it may know no session of ours: it queues from now on
        broker.publish(last)
        collect_until(payloads_of(last), workflow, lake, broker.uri, today)
    landed = set(landed_payloads(lake, workflow))
    n_missing = sum(counts["missing"] for kind, _, counts in missing(lake) if kind == "missing_readings")
    assert len(landed) + n_missing == 2001
    assert landed == payloads_of([*sent, *last]) if not is_killed else n_missing > 0


def test_a_queue_that_overflows_is_told_of_by_the_numbers_of_what_is_gone(tmp_path, stations, lake, today):
    """It keeps the oldest messages, so that the hole shows as soon as the device says something newer."""
    with running_broker(tmp_path / "broker", kind=Mosquitto, max_queued=1000) as broker:
        run_collect(stations, lake, broker.uri, today)
        broker.publish(numbered(0, 2999, today))
        run_collect(stations, lake, broker.uri, today)
        last = numbered(3000, 3000, today)
        broker.publish(last)
        collect_until(payloads_of(last), stations, lake, broker.uri, today)
    n_landed = len(landed_payloads(lake, stations))
    assert 1000 <= n_landed < 3001
    ((kind, summary, counts),) = missing(lake)
    assert (kind, counts) == ("missing_readings", {"missing": 3001 - n_landed})
    assert f"numbers {n_landed - 1} to 2999" in summary
