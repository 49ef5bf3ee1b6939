"""How a card writes numbers, intervals, windows and counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from include.evaluation.bootstrap import Interval
from include.evaluation.document import Code, Inline


def value_and_span(interval: Interval) -> tuple[str, str]:
    """Value and interval as two cells; the reason in place of an interval that there is not."""
    span = f"{number(interval.low)} to {number(interval.high)}" if math.isfinite(interval.low) else interval.reason
    return number(interval.value), span


def tell_interval(interval: Interval) -> str:
    """Value and interval as one text."""
    value, span = value_and_span(interval)
    return f"{value} ({span})"


def number(value: Any, *, digits: int = 4) -> str:
    """So many digits behind the point; fewer for what is large, a dash for what is no number."""
    if not isinstance(value, int | float) or not math.isfinite(value):
        return "–"
    return f"{value:.{digits}f}" if abs(value) < 1_000 else f"{value:,.1f}"


def when(snapshot: Mapping[str, Any], start: str, end: str) -> str:
    """Tell a window of a snapshot."""
    return f"{snapshot.get(start, '?')} to {snapshot.get(end, '?')}"


def count(snapshot: Mapping[str, Any], *names: str) -> str:
    """Sum counts of a snapshot."""
    return f"{sum(int(snapshot.get(name, 0)) for name in names):,}"


def codes(names: Iterable[object]) -> tuple[Inline, ...]:
    """Names as they are, with commas between them."""
    return tuple(part for name in names for part in (", ", Code(str(name))))[1:]
