"""
10,000 bad readings of 17 kinds through a real broker: each is quarantined for its reason. A mended suite heals what it
should.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from include.lake.fencing import new_token
from include.lake.partitions import list_partitions
from include.quality.replay import ReplayReport, replay_partition
from tests.injected import Expected, assert_accounted, ingest
from tests.mqtt_broker import Broker, as_json, running_broker
from tests.sources.sensor.stations import SUITE, declare
from tests.sources.sensor.test_collection import collect_until, run_collect

pytestmark = pytest.mark.claim("accounts")

N_BAD, N_GOOD, N_COPIES = 10_000, 1400, 500
MAX_PAYLOAD = 20_000
# What the rules say of a row that was never read: it has no time and no key.
NOTHING = ("measured_at: event time is missing", "measured_at: key is missing", "station: key is missing")
NO_TIME = NOTHING[:2]
RANGE = "pm25: expect_column_values_to_be_between"

Make = Callable[[dict[str, object], datetime], bytes]
BAD: dict[str, tuple[Make, tuple[str, ...]]] = {
    "not JSON": (lambda r, _: as_json(r)[:-5], ("source: payload: not JSON", *NOTHING)),
    "not UTF-8": (lambda r, _: as_json(r)[:-1] + b', "x": "\xff"}', ("source: payload: not UTF-8", *NOTHING)),
    "a list": (lambda r, _: b"[" + as_json(r) + b"]", ("source: payload: no object of fields", *NOTHING)),
    "too deep": (lambda r, _: b"[" * 5000 + b"]" * 5000, ("source: payload: nested too deeply", *NOTHING)),
    "a field twice": (lambda r, _: as_json(r)[:-1] + b', "pm25": 2}', ("source: payload: repeats a field", *NOTHING)),
    "NaN": (
        lambda r, _: as_json({**r, "pm25": float("nan")}),
        ("source: payload: a number that JSON does not have (NaN or Infinity)", *NOTHING),
    ),
    "too large": (
        lambda r, _: as_json({**r, "x": "y" * MAX_PAYLOAD}),
        (f"source: payload: larger than {MAX_PAYLOAD} bytes", *NOTHING),
    ),
    "decimal comma": (lambda r, _: as_json({**r, "pm25": "12,5"}), ("source: pm25: no number",)),
    "half a count": (lambda r, _: as_json({**r, "sequence": 1.5}), ("source: sequence: no whole number",)),
    "a number for a name": (
        lambda r, _: as_json({**r, "station": 7}),
        ("source: station: no text", "station: key is missing"),
    ),
    "no name": (lambda r, _: as_json({**r, "station": None}), ("station: key is missing",)),
    "no time": (lambda r, _: as_json({**r, "measured_at": None}), NO_TIME),
    "no such time": (
        lambda r, _: as_json({**r, "measured_at": "yesterday"}),
        ("source: measured_at: no ISO 8601 date and time", *NO_TIME),
    ),
    "the clock says 1970": (
        lambda r, _: as_json({**r, "measured_at": "1970-01-01T00:00:00Z"}),
        ("source: measured_at: lies before the workflow's start",),
    ),
    "the clock says 2099": (
        lambda r, _: as_json({**r, "measured_at": "2099-01-01T00:00:00Z"}),
        ("source: measured_at: lies after the row's arrival",),
    ),
    "too late": (
        lambda r, today: as_json({**r, "measured_at": str(today - timedelta(days=4))}),
        ("source: measured_at: arrived later than the allowed lateness",),
    ),
    "more than there can be": (lambda r, _: as_json({**r, "pm25": 1500}), (RANGE,)),
}
# Within what the mended suite takes.
HEALED = "more than there can be"


def injected(today: datetime) -> tuple[list[tuple[str, bytes]], dict[str, str]]:
    """All messages, each from a topic of its own, which marks its row; and the kind of each bad one."""
    kinds = list(BAD)
    messages, kind_of = [], {}
    for i in range(N_BAD):
        topic, kind = f"stations/b{i}", kinds[i % len(kinds)]
        own = {"station": f"b{i}", "sequence": 1, "measured_at": str(today + timedelta(seconds=i)), "pm25": 5.0}
        messages.append((topic, BAD[kind][0](own, today)))
        kind_of[topic] = kind
    good = good_readings("g", N_GOOD, today)
    return messages + good + good[-N_COPIES:], kind_of


def good_readings(prefix: str, n_readings: int, day: datetime) -> list[tuple[str, bytes]]:
    """From a day's first moment on, a millisecond apart."""
    moments = [str(day + timedelta(milliseconds=i)) for i in range(n_readings)]
    return [
        (f"stations/{prefix}{i}", as_json({"station": f"{prefix}{i}", "sequence": 1, "measured_at": at, "pm25": 5.0}))
        for i, at in enumerate(moments)
    ]


