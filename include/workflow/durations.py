"""Durations in words, as a declaration writes them: `"8 weeks"`, `"1 day"`, `"90 minutes"`."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_PATTERN = re.compile(r"^(\d+)\s+(minute|hour|day|week)s?$")


def parse_duration(value: Any) -> timedelta:
    """
    Read a duration in words; a `timedelta` passes through.

    Raises
    ------
    ValueError
        If the text is no positive number of minutes, hours, days or weeks.

    """
    if isinstance(value, timedelta):
        duration = value
    else:
        match = _PATTERN.match(value.strip()) if isinstance(value, str) else None
        if match is None:
            raise ValueError(
                "not a duration: write a number and a unit, for instance '8 weeks', '1 day' or '90 minutes'"
            )
        duration = int(match[1]) * _UNITS[match[2]]
    if duration <= timedelta(0):
        raise ValueError("a duration must be longer than zero")
    return duration


def describe_duration(duration: timedelta) -> str:
    """Write a duration in its largest whole unit: the inverse of `parse_duration`."""
    for unit in ("week", "day", "hour", "minute"):
        count, rest = divmod(duration, _UNITS[unit])
        if not rest:
            return f"{count} {unit}" if count == 1 else f"{count} {unit}s"
    return f"{duration.total_seconds():g} seconds"


Duration = Annotated[timedelta, BeforeValidator(parse_duration), PlainSerializer(describe_duration)]
