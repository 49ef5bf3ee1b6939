"""
From one hour to its features: what the station read 24 to 48 hours before, and the hour itself. The same function in
training and at the endpoint, where the row is the hour to forecast: `measured_at`, and the last two days' readings as
`pm25_24h`, `pm25_27h` and so on.

Any column may be None, and the result always has the same keys.
"""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

# Three hours apart, from the last one known to a day before it.
_HOURS = (24, 27, 30, 33, 36, 39, 42, 45, 48)
_WINDS = ("NW", "NE", "SE", "cv")


def build(row: Mapping[str, Any]) -> dict[str, Any]:
    """One row in, one mapping of features out."""
    particles = [_log(row.get(f"pm25_{hours}h")) for hours in _HOURS]
    known = [value for value in particles if value is not None]
    wind, run = row.get("wind_direction_24h"), _log(row.get("wind_run_24h"))
    return {
        "pm25": particles[0],
        "pm25_day": sum(known) / len(known) if len(known) >= 3 else None,
        "pm25_rise_3h": _minus(particles[0], particles[1]),
        "pm25_rise_6h": _minus(particles[0], particles[2]),
        "pm25_rise_12h": _minus(particles[0], particles[4]),
        "pm25_rise_24h": _minus(particles[0], particles[8]),
        "dew_point": row.get("dew_point_24h"),
        "dew_point_rise": _minus(row.get("dew_point_24h"), row.get("dew_point_48h")),
        "dryness": _minus(row.get("temperature_24h"), row.get("dew_point_24h")),
        "temperature_rise": _minus(row.get("temperature_24h"), row.get("temperature_48h")),
        "pressure": row.get("pressure_24h"),
        "pressure_rise_12h": _minus(row.get("pressure_24h"), row.get("pressure_36h")),
        "pressure_rise_24h": _minus(row.get("pressure_24h"), row.get("pressure_48h")),
        "wind_run": run,
        **{f"wind_{name}": None if wind is None else float(wind == name) for name in _WINDS},
        "wind_run_NW": None if wind is None or run is None else run * (wind == "NW"),
        "wind_run_SE": None if wind is None or run is None else run * (wind == "SE"),
        **_calendar(row.get("measured_at")),
    }


def _log(value: float | None) -> float | None:
    return None if value is None or value < 0 else math.log1p(value)


def _minus(a: float | None, b: float | None) -> float | None:
    return None if a is None or b is None else a - b


def _calendar(at: datetime | None) -> dict[str, float | None]:
    """The hour of the day and the day of the year, each on a circle: 23:00 is near 00:00."""
    day = None if at is None else 2 * math.pi * at.hour / 24
    year = None if at is None else 2 * math.pi * at.timetuple().tm_yday / 365.25
    angles = {"day": day, "year": year}
    return {
        f"{name}_{side}": None if angle is None else turn(angle)
        for name, angle in angles.items()
        for side, turn in (("sine", math.sin), ("cosine", math.cos))
    }
