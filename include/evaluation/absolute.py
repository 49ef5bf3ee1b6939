"""
What a candidate must reach by itself, whatever the champion does: declared minima, better than naive, calibration,
latency, size.
"""

from __future__ import annotations

import math

import numpy as np

from include.evaluation.checks import Check, GateEvidence, failed, judged_metrics, passed
from include.evaluation.metrics import score, score_rows
from include.evaluation.paired import PairedTest, compare_models
from include.workflow.gate import Gate
from include.workflow.tasks import LOWER_IS_BETTER


def check_absolute(evidence: GateEvidence, gate: Gate) -> list[Check]:
    """Check minima, the naive baseline, latency and size; the candidate was trained on none of the rows."""
    checks = [_check_minimum(metric, bound, evidence) for metric, bound in gate.minimum.items()]
    checks.append(_check_naive(evidence, gate))
    for name, unit, observed, bound in (
        ("latency", "ms", evidence.latency_ms, gate.max_latency_ms),
        ("size", "MB", evidence.size_mb, gate.max_size_mb),
    ):
        if bound is not None:
            checks.append(_check_budget(name, unit, observed=observed, bound=bound))
    return checks


def _check_minimum(metric: str, bound: float, evidence: GateEvidence) -> Check:
    name, value = f"minimum {metric}", score(metric, evidence.y_true, evidence.candidate, task=evidence.task)
    is_upper = metric in LOWER_IS_BETTER
    facts = {"observed": value, "bound": bound}
    if not math.isfinite(value):
        reason = score_rows(evidence.task, evidence.y_true, evidence.candidate).why_undefined(metric)
        return failed(name, "HOLD", f"{metric} has no value: {reason}", **facts)
    word = "at most" if is_upper else "at least"
    if value <= bound if is_upper else value >= bound:
        return passed(name, f"{metric} is {value:.4f} ({word} {bound:g} declared)", **facts)
    return failed(name, "REJECT", f"{metric} is {value:.4f}: {word} {bound:g} is declared", **facts)


def _check_naive(evidence: GateEvidence, gate: Gate) -> Check:
    alpha, metric = gate.against_champion.alpha, judged_metrics(evidence, gate)[0]
    test = PairedTest(random_state=evidence.random_state, alpha=alpha, blocks=evidence.blocks())
    d = compare_models(evidence.task, [metric], evidence.y_true, (evidence.candidate, evidence.naive), test=test)[
        metric
    ]
    facts = {"observed": d.interval.value, "bound": 0.0}
    if d.interval.reason:
        return failed(
            "naive", "HOLD", f"the candidate cannot be compared with the naive baseline: {d.interval.reason}", **facts
        )
    text = f"{d.metric} {d.value_a:.4f} against the naive baseline's {d.value_b:.4f}, better by {d}"
    if not d.interval.value > 0:
        return failed("naive", "REJECT", f"the candidate is no better than the naive baseline: {text}", **facts)
    if not d.p_better <= alpha:
        return failed(
            "naive",
            "HOLD",
            f"better than the naive baseline perhaps by chance alone: {text}, p = {d.p_better:.3f}",
            **facts,
        )
    return passed("naive", f"better than the naive baseline: {text}", **facts)


def _check_budget(name: str, unit: str, *, observed: float, bound: float) -> Check:
    facts = {"observed": float(observed), "bound": bound}
    if np.isfinite(observed) and observed <= bound:
        return passed(name, f"{name} is {observed:.3g} {unit} (at most {bound:g} {unit} allowed)", **facts)
    return failed(name, "REJECT", f"{name} is {observed:.3g} {unit}: at most {bound:g} {unit} is allowed", **facts)
