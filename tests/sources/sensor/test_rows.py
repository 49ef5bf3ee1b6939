"""From landed messages to partitions: every message is one row of exactly one of them."""

from __future__ import annotations

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta

import cbor2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.quality.split import split_partition
from include.quality.suite import load_suite
from include.sources.sensor.payloads import PayloadReader
from tests.mqtt_broker import as_json
from tests.sources.sensor.stations import DAY, all_rows, declare, land_at, reading, rows_of

NOON = DAY + timedelta(hours=12)
TENTH = DAY + timedelta(days=10)


def bad(number, **changes):
    """A reading of the tenth day's first hours, with one field spoiled."""
    return {**reading(number), "measured_at": str(TENTH + timedelta(minutes=number % 200)), **changes}


BAD = {
    "payload: not JSON": lambda i: b'{"station": "north", "seq' + str(i).encode(),
    "payload: not UTF-8": lambda i: b'{"station": "n\xff"}',
    "payload: no object of fields": lambda i: b"[1, 2, 3]",
    "payload: nested too deeply": lambda i: b"[" * 5000 + b"]" * 5000,
    "payload: repeats a field": lambda i: b'{"pm25": 1, "pm25": 2}',
    "payload: a number that JSON does not have (NaN or Infinity)": lambda i: b'{"station": "north", "pm25": NaN}',
    "payload: larger than 20000 bytes": lambda i: as_json(bad(i, note="x" * 20_000)),
    "pm25: no number": lambda i: as_json(bad(i, pm25="12,5")),
    "sequence: no whole number": lambda i: as_json(bad(i, sequence=1.0)),
    "station: no text": lambda i: as_json(bad(i, station=7)),
    "measured_at: no ISO 8601 date and time": lambda i: as_json(reading(i, measured_at="yesterday")),
    "measured_at: lies before the workflow's start": lambda i: as_json(reading(i, measured_at="1970-01-01T00:00:00Z")),
    "measured_at: lies after the row's arrival": lambda i: as_json(reading(i, measured_at="2099-01-01T00:00:00Z")),
    "measured_at: arrived later than the allowed lateness": lambda i: as_json(
        reading(0, sequence=i, measured_at="2026-01-06T00:00:00Z")
    ),
}


def split(workflow, rows):
    raw = rows.append_column("source_position", [list(range(rows.num_rows))])
    return split_partition(raw, suite=load_suite(workflow.expectations_path), source=workflow.source)


@pytest.mark.claim("accounts")
def test_ten_thousand_bad_messages_are_quarantined_each_for_its_reason(tmp_path, lake):
    workflow = declare(tmp_path / "w", max_payload_bytes=20_000)
    arrived = TENTH + timedelta(hours=5)
    rng, kinds = random.Random(0), list(BAD)
    told = Counter(kinds[i % len(kinds)] for i in range(10_000))
    # As many good ones as keep the stop on the share of bad rows out of the way of the count: 2,000, each twice.
    good = [
        as_json(reading(i, start=arrived.replace(hour=0), measured_at=str(arrived - timedelta(seconds=2000 - i))))
        for i in range(2000)
    ]
    payloads = [BAD[kinds[i % len(kinds)]](i) for i in range(10_000)] + good + good
    rng.shuffle(payloads)
    land_at(lake, workflow, [(arrived, payload) for payload in payloads])
    rows = rows_of(lake, workflow, "2026-01-15")
    done = split(workflow, rows)
    assert (rows.num_rows, done.count("published"), done.count("quarantined"), done.count("duplicate")) == (
        14_000,
        2000,
        10_000,
        2000,
    )
    reasons = Counter(
        reason for row in done.table["reasons"].to_pylist() for reason in row or () if reason.startswith("source: ")
    )
    assert reasons == {f"source: {kind}": n for kind, n in told.items()}
    assert sum(part.num_rows for part in all_rows(lake, workflow, until=DAY + timedelta(days=14)).values()) == 14_000


def test_late_and_out_of_order_readings_go_to_their_own_day(tmp_path, lake):
    workflow = declare(tmp_path / "w", lateness="2 days")
    on_time, late, too_late = reading(1), reading(2), reading(3)
    arrivals = [(NOON, on_time), (NOON + timedelta(days=1), late), (NOON + timedelta(days=9), too_late)]
    land_at(lake, workflow, [(at, as_json(value)) for at, value in arrivals])
    first, ninth = rows_of(lake, workflow, "2026-01-05"), rows_of(lake, workflow, "2026-01-14")
    assert (first["sequence"].to_pylist(), first["source_error"].null_count) == ([1, 2], 2)
    assert ninth["source_error"].to_pylist() == ["measured_at: arrived later than the allowed lateness"]


def test_a_redelivery_equals_the_first_delivery(tmp_path, lake):
    workflow = declare(tmp_path / "w")
    payload = as_json(reading(1))
    land_at(lake, workflow, [(NOON, payload), (NOON + timedelta(hours=20), payload)])
    rows = rows_of(lake, workflow, "2026-01-05")
    assert rows["received_at"].to_pylist() == [NOON, NOON]
    assert split(workflow, rows).count("duplicate") == 1


