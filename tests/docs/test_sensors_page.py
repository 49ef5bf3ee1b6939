"""The page about sensors does what it says."""

from __future__ import annotations

import runpy
from datetime import UTC, datetime, timedelta

import pytest

from include.lake.incidents import open_incidents
from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.modeling.labels import labels_of
from include.modeling.schema import hidden_columns
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from tests.docs.pages import type_in
from tests.mqtt_broker import as_json, running_broker

pytestmark = pytest.mark.claim("sensors")

DAY = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)
KEY = str(DAY.date())


def test_the_cold_rooms_of_the_page_are_collected_and_published(tmp_path, monkeypatch):
    """A day of one room, the fifth reading lost on the way: it grows warmer by a tenth of a degree each time."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    type_in("sources/sensors.md", tmp_path)
    workflow = runpy.run_path(str(tmp_path / "include" / "workflows" / "cold_rooms" / "workflow.py"))["workflow"]
    lake = Lake(uri=str(tmp_path / "lake"))
    readings = [
        {"room": "r1", "number": n, "measured_at": str(DAY + timedelta(minutes=10 * n)), "celsius": n / 10}
        for n in range(144)
    ]
    with running_broker(tmp_path / "queue") as broker:
        collect_partition(workflow, KEY, connection_uri=broker.uri, lake=lake, token=1)
        broker.publish([("rooms/r1/temperature", as_json(reading)) for reading in readings if reading["number"] != 5])
        report = collect_partition(workflow, KEY, connection_uri=broker.uri, lake=lake, token=2)
    line = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (report.counts["messages"], line.rows_in, line.rows_published) == (143, 143, 143)
    assert [incident.summary for incident in open_incidents(lake)] == [
        f"1 reading of r1 in {KEY} never arrived: numbers 5"
    ]
    rows = read_partition(lake, "cold_rooms/validated", KEY)
    assert labels_of(workflow, rows).sum() == 63  # those above 8.0: number 81 to 143
    # All of it came after its time: by our own clock no forecast of that day knew a reading.
    assert rows["celsius_60m"].null_count == 143
    assert {"celsius", "number", "received_at"} <= hidden_columns(workflow)
