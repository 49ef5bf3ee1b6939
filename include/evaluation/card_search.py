"""A card's section on what else was tried: the leaderboard of the search."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from include.evaluation.card_words import number
from include.evaluation.document import Block, Code, Paragraph, Table, Text
from include.evaluation.titles import TITLES

MAX_TRIALS = 15
# What a person can read of a fitted model of this family, where the trial itself does not say.
_EXPLAINABILITY = {"naive": "whole", "linear": "a weight for each feature", "ensemble": "by shuffling columns only"}
_OTHERWISE = "by shuffling columns only"


def leaderboard_blocks(leaderboard: Sequence[Mapping[str, Any]], metric: str) -> Iterator[Block]:
    """Tell what was tried, the best first; columns that no trial has are left out."""
    if not leaderboard:
        yield Paragraph("No search was recorded.")
        return
    yield Paragraph(f"Chosen by {TITLES[metric]} on the validation rows (not on the test rows above).")
    yield leaderboard_table(leaderboard[:MAX_TRIALS], metric)
    if len(leaderboard) > MAX_TRIALS:
        yield Paragraph(f"… and {len(leaderboard) - MAX_TRIALS} more.")


def leaderboard_table(trials: Sequence[Mapping[str, Any]], metric: str) -> Table:
    """Make a leaderboard's table: what each trial says of itself, whatever search wrote it."""
    columns: list[tuple[str, bool, Callable[[int, Mapping[str, Any]], Text]]] = [
        ("", True, lambda rank, t: str(rank)),
        ("family", True, lambda rank, t: str(t.get("family", "?"))),
        ("parameters", True, lambda rank, t: Code(tell_params(t.get("params") or {}, is_short=True))),
        (TITLES.get(metric, metric), True, lambda rank, t: number(t.get("score"))),
        ("95 % interval", _any(trials, "score_low"), _span),
        ("CPU seconds", True, lambda rank, t: number(t.get("cpu_seconds"), digits=1)),
        ("latency, ms", _any(trials, "latency_ms"), lambda rank, t: number(t.get("latency_ms"), digits=3)),
        ("size, MB", _any(trials, "size_mb"), lambda rank, t: number(t.get("size_mb"), digits=2)),
        (
            "explained",
            True,
            lambda rank, t: str(t.get("explainability") or _EXPLAINABILITY.get(str(t.get("family")), _OTHERWISE)),
        ),
        ("error", _any(trials, "error"), lambda rank, t: str(t.get("error") or "")),
    ]
    shown = [(title, write) for title, is_there, write in columns if is_there]
    rows = [[write(rank, trial) for _, write in shown] for rank, trial in enumerate(trials, start=1)]
    return Table([title for title, _ in shown], rows)


def tell_params(params: Mapping[str, Any], *, is_short: bool = False) -> str:
    """Write parameters as a call would; short, with four digits of each number."""
    return ", ".join(
        f"{key}={value:.4g}" if is_short and isinstance(value, float) else f"{key}={value!r}"
        for key, value in sorted(params.items())
    )


def _any(trials: Sequence[Mapping[str, Any]], key: str) -> bool:
    return any(trial.get(key) is not None for trial in trials)


def _span(rank: int, trial: Mapping[str, Any]) -> str:
    low, high = trial.get("score_low"), trial.get("score_high")
    return "" if low is None or high is None else f"{number(low)} to {number(high)}"
