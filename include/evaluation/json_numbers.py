"""
Numbers that JSON can carry. JSON has no nan and no infinity, and a task that returns one fails after
doing its work.
"""

from __future__ import annotations

import math


def to_json_number(value: float | None) -> float | None:
    """The number, or None where it is missing or not finite."""
    return None if value is None or not math.isfinite(value) else float(value)


def from_json_number(value: float | None) -> float:
    """The inverse, as far as there is one: None becomes nan."""
    return math.nan if value is None else float(value)
