"""
Ten thousand bad flights of fifteen kinds in a real database: each is quarantined for the right reasons, and no other
row is.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from random import Random
from typing import Any

import psycopg2
import pytest
from psycopg2.extras import execute_values

from embedded.postgres import PostgresServer, create_database
from include.lake.fencing import new_token
from include.lake.store import Lake
from include.quality.replay import ReplayReport, replay_partition
from include.workflow import Workflow
from include.workflows.flight_delays.workflow import workflow
from tests.injected import Expected, assert_accounted, ingest

pytestmark = pytest.mark.claim("accounts")

FIRST = datetime(2026, 1, 5, tzinfo=UTC)
N_DAYS, N_GOOD, N_COPIES = 13, 260, 40
# Below what flight_delays declares as the largest share (75 %), and a day below its largest number of rows (1,100).
BAD_A_DAY = [770] * 12 + [760]

TABLES = """
CREATE SCHEMA nyc;
CREATE TABLE nyc.flights (flight_id text, sched_dep_utc timestamptz, recorded_at timestamptz, carrier text,
       flight int, tailnum text,
    origin text, dest text, distance int, sched_hour int, sched_minute int, dep_time int, dep_delay float8);
CREATE TABLE nyc.planes (tailnum text, built int, engines int, seats int);
CREATE TABLE nyc.airports (faa text, lat float8, lon float8, alt int);
CREATE TABLE nyc.weather (origin text, observed_at timestamptz, temp float8, dewp float8, humid float8,
       wind_dir int, wind_speed float8,
    wind_gust float8, precip float8, pressure float8, visib float8);
INSERT INTO nyc.planes VALUES ('N1', 2004, 2, 182);
INSERT INTO nyc.airports VALUES ('ORD', 41.98, -87.9, 668);
INSERT INTO nyc.weather SELECT 'JFK', TIMESTAMPTZ '2026-01-05 00:00+00' + i * INTERVAL '1 hour', 40, 30, 60,
       250, 10, NULL, 0, 1012, 10
FROM generate_series(-4, 24 * 14) AS i;
"""

NULL, BETWEEN = "expect_column_values_to_not_be_null", "expect_column_values_to_be_between"
REGEX, IN_SET = "expect_column_values_to_match_regex", "expect_column_values_to_be_in_set"
CARRIER_CODE = f"carrier: {REGEX} (not an IATA carrier code)"
AIRPORT_CODE = f"dest: {REGEX} (not an IATA airport code)"
NEW_YORK = f"origin: {IN_SET} (not one of New York's three airports)"
CANCELLED = f"is_late: {NULL} (cancelled: it never departed, so it was neither late nor on time)"
DELAY = f"dep_delay: {BETWEEN} (departure delay in minutes, out of any reason)"
NO_CARRIER, MILES = f"carrier: {NULL} (no carrier)", f"distance: {BETWEEN} (miles)"
NO_ID = f"flight_id: {NULL} (a departure without an identity cannot be corrected later)"

# What is done to a good flight, and the reasons that it then has, in the words of the suite.
FAULTS: list[tuple[dict[str, Any], tuple[str, ...]]] = [
    ({"dep_delay": None}, (CANCELLED,)),
    ({"dep_delay": 5000.0}, (DELAY,)),
    ({"dep_delay": float("inf")}, ("dep_delay: value is infinite", DELAY)),
    ({"dep_delay": float("-inf")}, ("dep_delay: value is infinite", DELAY)),
    ({"carrier": None}, (NO_CARRIER,)),
    ({"carrier": "aa"}, (CARRIER_CODE,)),
    ({"origin": None}, (f"origin: {NULL} (no origin)",)),
    ({"origin": "SWF"}, (NEW_YORK,)),
    ({"dest": None}, (f"dest: {NULL} (no destination)",)),
    ({"dest": "CHICAGO"}, (AIRPORT_CODE,)),
    ({"distance": -1}, (MILES,)),
    ({"sched_hour": 24}, (f"sched_hour: {BETWEEN} (local hour of the day)",)),
    ({"sched_minute": 60}, (f"sched_minute: {BETWEEN} (minute of the hour)",)),
    ({"flight_id": None}, (NO_ID, "flight_id: key is missing")),
    (
        {"recorded_at": None},
        (f"recorded_at: {NULL} (not known when this was reported)", "recorded_at: known time is missing"),
    ),
    (
        {"carrier": "a-a", "dest": "", "distance": 10**6, "dep_delay": None},
        (CARRIER_CODE, AIRPORT_CODE, MILES, CANCELLED),
    ),
]


def flight(number: int, day: int, **fault: Any) -> dict[str, Any]:
    """A good flight of that day, or one with a fault. Its number is no other flight's."""
    scheduled = FIRST + timedelta(days=day, minutes=number % 1440)
    good = {
        "flight_id": f"flight {number}",
        "sched_dep_utc": scheduled,
        "recorded_at": scheduled + timedelta(minutes=30),
        "carrier": "AA",
        "flight": number,
        "tailnum": "N1" if number % 3 else None,
        "origin": ("JFK", "EWR", "LGA")[number % 3],
        "dest": "ORD",
        "distance": 700 + number % 50,
        "sched_hour": number % 24,
        "sched_minute": number % 60,
        "dep_time": 900,
        "dep_delay": float(number % 40),
    }
    return {**good, **fault}


