"""
The gate's self-test: models whose verdict is known, made of the run's own evidence and judged by the gate's own code.

Champion gates ship broken, and nobody notices, for a gate that always says yes is never in the way. So before each
verdict the gate is shown six models; "the incumbent" is the champion, or the candidate where there is none yet:

- `itself`: the incumbent against itself. It is no better, and must not be promoted.
- `oracle`: the incumbent, moved towards the truth, against the same moved away from it (the incumbent itself may be
beyond improvement). It
  is better, and must be promoted.
- `worse`: the incumbent's answers in another order, against the oracle. It must not be promoted.
- `shuffled`: answers to labels in another order, with no champion to compare with. Not promoted, five orders in a row.
- `constant`: one answer for all rows, with and without a champion. Not promoted.
- `nan`: the oracle, with one answer missing. Not promoted.

One wrong verdict, or a difference that the gate did not see as it was planted, and the gate fails closed. Of few rows
even an oracle may not be told from the incumbent: that is no defect, but lets nothing ship without a person (HOLD).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from include.evaluation.checks import Check, GateEvidence, failed, judged_metrics, passed, seen_mask, select_rows
from include.evaluation.metrics import gain, score
from include.evaluation.paired import margin_of
from include.workflow.gate import Gate

NAMES = ("itself", "oracle", "worse", "shuffled", "constant", "nan")
MIN_ROWS = 20  # what no gate may judge by: of fewer, chance makes anything
MAX_ROWS = 200  # what a planted difference takes to be seen, and little time
# how far an oracle goes to the truth, and its opposite from it: the most probable class is then the true one
_TOWARDS = 0.75
# a sound gate promotes a model of shuffled labels at most alpha of the time: five times in a row, it is broken
_N_ORDERS = 5
_SEEN_AS_PLANTED = 1e-9
_MAX_REASON = 300  # characters

FloatArray = npt.NDArray[np.float64]


class Judgement(Protocol):
    """What the self-test needs to know of a verdict."""

    @property
    def verdict(self) -> str:
        """PROMOTE, HOLD or REJECT."""

    @property
    def reasons(self) -> tuple[str, ...]:
        """Why."""

    @property
    def checks(self) -> tuple[Check, ...]:
        """What was asked."""


Judge = Callable[[GateEvidence, Gate], Judgement]


@dataclass(frozen=True, kw_only=True)
class _Stage:
    """What all sentinels are made of: evidence on a few rows, and models of known worth on them."""

    evidence: GateEvidence
    gate: Gate
    incumbent: FloatArray
    oracle: FloatArray
    opposite: FloatArray
    shuffled: FloatArray
    rng: np.random.Generator


def self_test(evidence: GateEvidence, gate: Gate, *, judge: Judge) -> list[Check]:
    """
    Judge models whose verdict is known.

    Parameters
    ----------
    evidence : GateEvidence
        Of this run, with usable numbers and at least one row.
    gate : Gate
        As declared. Sentinels are judged by its rule, level, tolerance and metrics; minima, budgets and slices say
        nothing of them.
    judge : callable
        The very code that judges the candidate.

    Returns
    -------
    list of Check
        One a sentinel, and `self-test` for all of them. A REJECT says that the gate is broken.

    """
    rows = _choose_rows(evidence)
    if len(rows) < MIN_ROWS:
        return [
            failed(
                "self-test",
                "HOLD",
                f"{len(rows)} rows are too few for the gate's self-test: it takes at least {MIN_ROWS}",
            )
        ]
    stage = _set_stage(select_rows(evidence, rows), gate)
    found = {
        "itself": [_refused(stage, judge, candidate=stage.incumbent, champion=stage.incumbent)],
        "oracle": [_planted(stage, judge, candidate=stage.oracle, champion=stage.opposite, is_better=True)],
        "worse": [_planted(stage, judge, candidate=stage.shuffled, champion=stage.oracle, is_better=False)],
        "shuffled": [_shuffled(stage, judge)],
        "constant": [_constant(stage, judge, champion=champion) for champion in (None, stage.incumbent)],
        "nan": [_refused(stage, judge, candidate=_with_nan(stage.oracle), champion=stage.opposite)],
    }
    details = [_worst_of(f"self-test {name}", checks) for name, checks in found.items()]
    return [*details, _summarise(details)]


def _worst_of(name: str, checks: list[Check]) -> Check:
    return replace(min(checks, key=lambda check: ("REJECT", "HOLD", None).index(check.forces)), name=name)


def _summarise(details: list[Check]) -> Check:
    worst = _worst_of("self-test", details)
    if not worst.is_failed:
        return passed("self-test", f"the gate judged {len(details)} sentinels as it should")
    wrong = [
        f"{check.name.removeprefix('self-test ')}: {check.reason}" for check in details if check.forces == worst.forces
    ]
    prefix = (
        "the gate's self-test failed" if worst.forces == "REJECT" else "the gate's self-test could not be completed"
    )
    return replace(worst, reason=f"{prefix}: {'; '.join(wrong)}")


def _set_stage(rows: GateEvidence, gate: Gate) -> _Stage:
    rng = np.random.default_rng(rows.random_state)
    incumbent = np.asarray(rows.candidate if rows.champion is None else rows.champion, dtype=np.float64)
    truth, lie = _truth_and_lie(rows, incumbent)
    opposite = incumbent + _TOWARDS * (lie - incumbent)
    unseen = np.zeros(rows.n_rows, dtype=bool)
    rows = replace(rows, seen_by_candidate=unseen, naive=opposite, slices={}, latency_ms=0.0, size_mb=0.0)
    budgets = {"max_latency_ms": None, "max_size_mb": None, "max_calibration_error": None, "fairness": None}
    return _Stage(
        evidence=rows,
        gate=gate.model_copy(update={"minimum": {}, "slices": (), "minimum_rows": 1, **budgets}),
        incumbent=incumbent,
        oracle=incumbent + _TOWARDS * (truth - incumbent),
        opposite=opposite,
        shuffled=rng.permutation(incumbent),
        rng=rng,
    )


def _choose_rows(evidence: GateEvidence) -> npt.NDArray[np.intp]:
    """
    Up to 200 rows that neither model was trained on, evenly from the whole; of two classes, the rarer one is taken
    first.
    """
    unseen = ~seen_mask(evidence, "seen_by_candidate")
    if evidence.champion is not None and (both := unseen & ~seen_mask(evidence, "seen_by_champion")).any():
        unseen = both
    positions = np.flatnonzero(unseen)
    if evidence.task != "classification":
        return _thin(positions, MAX_ROWS)
    is_positive = np.asarray(evidence.y_true, dtype=np.float64)[positions] > 0
    by_size = sorted((positions[is_positive], positions[~is_positive]), key=len)
    rare = _thin(by_size[0], MAX_ROWS // 2)
    return np.sort(np.concatenate([rare, _thin(by_size[1], MAX_ROWS - len(rare))]))


def _thin(positions: npt.NDArray[np.intp], n: int) -> npt.NDArray[np.intp]:
    return positions if len(positions) <= n else positions[np.linspace(0, len(positions) - 1, n).astype(np.intp)]


def _truth_and_lie(rows: GateEvidence, incumbent: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The best prediction of each row, and one that is as wrong as can be."""
    y = np.asarray(rows.y_true, dtype=np.float64)
    if rows.task == "classification":
        return y, 1 - y
    if rows.task == "multiclass":
        codes = y.astype(np.intp)
        classes = np.eye(incumbent.shape[1])
        return classes[codes], classes[(codes + 1) % incumbent.shape[1]]
    spread = float(np.ptp(y)) + float(np.abs(y - incumbent).max()) + 1.0
    return y, y + 2 * spread * np.where(y >= np.median(y), -1.0, 1.0)