def test_a_known_time_ahead_of_the_arrival_is_refused(tmp_path, lake):
    fields = {
        "station": "text",
        "sequence": "integer",
        "measured_at": "timestamp",
        "pm25": "number",
        "sent_at": "unix_seconds",
    }
    workflow = declare(tmp_path / "w", fields=fields, known_time="sent_at")
    land_at(
        lake, workflow, [(NOON, as_json(reading(i, sent_at=(NOON + timedelta(hours=i)).timestamp()))) for i in range(2)]
    )
    assert rows_of(lake, workflow, "2026-01-05")["source_error"].to_pylist() == [
        None,
        "sent_at: lies after the row's arrival",
    ]


@pytest.mark.claim("sensors")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1), n_copies=st.integers(0, 15))
def test_any_order_and_delay_within_the_lateness_gives_the_same_rows(tmp_path_factory, seed, n_copies):
    folder, rng = tmp_path_factory.mktemp("order"), random.Random(seed)
    workflow = declare(folder / "w", lateness="3 days")
    values = [reading(i, station=rng.choice(["north", "south"])) for i in range(0, 400, 5)]
    arrivals = []
    for value in values + rng.choices(values, k=n_copies):
        delay = timedelta(hours=rng.uniform(0, 71))
        arrivals.append((datetime.fromisoformat(value["measured_at"]) + delay, as_json(value)))
    arrivals.sort(key=lambda arrival: arrival[0])
    lake = Lake(uri=str(folder / "lake"))
    land_at(lake, workflow, arrivals)
    found = all_rows(lake, workflow, until=DAY + timedelta(days=7))
    assert sum(rows.num_rows for rows in found.values()) == len(values) + n_copies
    truth = sorted((value["measured_at"], value["station"], value["sequence"], value["pm25"]) for value in values)
    columns = ("measured_at", "station", "sequence", "pm25")
    got = [
        tuple(row[name] for name in columns)
        for rows in found.values()
        for row in rows.to_pylist()
        if row["source_error"] is None
    ]
    assert sorted({(at.isoformat(), *rest) for at, *rest in got}) == truth
    assert [row[0] for row in got] == sorted(row[0] for row in got)
    assert all(key == str(row["measured_at"].date()) for key, rows in found.items() for row in rows.to_pylist())


def test_the_landing_alone_has_them_on_the_day_of_their_arrival(tmp_path, lake):
    """The control: cut by arrival, the day would lack its late reading."""
    workflow = declare(tmp_path / "w")
    land_at(lake, workflow, [(NOON, as_json(reading(1))), (NOON + timedelta(days=1), as_json(reading(2)))])
    assert read_partition(lake, "stations/messages", "2026-01-05").num_rows == 1
    assert rows_of(lake, workflow, "2026-01-05").num_rows == 2


@pytest.mark.parametrize(
    ("payload", "error"),
    [
        (cbor2.dumps(reading(1)), None),
        (cbor2.dumps({**reading(1), "measured_at": datetime(2026, 1, 5, tzinfo=UTC)}), None),
        (cbor2.dumps(reading(1))[:-3], "payload: not CBOR"),
        (cbor2.dumps(reading(1)) + b"\x00", "payload: more than one CBOR item"),
        (cbor2.dumps([1]), "payload: no object of fields"),
        (b"\x81" * 20_000 + b"\x01", "payload: not CBOR"),
        (b"\x9b\xff\xff\xff\xff\xff\xff\xff\xff", "payload: not CBOR"),
        (cbor2.dumps({**reading(1), "pm25": float("nan")}), "pm25: not a finite number"),
        (cbor2.dumps({**reading(1), "sequence": 2**70}), "sequence: a whole number of more than 64 bits"),
    ],
)
def test_cbor_is_read_as_strictly(tmp_path, payload, error):
    found = PayloadReader(declare(tmp_path / "w", payload="cbor").source).read(payload)
    assert found.error == error
    assert error is not None or found.values == (
        "north",
        1,
        DAY + timedelta(minutes=10) if b"00:10" in payload else DAY,
        1.0,
    )


@pytest.mark.parametrize(
    ("value", "kind", "expected"),
    [
        (2**53 + 1, "number", "a whole number that no 64-bit float holds exactly"),
        (True, "integer", "no whole number"),
        (1, "boolean", "neither true nor false"),
        ("00123", "text", "00123"),
        (1e300, "unix_seconds", "a time out of range"),
        (1767571200000, "unix_milliseconds", datetime(2026, 1, 5, tzinfo=UTC)),
        ("2026-01-05T01:00:00+01:00", "timestamp", datetime(2026, 1, 5, tzinfo=UTC)),
        ("0001-01-01T00:00:00+14:00", "timestamp", "a time out of range"),
        ("\ud800", "text", "no Unicode text"),
    ],
)
def test_a_value_is_exact_or_refused(tmp_path, value, kind, expected):
    source = declare(
        tmp_path / "w", fields={"station": "text", "sequence": "integer", "measured_at": "timestamp", "x": kind}
    ).source
    found = PayloadReader(source).read(as_json({"x": value}))
    assert (found.error or found.values[3]) in (expected, f"x: {expected}")


def test_the_start_of_the_workflow_bounds_what_is_believed(tmp_path, lake):
    workflow = declare(tmp_path / "w", start=date(2026, 1, 6))
    land_at(lake, workflow, [(NOON + timedelta(days=1), as_json(reading(1)))])
    assert rows_of(lake, workflow, "2026-01-06")["source_error"].to_pylist() == [
        "measured_at: lies before the workflow's start"
    ]
