"""
10,000 bad readings of twelve kinds for air_quality: each is quarantined for its reasons, and a mended suite heals its
own.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from include.lake.fencing import new_token
from include.lake.partitions import list_partitions
from include.lake.store import Lake
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow import Quality, Workflow
from include.workflows.air_quality.workflow import workflow
from tests.injected import Expected, assert_accounted
from tests.mqtt_broker import as_json, running_broker
from tests.sources.sensor.stations import landed_payloads

pytestmark = pytest.mark.claim("accounts")

N_DAYS, N_GOOD = 8, 800
BETWEEN = "expect_column_values_to_be_between"
NO_PM25 = "pm25: expect_column_values_to_not_be_null (the instrument for particles gave no reading)"
NO_TIME = ("measured_at: event time is missing", "measured_at: key is missing")
NOTHING = (*NO_TIME, "sent_at: known time is missing", "station: key is missing", NO_PM25)
DIRECTION = "wind_direction: expect_column_values_to_be_in_set (no direction that the station tells)"
# By construction: how many, what is changed in the reading, and all reasons for which such a row is refused.
KINDS: dict[str, tuple[int, dict[str, Any], tuple[str, ...]]] = {
    "cut": (500, {}, ("source: payload: not JSON", *NOTHING)),
    "no time": (500, {"measured_at": None}, NO_TIME),
    "the clock says 1970": (
        500,
        {"measured_at": "1970-01-01T00:00:00Z"},
        ("source: measured_at: lies before the workflow's start",),
    ),
    "the clock says 2099": (
        500,
        {"measured_at": "2099-01-01T00:00:00Z"},
        ("source: measured_at: lies after the row's arrival",),
    ),
    "decimal comma": (1_000, {"pm25": "12,5"}, ("source: pm25: no number", NO_PM25)),
    "no particles": (1_000, {"pm25": None}, (NO_PM25,)),
    "too many particles": (
        1_000,
        {"pm25": 1500},
        (f"pm25: {BETWEEN} (what the instrument for particles can measure)",),
    ),
    "too hot": (1_000, {"temperature": 80}, (f"temperature: {BETWEEN} (no temperature of air in °C)",)),
    "thin air": (1_000, {"pressure": 20}, (f"pressure: {BETWEEN} (no pressure of air in hPa at Beijing's height)",)),
    "no direction": (1_000, {"wind_direction": "UP"}, (DIRECTION,)),
    "backward wind": (
        1_000,
        {"wind_run": -1},
        (f"wind_run: {BETWEEN} (wind since it last turned, in m/s summed over hours)",),
    ),
    "no name of a station": (
        1_000,
        {"station": "Station {number}"},
        ("station: expect_column_values_to_match_regex (no name of a station)",),
    ),
}


@dataclass(frozen=True, kw_only=True)
class Readings:
    """What was ingested, and what has to have become of it."""

    workflow: Workflow
    lake: Lake
    days: list[str]
    expected: Expected


def message_of(number: int, changes: dict[str, Any], *, at: datetime) -> tuple[str, bytes]:
    """A reading from a station of its own, whose topic marks its row."""
    reading = {
        "station": f"s{number}", "number": 1, "measured_at": str(at),
        "sent_at": str(at + timedelta(minutes=10)), "pm25": 50.0,
        "dew_point": -5, "temperature": 10, "pressure": 1020, "wind_direction": "NW", "wind_run": 3.5,
        "snow_hours": 0, "rain_hours": 0,
        **changes,
    }  # fmt: skip
    reading["station"] = reading["station"].format(number=number)
    return f"stations/s{number}/air", as_json(reading)


def messages_and_reasons(first: datetime) -> tuple[list[tuple[str, bytes]], dict[str, tuple[str, ...]]]:
    messages, reasons = [], {}

    def add(changes: dict[str, Any]) -> str:
        number = len(messages)
        messages.append(message_of(number, changes, at=first + timedelta(days=number % N_DAYS, hours=number % 24)))
        return messages[-1][0]

    for _ in range(N_GOOD):
        add({})
    for kind, (n_readings, changes, why) in KINDS.items():
        for _ in range(n_readings):
            topic = add(changes)
            reasons[topic] = why
            if kind == "cut":
                messages[-1] = (topic, messages[-1][1][:-5])
    return messages, reasons


@pytest.fixture(scope="module")
def readings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Readings]:
    folder = tmp_path_factory.mktemp("readings")
    # Ten thousand stations that send once each are silent ever after: what they owe is not this test's question.
    source = workflow.source.model_copy(update={"every": None, "sequence": None})
    tolerant = workflow.model_copy(update={"source": source, "quality": Quality(max_quarantined=None)})
    lake = Lake(uri=str(folder / "lake"))
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    first = today - timedelta(days=N_DAYS + 2)
    messages, reasons = messages_and_reasons(first)
    published = {topic for topic, _ in messages} - reasons.keys()
    with pytest.MonkeyPatch.context() as patch, running_broker(folder / "broker", max_ack_pending=10_000) as broker:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))

        def publish_and_collect(some: list[tuple[str, bytes]]) -> None:
            broker.publish(some)
            while not {payload for _, payload in some} <= set(landed_payloads(lake, tolerant)):
                collect_partition(tolerant, str(today.date()), connection_uri=broker.uri, lake=lake, token=1)

        collect_partition(tolerant, str(today.date()), connection_uri=broker.uri, lake=lake, token=1)
        publish_and_collect(messages)
        # A day with bad readings only would be stopped, so that on which they arrived (it may be two) gets a good one.
        arrived = list_partitions(lake, f"{workflow.name}/messages")
        for n_day, day in enumerate(arrived):
            fresh = message_of(len(messages) + n_day, {}, at=datetime.fromisoformat(day).replace(tzinfo=UTC))
            published.add(fresh[0])
            publish_and_collect([fresh])
        days = [*(str((first + timedelta(days=n)).date()) for n in range(N_DAYS)), *arrived]
        for day in days:
            ingest(tolerant, day, connection_uri=None, lake=lake)
        expected = Expected(
            n_in=len(published) + len(reasons),
            n_published=len(published),
            reasons_by_row=reasons,
            published=sorted(published),
        )
        yield Readings(workflow=tolerant, lake=lake, days=days, expected=expected)


def test_each_of_ten_thousand_bad_readings_is_quarantined_for_its_reasons(readings):
    assert (readings.expected.n_quarantined, readings.expected.n_kinds) == (10_000, len(KINDS))
    assert_accounted(readings.lake, "air_quality", readings.expected, marker_column="source_name")


def test_a_replay_by_a_mended_suite_heals_exactly_its_readings_and_a_second_one_nothing(readings, tmp_path: Path):
    shutil.copytree(workflow.folder, tmp_path / "w")
    suite = json.loads(workflow.expectations_path.read_text(encoding="utf-8"))
    for rule in suite["expectations"]:
        if rule["kwargs"].get("column") == "wind_direction":
            rule["kwargs"]["value_set"].append("UP")
    (tmp_path / "w" / "expectations.json").write_text(json.dumps(suite), encoding="utf-8")
    mended = readings.workflow.model_copy(update={"folder": tmp_path / "w"})
    expected = readings.expected
    still = {topic: why for topic, why in expected.reasons_by_row.items() if why != (DIRECTION,)}
    healed = expected.reasons_by_row.keys() - still.keys()
    after = replace(
        expected,
        n_published=expected.n_published + len(healed),
        reasons_by_row=still,
        published=[*(expected.published or ()), *healed],
    )
    for n_healed in (1_000, 0):
        replays = (
            replay_partition(mended, day, lake=readings.lake, token=new_token(), run_id="r", try_id=str(n_healed))
            for day in readings.days
        )
        assert sum(report.rows_healed for report in replays) == n_healed
        assert_accounted(readings.lake, "air_quality", after, marker_column="source_name")