def _judged(
    stage: _Stage, judge: Judge, *, candidate: FloatArray, champion: FloatArray | None, **changes: Any
) -> Judgement:
    has_champion = champion is not None
    evidence = replace(
        stage.evidence,
        candidate=candidate,
        champion=champion,
        seen_by_champion=stage.evidence.seen_by_candidate if has_champion else None,
        champion_as_of=stage.evidence.candidate_as_of if has_champion else None,
        **changes,
    )
    return judge(evidence, stage.gate)


def _refused(
    stage: _Stage, judge: Judge, *, candidate: FloatArray, champion: FloatArray | None, **changes: Any
) -> Check:
    """Check that a model is not promoted."""
    found = _judged(stage, judge, candidate=candidate, champion=champion, **changes)
    if found.verdict == "PROMOTE":
        return failed("sentinel", "REJECT", "it promoted a model that is no better")
    return passed("sentinel", f"{found.verdict}, as it should be")


def _planted(stage: _Stage, judge: Judge, *, candidate: FloatArray, champion: FloatArray, is_better: bool) -> Check:
    """Check that the gate sees just the difference that is there, and says yes to a gain and not to a loss."""
    rows, found = stage.evidence, _judged(stage, judge, candidate=candidate, champion=champion)
    seen, is_told = {check.name: check.observed for check in found.checks}, False
    for metric in judged_metrics(rows, stage.gate):
        ours, theirs = (score(metric, rows.y_true, model, task=rows.task) for model in (candidate, champion))
        planted, observed = float(gain(metric, ours, theirs)), seen.get(f"metric {metric}")
        if math.isfinite(planted) and (
            observed is None or not abs(observed - planted) <= _SEEN_AS_PLANTED * max(1.0, abs(planted))
        ):
            return failed(
                "sentinel", "REJECT", f"it saw a difference of {observed} in {metric}, where {planted:.6g} was planted"
            )
        # A loss within the tolerance may pass, and rightly so.
        is_told |= planted < -margin_of(metric, theirs, tolerance=stage.gate.against_champion.tolerance)
    why = "; ".join(found.reasons)[:_MAX_REASON]
    if is_better and found.verdict == "REJECT":
        return failed("sentinel", "REJECT", f"it rejected a model that is better: {why}")
    if is_better and found.verdict != "PROMOTE":
        return failed("sentinel", "HOLD", f"these {rows.n_rows} rows cannot show even a planted improvement: {why}")
    if not is_better and is_told and found.verdict == "PROMOTE":
        return failed("sentinel", "REJECT", "it promoted a model that is worse than the champion")
    return passed("sentinel", f"{found.verdict}, as it should be")


