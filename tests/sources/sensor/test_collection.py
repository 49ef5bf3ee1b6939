"""Draining a real broker: nothing is lost, whatever stops."""

from __future__ import annotations

from datetime import timedelta
from time import monotonic

import pytest

from include.lake.incidents import read_incidents
from include.lake.partitions import list_partitions, read_partitions
from include.sources.kinds import CollectReport, collect
from include.workflow.partitions import window_of_moment
from tests.mqtt_broker import as_json
from tests.sources.sensor.stations import all_rows, landed_payloads, reading

pytestmark = pytest.mark.claim("sensors")


def run_collect(workflow, lake, uri, at) -> CollectReport:
    window = window_of_moment("day", at)
    return collect(workflow.source, workflow=workflow, window=window, connection_uri=uri, lake=lake, token=1)


def landed(lake) -> list[bytes]:
    return read_partitions(lake, "stations/messages", list_partitions(lake, "stations/messages"))["payload"].to_pylist()


def collect_until(payloads: set[bytes], workflow, lake, uri, at) -> CollectReport:
    """
    Collect as often as it takes until these have landed: a busy broker may be quiet for longer than
    `idle_seconds`.
    """
    give_up_at = monotonic() + 120
    while True:
        report = run_collect(workflow, lake, uri, at)
        if payloads <= set(landed_payloads(lake, workflow)):
            return report
        assert monotonic() < give_up_at, "not all of it came"


def many(n_readings, today):
    """A reading a second."""
    readings = [reading(i, measured_at=str(today + timedelta(seconds=i))) for i in range(n_readings)]
    return [("stations/north", as_json(value)) for value in readings]


def test_what_was_published_while_nobody_listened_is_all_there(broker, stations, lake, today):
    first = run_collect(stations, lake, broker.uri, today)
    assert (first.counts["is_new_session"], first.counts["messages"]) == (1, 0)
    sent = many(5000, today)
    assert broker.publish(sent) == 5000
    report = run_collect(stations, lake, broker.uri, today)
    assert (report.counts["messages"], report.counts["is_new_session"], report.counts["is_drained"]) == (5000, 0, 1)
    assert sorted(landed(lake)) == sorted(payload for _, payload in sent)
    assert sum(rows.num_rows for rows in all_rows(lake, stations, until=today + timedelta(days=2)).values()) == 5000
    assert run_collect(stations, lake, broker.uri, today).counts["messages"] == 0
    assert read_incidents(lake) == []
