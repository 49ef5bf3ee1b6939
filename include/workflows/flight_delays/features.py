"""
From one scheduled departure to its features, as known an hour before: the same function in training and at the
endpoint.

Any column may be None, and the result always has the same keys.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_HUBS = frozenset({"ATL", "BOS", "CLT", "DEN", "DFW", "DTW", "IAH", "LAX", "MCO", "MIA", "ORD", "PHL", "SFO"})
_MAX_WIND_MPH = 150.0  # the source holds one reading of 1,048


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row of `extract.sql` in, one mapping of features out."""
    scheduled: datetime | None = row.get("sched_dep_utc")
    hour, minute = row.get("sched_hour"), row.get("sched_minute")
    return {
        "carrier": row.get("carrier"),
        "origin": row.get("origin"),
        "dest": row.get("dest"),
        "distance": row.get("distance"),
        "is_hub": None if row.get("dest") is None else row["dest"] in _HUBS,
        "weekday": _weekday(scheduled, hour),
        # Delays pile up in the course of a day: as a number for trees, as a category for linear models.
        "time_of_day": None if hour is None else hour + (minute or 0) / 60,
        "hour": None if hour is None else f"h{int(hour):02d}",
        "plane_age": _difference(None if scheduled is None else scheduled.year, row.get("plane_built")),
        "plane_seats": row.get("plane_seats"),
        "plane_engines": row.get("plane_engines"),
        "dest_lat": row.get("dest_lat"),
        "dest_lon": row.get("dest_lon"),
        "temp": row.get("temp"),
        # A small spread means fog or rain.
        "dew_spread": _difference(row.get("temp"), row.get("dewp")),
        "humid": row.get("humid"),
        "wind_speed": _plausible_wind(row.get("wind_speed")),
        "wind_gust": _plausible_wind(row.get("wind_gust")),
        "precip": row.get("precip"),
        "pressure": row.get("pressure"),
        "visib": row.get("visib"),
    }


def _weekday(scheduled: datetime | None, local_hour: float | None) -> str | None:
    """
    Day of the week at the origin, west of Greenwich: a UTC hour below the local one means that UTC is a
    day ahead.
    """
    if scheduled is None or local_hour is None:
        return None
    day = (scheduled.weekday() - (scheduled.hour < local_hour)) % 7
    return ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")[day]


def _difference(left: float | None, right: float | None) -> float | None:
    return None if left is None or right is None else left - right


def _plausible_wind(value: float | None) -> float | None:
    return None if value is None or not 0 <= value <= _MAX_WIND_MPH else value
