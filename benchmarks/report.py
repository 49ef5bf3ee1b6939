"""How a benchmark says what it found."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from statistics import median
from time import monotonic, process_time


@dataclass(frozen=True, kw_only=True)
class Finding:
    """
    One measured figure beside its target. `bound` is the largest (or, with `at_least`, the smallest) value that meets
    it.
    """

    what: str
    observed: float
    bound: float
    at_least: bool = False
    unit: str = "×"
    note: str = ""

    @property
    def is_met(self) -> bool:
        """Whether the figure meets its target."""
        return self.observed >= self.bound if self.at_least else self.observed <= self.bound

    def line(self) -> str:
        """One line of the table."""
        sign = "≥" if self.at_least else "≤"
        verdict = "met" if self.is_met else "MISSED"
        return (
            f"{verdict:7} {self.what:58} {self.observed:9.2f}{self.unit}  target {sign} {self.bound:g}{self.unit}  "
            f"{self.note}"
        )


def median_seconds(work: Callable[[], object], *, repeat: int) -> float:
    """Median wall time of a piece of work, in seconds."""
    seconds = []
    for _ in range(repeat):
        start = monotonic()
        work()
        seconds.append(monotonic() - start)
    return median(seconds)


def median_cpu_seconds(*works: Callable[[], object], repeat: int) -> list[float]:
    """
    Median CPU time of some pieces of work, in seconds each. They take turns: a change of the machine's load meets them
    all.
    """
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(repeat):
        for work, spent in zip(works, seconds, strict=True):
            start = process_time()
            work()
            spent.append(process_time() - start)
    return [median(spent) for spent in seconds]
