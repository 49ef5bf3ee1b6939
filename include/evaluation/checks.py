"""What the gate is shown, and the record of one question to it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from include.errors import DataError
from include.evaluation.metrics import check_predictions, check_truth
from include.evaluation.resampling import Blocks, cut_blocks
from include.workflow.gate import Gate
from include.workflow.tasks import Task

VerdictName = Literal["PROMOTE", "HOLD", "REJECT"]
DETAILS = ("slice ", "metric ", "self-test ", "group ")  # names of checks that another one sums up begin so


@dataclass(frozen=True, kw_only=True)
class GateEvidence:
    """
    What the gate judges by. Arrays have n_rows rows, the same in the same order.

    `metric` is the search's metric; predictions are as `Model.predict` gives them; `naive` is the baseline's.
    `seen_by_candidate` and `seen_by_champion` are True where that model was trained on the row. Without a champion,
    `champion`, `seen_by_champion` and `champion_as_of` are None. `slices` maps a declared column (of slices or of
    groups) to each row's value. `times` says when each row's event took place; with a `block`, rows that close in time
    depend on each other.
    """

    metric: str
    y_true: Any
    candidate: Any
    naive: Any
    champion: Any | None
    seen_by_candidate: Any
    seen_by_champion: Any | None
    slices: Mapping[str, Any]
    latency_ms: float
    size_mb: float
    candidate_as_of: datetime
    champion_as_of: datetime | None
    random_state: int
    task: Task = "classification"
    times: Any | None = None
    block: timedelta | None = None

    @property
    def n_rows(self) -> int:
        """How many rows."""
        return len(self.y_true)

    def blocks(self) -> Blocks | None:
        """The rows in stretches of time, if they depend on each other; DataError if their times are not given."""
        return None if self.block is None else cut_blocks(() if self.times is None else self.times, self.block)


_OF_ROWS = ("y_true", "candidate", "naive", "champion", "seen_by_candidate", "seen_by_champion", "times")


@dataclass(frozen=True, kw_only=True)
class Check:
    """
    One question to the evidence. `passed` is None where it could not be asked (too few rows): neither passed nor
    failed.
    """

    name: str
    observed: float | None
    bound: float | None
    passed: bool | None
    forces: VerdictName | None
    reason: str

    @property
    def is_failed(self) -> bool:
        """Whether it was asked and answered no."""
        return self.passed is False

    @property
    def is_detail(self) -> bool:
        """Whether it is about one slice, metric or sentinel: another check sums these up."""
        return self.name.startswith(DETAILS)


def passed(name: str, reason: str, *, observed: float | None = None, bound: float | None = None) -> Check:
    """Make the record of a check that passed."""
    return Check(name=name, observed=observed, bound=bound, passed=True, forces=None, reason=reason)


def failed(
    name: str, forces: VerdictName, reason: str, *, observed: float | None = None, bound: float | None = None
) -> Check:
    """Make the record of a check that failed, and the verdict that it forces."""
    return Check(name=name, observed=observed, bound=bound, passed=False, forces=forces, reason=reason)


def not_judged(name: str, reason: str, *, observed: float | None = None, bound: float | None = None) -> Check:
    """Make the record of a check that could not be made."""
    return Check(name=name, observed=observed, bound=bound, passed=None, forces=None, reason=reason)


def judged_metrics(evidence: GateEvidence, gate: Gate) -> tuple[str, ...]:
    """
    What candidate and champion are compared in; the first is the one that slices and the naive baseline
    are judged in.
    """
    return gate.metrics or (evidence.metric,)


def select_rows(evidence: GateEvidence, chosen: npt.NDArray[Any]) -> GateEvidence:
    """Return the evidence on some of its rows: a mask, or positions."""
    parts = {name: getattr(evidence, name) for name in _OF_ROWS}
    taken: dict[str, Any] = {
        name: None if values is None else np.asarray(values)[chosen] for name, values in parts.items()
    }
    slices = {column: _as_objects(values)[chosen] for column, values in evidence.slices.items()}
    return replace(evidence, **taken, slices=slices)


def seen_mask(evidence: GateEvidence, name: Literal["seen_by_candidate", "seen_by_champion"]) -> npt.NDArray[np.bool_]:
    """
    Which rows a model was trained on, by shape (n_rows,).

    Raises
    ------
    DataError
        If that is not said by True and False.

    """
    seen = np.asarray(getattr(evidence, name))
    if seen.dtype != np.bool_:
        raise DataError(f"{name} has type {seen.dtype}: give True where the model was trained on the row, else False")
    return seen


def check_evidence(evidence: GateEvidence, gate: Gate) -> list[Check]:
    """
    Check that there is something to judge: every number finite, enough rows that the candidate was not trained on.

    Raises
    ------
    DataError
        If the parts of the evidence do not fit together.

    """
    checks = list(_check_numbers(evidence))
    if not checks:
        _check_lengths(evidence)
        checks = [
            passed("numbers", f"all predictions of {evidence.n_rows:,} rows, latency and size are finite numbers")
        ]
        checks.append(_check_rows(evidence, gate))
    return checks


def is_measured(value: object) -> bool:
    """Whether a value is a number that was measured: finite, and not negative."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) and value >= 0