def inject() -> tuple[list[dict[str, Any]], Expected]:
    """Rows of all days in no order, and what has to become of them. Some good rows are there twice."""
    numbers = count(1)
    rows, reasons_by_row, published = list[dict[str, Any]](), dict[Any, tuple[str, ...]](), set[int]()
    for day, n_bad in enumerate(BAD_A_DAY):
        for number in islice(numbers, n_bad):
            fault, reasons_by_row[number] = FAULTS[number % len(FAULTS)]
            rows.append(flight(number, day, **fault))
        good = [flight(number, day) for number in islice(numbers, N_GOOD)]
        published |= {row["flight"] for row in good}
        rows += good + good[:N_COPIES]
    Random(0).shuffle(rows)
    return rows, Expected(
        n_in=len(rows),
        n_published=N_GOOD * N_DAYS,
        n_duplicate=N_COPIES * N_DAYS,
        reasons_by_row=reasons_by_row,
        published=published,
    )


def keys() -> list[str]:
    return [f"{FIRST + timedelta(days=day):%Y-%m-%d}" for day in range(N_DAYS)]


@pytest.fixture(scope="module")
def expected() -> Expected:
    return inject()[1]


@pytest.fixture(scope="module")
def flights_uri(postgres: PostgresServer) -> str:
    create_database(postgres, "injected_flights")
    rows, _ = inject()
    connection = psycopg2.connect(postgres.uri("injected_flights"))
    with connection, connection.cursor() as cursor:
        cursor.execute(TABLES)
        execute_values(
            cursor, "INSERT INTO nyc.flights VALUES %s", [tuple(row.values()) for row in rows], page_size=2000
        )
    connection.close()
    return postgres.uri("injected_flights")


@pytest.fixture(scope="module")
def lake(flights_uri: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    """The lake after all days were ingested."""
    folder = tmp_path_factory.mktemp("accounts")
    lake = Lake(uri=str(folder / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder / "home"))
        for key in keys():
            ingest(workflow, key, lake=lake, connection_uri=flights_uri)
        yield lake


def test_each_of_ten_thousand_bad_flights_is_quarantined_for_its_reasons(lake, expected):
    assert (expected.n_quarantined, expected.n_kinds) == (10_000, 15)
    assert expected.n_in == 10_000 + N_DAYS * (N_GOOD + N_COPIES)
    assert_accounted(lake, "flight_delays", expected, marker_column="flight")


# The suite as somebody mends it: a fourth airport, codes in small letters, the hour 24. Rows that break another rule as
# well stay.
MENDED = {
    "origin": {"value_set": ["EWR", "JFK", "LGA", "SWF"]},
    "carrier": {"regex": "^[A-Za-z0-9]{2}$"},
    "sched_hour": {"max_value": 24},
}
HEALED = {(NEW_YORK,), (CARRIER_CODE,), (f"sched_hour: {BETWEEN} (local hour of the day)",)}
N_REPLAYED = 3


def mended_workflow(folder: Path) -> Workflow:
    shutil.copytree(workflow.folder, folder)
    suite = json.loads(workflow.expectations_path.read_text())
    for rule in suite["expectations"]:
        changes = MENDED.get(rule["kwargs"].get("column"), {})
        rule["kwargs"] |= {
            name: value
            for name, value in changes.items()
            if name in rule["kwargs"] and not rule["meta"].get("severity")
        }
    (folder / "expectations.json").write_text(json.dumps(suite))
    return workflow.model_copy(update={"folder": folder})


def test_a_replay_by_a_mended_suite_heals_exactly_its_flights_and_a_second_one_nothing(lake, expected, tmp_path):
    """The database is not asked: the landed rows of three days are judged again."""
    shutil.copytree(lake.uri, tmp_path / "lake")
    copy, mended = Lake(uri=str(tmp_path / "lake")), mended_workflow(tmp_path / "mended")
    of_three_days = sum(BAD_A_DAY[:N_REPLAYED]) + N_GOOD * N_REPLAYED
    healed = {n for n, reasons in expected.reasons_by_row.items() if n <= of_three_days and reasons in HEALED}
    assert len(healed) == 433
    still = {n: reasons for n, reasons in expected.reasons_by_row.items() if n not in healed}
    after = replace(
        expected, n_published=expected.n_published + 433, reasons_by_row=still, published={*expected.published, *healed}
    )

    def replay(key: str) -> ReplayReport:
        return replay_partition(mended, key, lake=copy, token=new_token(), run_id="replay", try_id="replay")

    reports = [replay(key) for key in keys()[:N_REPLAYED]]
    assert (sum(report.rows_healed for report in reports), {report.rows_newly_quarantined for report in reports}) == (
        433,
        {0},
    )
    assert_accounted(copy, "flight_delays", after, marker_column="flight")
    again = [replay(key) for key in keys()[:N_REPLAYED]]
    assert [(report.is_changed, report.rows_healed) for report in again] == [(False, 0)] * N_REPLAYED
    assert_accounted(copy, "flight_delays", after, marker_column="flight")