def _shuffled(stage: _Stage, judge: Judge) -> Check:
    """Check that answers to shuffled labels are not promoted: no better than the same answers in any other order."""
    for _ in range(_N_ORDERS):
        y_true = stage.rng.permutation(np.asarray(stage.evidence.y_true))
        answer = _refused(
            stage,
            judge,
            candidate=stage.incumbent,
            champion=None,
            y_true=y_true,
            naive=stage.rng.permutation(stage.incumbent),
        )
        if not answer.is_failed:
            return answer
    return failed("sentinel", "REJECT", f"it promoted a model of labels in random order, {_N_ORDERS} times in a row")


def _constant(stage: _Stage, judge: Judge, *, champion: FloatArray | None) -> Check:
    answer = _constant_answer(stage)
    found = _refused(stage, judge, candidate=answer, champion=champion, naive=answer)
    how = "with no champion" if champion is None else "with a champion"
    return replace(found, reason=f"{found.reason} (one answer for all rows, {how})") if found.is_failed else found


def _constant_answer(stage: _Stage) -> FloatArray:
    """One answer for all rows: the mean of the truth, or the share of each class."""
    rows = stage.evidence
    truth, _ = _truth_and_lie(rows, stage.incumbent)
    return np.broadcast_to(truth.mean(axis=0), stage.incumbent.shape).copy()


def _with_nan(predicted: FloatArray) -> FloatArray:
    spoiled = predicted.copy()
    spoiled[len(spoiled) // 2] = np.nan
    return spoiled