def _as_objects(values: Any) -> npt.NDArray[np.object_]:
    array = np.empty(len(values), dtype=object)
    array[:] = list(values)
    return array


def _check_numbers(evidence: GateEvidence) -> Iterator[Check]:
    """
    Yield a failed check for each part that is not usable. What is wrong with the candidate rejects it; the rest cannot
    be told.
    """
    for name, value in (("latency", evidence.latency_ms), ("size", evidence.size_mb)):
        if not is_measured(value):
            yield failed(
                "numbers",
                "REJECT",
                f"the candidate's {name} is {value!r}: it must be measured, finite and not negative",
            )
    try:
        candidate = check_predictions(evidence.task, evidence.candidate, name="the candidate's scores")
    except DataError as error:
        yield failed("numbers", "REJECT", str(error))
        return
    try:
        check_truth(evidence.task, evidence.y_true, n_classes=candidate.shape[1] if candidate.ndim > 1 else 2)
        naive = check_predictions(evidence.task, evidence.naive, name="the naive baseline's scores")
        others = {"the naive baseline": naive}
        if evidence.champion is not None:
            others["the champion"] = check_predictions(evidence.task, evidence.champion, name="the champion's scores")
    except DataError as error:
        yield failed("numbers", "HOLD", str(error))
        return
    for name, values in others.items():
        if values.shape[1:] != candidate.shape[1:]:
            yield failed(
                "numbers",
                "HOLD",
                f"{name} predicts {values.shape[1:]} classes, the candidate {candidate.shape[1:]}: no comparison",
            )


def _check_lengths(evidence: GateEvidence) -> None:
    with_champion = [evidence.champion is None, evidence.seen_by_champion is None, evidence.champion_as_of is None]
    if any(with_champion) != all(with_champion):
        raise DataError(
            "a champion's evidence is its scores, the rows that it was trained on and its as_of: give all three or none"
        )
    parts = {name: getattr(evidence, name) for name in _OF_ROWS} | {
        f"slices[{c!r}]": values for c, values in evidence.slices.items()
    }
    for name, values in parts.items():
        if values is not None and len(values) != evidence.n_rows:
            raise DataError(
                f"{name} has {len(values)} values for {evidence.n_rows} rows: all evidence must be about the same rows"
            )


def _check_rows(evidence: GateEvidence, gate: Gate) -> Check:
    n_rows = int((~seen_mask(evidence, "seen_by_candidate")).sum())
    facts = {"observed": float(n_rows), "bound": float(gate.minimum_rows)}
    n_seen = evidence.n_rows - n_rows
    text = f"{n_rows:,} test rows" + (
        f" ({n_seen:,} more are left out: the candidate was trained on them)" if n_seen else ""
    )
    if n_rows < gate.minimum_rows:
        return failed("rows", "HOLD", f"{text}: at least {gate.minimum_rows:,} are needed to judge", **facts)
    return passed("rows", f"{text}; at least {gate.minimum_rows:,} are needed", **facts)