@pytest.fixture(scope="module")
def large_broker(tmp_path_factory):
    with running_broker(tmp_path_factory.mktemp("queue"), max_ack_pending=10_000) as broker:
        yield broker


def replay(workflow, day, lake) -> ReplayReport:
    return replay_partition(workflow, day, lake=lake, token=new_token(), run_id="replay", try_id="replay")


def test_ten_thousand_bad_readings_are_accounted_for_and_a_mended_suite_heals_its_own(
    tmp_path, lake, today, large_broker: Broker, monkeypatch
):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path))
    start = (today - timedelta(days=10)).date()
    workflow = declare(
        tmp_path / "w",
        start=start,
        lateness="2 days",
        max_payload_bytes=MAX_PAYLOAD,
        sequence=None,
        max_quarantined=None,
    )
    messages, kind_of = injected(today)
    run_collect(workflow, lake, large_broker.uri, today)
    large_broker.publish(messages)
    # What is too large to keep lands without its bytes.
    collect_until(
        {payload for _, payload in messages if len(payload) <= MAX_PAYLOAD}, workflow, lake, large_broker.uri, today
    )
    # A day with bad readings only would be stopped, so that on which they arrived (it may be two) gets some good ones.
    arrived = list_partitions(lake, "stations/messages")
    for n_day, day in enumerate(arrived):
        more = good_readings(f"h{n_day}x", 100, datetime.fromisoformat(day).replace(tzinfo=UTC))
        large_broker.publish(more)
        collect_until({payload for _, payload in more}, workflow, lake, large_broker.uri, today)
        messages += more
    days = [str(today.date()), *arrived]
    for day in days:
        ingest(workflow, day, lake=lake)

    expected = Expected(
        n_in=len(messages),
        n_published=N_GOOD + 100 * len(arrived),
        n_duplicate=N_COPIES,
        reasons_by_row={topic: BAD[kind][1] for topic, kind in kind_of.items()},
        published=sorted({topic for topic, _ in messages} - kind_of.keys()),
    )
    assert (expected.n_quarantined, len(BAD)) == (N_BAD, 17)
    assert_accounted(lake, "stations", expected, marker_column="source_name")

    mended = {
        **SUITE,
        "expectations": [{**SUITE["expectations"][0], "kwargs": {"column": "pm25", "min_value": 0, "max_value": 2000}}],
    }
    workflow.expectations_path.write_text(json.dumps(mended), encoding="utf-8")
    healed = [topic for topic, kind in kind_of.items() if kind == HEALED]
    assert len(healed) == 588
    after = replace(
        expected,
        n_published=expected.n_published + len(healed),
        reasons_by_row={topic: BAD[kind][1] for topic, kind in kind_of.items() if kind != HEALED},
        published=[*(expected.published or ()), *healed],
    )
    assert sum(replay(workflow, day, lake).rows_healed for day in days) == len(healed)
    assert_accounted(lake, "stations", after, marker_column="source_name")
    assert [replay(workflow, day, lake).is_changed for day in days] == [False] * len(days)
    assert_accounted(lake, "stations", after, marker_column="source_name")
