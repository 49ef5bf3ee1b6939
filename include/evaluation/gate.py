"""
The gate: PROMOTE, HOLD or REJECT, with the checks that led there.

Against the champion, on rows that neither model was trained on, alpha being the chance of any wrong answer about
equally good models:

- significantly worse                                        REJECT
- rule "better":     not proven better                       HOLD
- rule "not_worse":  not proven to lose less than tolerance   HOLD
- otherwise                                                  passes

What cannot be told is never a yes: a person may look at what is held. The gate fails closed: a check that is missing,
has no number, or raises can never lead to PROMOTE, and before each verdict the gate is shown models whose verdict is
known (`sentinels`).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from include.evaluation import sentinels
from include.evaluation.absolute import check_absolute
from include.evaluation.against_champion import check_against_champion
from include.evaluation.checks import (
    Check,
    GateEvidence,
    VerdictName,
    check_evidence,
    judged_metrics,
    seen_mask,
    select_rows,
)
from include.evaluation.json_numbers import to_json_number
from include.evaluation.limits import check_limits
from include.workflow.gate import Gate

__all__ = ["Check", "GateEvidence", "Verdict", "decide", "judge", "required_checks", "required_names"]


_MAX_MESSAGE = 300  # characters of an unforeseen error's message


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The answer, in plain sentences, and every check behind it."""

    verdict: VerdictName
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON types: a number that is not finite is null (the check's reason says why)."""
        return {
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "checks": [
                vars(check) | {"observed": to_json_number(check.observed), "bound": to_json_number(check.bound)}
                for check in self.checks
            ],
        }


def judge(evidence: GateEvidence, gate: Gate) -> Verdict:
    """
    Judge a candidate. Never raises: whatever goes wrong inside is a REJECT that says so.

    Parameters
    ----------
    evidence : GateEvidence
        Predictions of candidate, champion (or none) and naive baseline on the same rows, and what else was measured.
    gate : Gate
        The declared bounds.

    Returns
    -------
    Verdict
        REJECT if any check forces it or the gate's self-test failed, else HOLD if any check does, else PROMOTE if every
        required check is there and passed.

    """
    try:
        checks = check_evidence(evidence, gate)
        if not _can_go_on(checks):
            return decide(checks, required=required_checks(evidence, gate))
        tests = sentinels.self_test(evidence, gate, judge=_judge_once)
        broken = [check for check in tests if check.forces == "REJECT"]
        if broken:
            # Said here and not by `decide`: that may be what is broken.
            return Verdict(verdict="REJECT", reasons=_tell(broken) or (broken[0].reason,), checks=(*checks, *tests))
        judged = _judge_once(evidence, gate)
        return decide([*judged.checks, *tests], required=required_checks(evidence, gate))
    except Exception as error:  # whatever it is, a gate that cannot judge says no
        return _broken(error)


def _judge_once(evidence: GateEvidence, gate: Gate) -> Verdict:
    """Judge without a self-test: the candidate, and each of the self-test's sentinels."""
    checks = check_evidence(evidence, gate)
    if _can_go_on(checks):
        unseen = select_rows(evidence, ~seen_mask(evidence, "seen_by_candidate"))
        checks += check_absolute(unseen, gate)
        checks += check_limits(unseen, gate)
        checks += check_against_champion(unseen, gate)
    return decide(checks, required=_required_of(evidence, gate))


def _can_go_on(checks: Iterable[Check]) -> bool:
    """
    With unusable numbers, or no row at all, there is nothing more to compute; of few rows a person is told what can be
    told.
    """
    return all(not check.is_failed or (check.name == "rows" and bool(check.observed)) for check in checks)


def _broken(error: Exception) -> Verdict:
    reason = f"the gate itself failed: {type(error).__name__}: {str(error)[:_MAX_MESSAGE]}"
    return Verdict(verdict="REJECT", reasons=(reason,), checks=())


def decide(checks: Iterable[Check], *, required: frozenset[str]) -> Verdict:
    """Combine checks into a verdict. No checks, or a required one that is missing or did not pass, is never PROMOTE."""
    checks = tuple(checks)
    failed = [check for check in checks if check.is_failed]
    for name in ("REJECT", "HOLD"):
        if any(check.forces == name for check in failed):
            ordered = sorted(failed, key=lambda check: check.forces != name)  # the deciding reasons first
            return Verdict(verdict=name, reasons=_tell(ordered), checks=checks)
    missing = sorted(required - {check.name for check in checks if check.passed is True})
    if missing or not required or not checks:
        return Verdict(
            verdict="REJECT",
            reasons=(f"no proof of: {', '.join(missing) or 'anything'}; without it nothing ships",),
            checks=checks,
        )
    return Verdict(verdict="PROMOTE", reasons=_tell(checks), checks=checks)


def _tell(checks: Iterable[Check]) -> tuple[str, ...]:
    # A single slice's check stands in `checks`; the line of its column says what matters.
    return tuple(check.reason for check in checks if not check.is_detail)


def required_checks(evidence: GateEvidence, gate: Gate) -> frozenset[str]:
    """Names of the checks that must be there and passed before anything ships."""
    return required_names(gate, metrics=judged_metrics(evidence, gate), has_champion=evidence.champion is not None)


def required_names(gate: Gate, *, metrics: Iterable[str], has_champion: bool) -> frozenset[str]:
    """Names of the required checks, by what is known of a judgement afterwards."""
    self_tests = {"self-test", *(f"self-test {name}" for name in sentinels.NAMES)}
    return _names_of(gate, metrics=metrics, has_champion=has_champion) | self_tests


def _required_of(evidence: GateEvidence, gate: Gate) -> frozenset[str]:
    return _names_of(gate, metrics=judged_metrics(evidence, gate), has_champion=evidence.champion is not None)


def _names_of(gate: Gate, *, metrics: Iterable[str], has_champion: bool) -> frozenset[str]:
    names = {"numbers", "rows", "naive"} | {f"minimum {metric}" for metric in gate.minimum}
    limits = (("latency", gate.max_latency_ms), ("size", gate.max_size_mb), ("calibration", gate.max_calibration_error))
    names |= {name for name, bound in limits if bound is not None}
    names |= {f"fairness by {column}" for column in gate.fairness.groups} if gate.fairness else set()
    if has_champion:
        names |= {"champion age", "unseen rows", "distinct", "champion"} | {
            f"slices by {column}" for column in gate.slices
        }
        names |= {f"metric {metric}" for metric in metrics}
    return frozenset(names)
