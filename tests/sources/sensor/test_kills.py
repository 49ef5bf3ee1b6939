"""A collection that is killed at any of its points, fifty times: every reading is there, and counts once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from tests.injected import Expected, assert_accounted, ingest
from tests.mqtt_broker import as_json, running_broker
from tests.sources.sensor.killed import forking
from tests.sources.sensor.stations import landed_payloads, reading
from tests.sources.sensor.test_collection import collect_until, run_collect

pytestmark = pytest.mark.claim("sensors")

POINTS = (
    "sensor.before_landing",
    "append_batch.before_commit",
    "append_batch.after_commit",
    "sensor.before_acknowledgement",
    "sensor.after_acknowledgement",
)
N_ROUNDS, N_NEW = 10, 30


def new_readings(start, today):
    numbers = range(start, start + N_NEW)
    return [("stations/north", as_json(reading(n, measured_at=str(today + timedelta(seconds=n))))) for n in numbers]


def test_fifty_kills_lose_nothing_and_count_nothing_twice(
    tmp_path, stations, lake, today, monkeypatch, record_property
):
    """Before each kill the device sends 30 readings, so that each meets a batch that has just come or is half done."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    sent = []
    with (
        running_broker(tmp_path / "queue") as broker,
        forking("collect", stations, lake, broker.uri, today) as children,
    ):
        assert run_collect(stations, lake, broker.uri, today).counts["is_new_session"] == 1
        for point in POINTS * N_ROUNDS:
            new = new_readings(len(sent), today)
            sent += [payload for _, payload in new]
            broker.publish(new)
            children.run_until_killed(point)
        assert collect_until(set(sent), stations, lake, broker.uri, today).counts["missing_readings"] == 0
    landed = landed_payloads(lake, stations)
    assert (set(landed), len(sent)) == (set(sent), 1500)
    # Each kill between commit and acknowledgement left a copy of a batch.
    n_copies = landed.total() - len(sent)
    told = (
        f"{len(POINTS) * N_ROUNDS} kills: of {len(sent)} messages {len(set(landed))} landed, none twice in what is "
        "published"
    )
    record_property("figure", told)
    assert n_copies >= 2 * N_ROUNDS
    ingest(stations, str(today.date()), lake=lake)
    expected = Expected(
        n_in=1500 + n_copies, n_published=1500, n_duplicate=n_copies, reasons_by_row={}, published=range(1500)
    )
    assert_accounted(lake, "stations", expected, marker_column="sequence")


def test_a_subscriber_that_acknowledges_on_arrival_loses_all_that_it_held(tmp_path, stations, lake, today):
    """The control: the same broker and the same kill, with a full buffer."""
    with (
        running_broker(tmp_path / "queue") as broker,
        forking("naive", stations, lake, broker.uri, today, n_buffer=N_NEW) as children,
    ):
        assert children.run() == (0, 0)
        for n_rounds in range(3):
            broker.publish(new_readings(n_rounds * N_NEW, today))
            assert children.run("with a full buffer") == (-9, N_NEW)
        assert children.run() == (0, 0)
