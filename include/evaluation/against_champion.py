"""The checks against the champion: on the same rows, on none of which either model was trained."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from include.evaluation.checks import (
    Check,
    GateEvidence,
    failed,
    judged_metrics,
    not_judged,
    passed,
    seen_mask,
    select_rows,
)
from include.evaluation.paired import PairedDifference, PairedTest, compare_models, holm_rejections
from include.evaluation.report import MIN_SLICE_ROWS, split_by_slices
from include.workflow.gate import Gate

_MAX_SHOWN = 3  # slices told of in one sentence


@dataclass(frozen=True, kw_only=True)
class _Standing:
    """How the candidate stands to the champion in one metric, corrected for how many there are."""

    difference: PairedDifference
    is_worse: bool
    is_better: bool
    is_close: bool


def check_against_champion(evidence: GateEvidence, gate: Gate) -> list[Check]:
    """Check that the candidate may replace the champion; an empty list if there is none."""
    if evidence.champion is None:
        return []
    rows = select_rows(evidence, ~seen_mask(evidence, "seen_by_champion"))
    checks = [_check_age(evidence), _check_unseen(rows, gate, n_rows=evidence.n_rows)]
    if not rows.n_rows:
        return checks
    return [*checks, _check_distinct(rows), *_check_metrics(rows, gate), *_check_slices(rows, gate)]


def _check_age(evidence: GateEvidence) -> Check:
    """
    Check that the candidate is not older: promotion is monotone in as_of. An equal as_of is a retrain as of the same
    time: allowed.
    """
    if evidence.champion_as_of is None or evidence.champion_as_of > evidence.candidate_as_of:
        return failed(
            "champion age",
            "HOLD",
            f"the champion's as_of {evidence.champion_as_of} is later than the candidate's {evidence.candidate_as_of}: "
            "a backfilled model does not replace a newer one",
        )
    return passed("champion age", f"the champion's as_of {evidence.champion_as_of} is not later than the candidate's")


def _check_unseen(rows: GateEvidence, gate: Gate, *, n_rows: int) -> Check:
    facts = {"observed": float(rows.n_rows), "bound": float(gate.minimum_rows)}
    text = f"the champion was not trained on {rows.n_rows:,} of the {n_rows:,} test rows"
    if rows.n_rows < gate.minimum_rows:
        return failed(
            "unseen rows", "HOLD", f"{text}: at least {gate.minimum_rows:,} are needed for a fair comparison", **facts
        )
    return passed("unseen rows", text, **facts)


def _check_distinct(rows: GateEvidence) -> Check:
    """
    Two models never agree to the last bit on every row, unless they are one: the classic broken gate compares a model
    with itself.
    """
    differs = np.asarray(rows.candidate) != np.asarray(rows.champion)
    n_differing = int(differs.reshape(len(differs), -1).any(axis=1).sum())
    if n_differing == 0:
        return failed(
            "distinct",
            "HOLD",
            f"the candidate answers exactly as the champion on all {rows.n_rows:,} rows: "
            "nothing new was learned, or a model was compared with itself",
            observed=0.0,
            bound=1.0,
        )
    text = f"candidate and champion differ on {n_differing:,} of {rows.n_rows:,} rows"
    return passed("distinct", text, observed=float(n_differing), bound=1.0)


def _check_metrics(rows: GateEvidence, gate: Gate) -> list[Check]:
    """Check each metric, then by the declared rule all of them together."""
    paired, metrics = gate.against_champion, judged_metrics(rows, gate)
    level = paired.alpha / 2  # alpha is for both directions together
    test = PairedTest(
        random_state=rows.random_state, alpha=level / len(metrics), tolerance=paired.tolerance, blocks=rows.blocks()
    )
    found = compare_models(rows.task, metrics, rows.y_true, (rows.candidate, rows.champion), test=test)
    worse = holm_rejections([found[metric].p_worse for metric in metrics], alpha=level)
    better = holm_rejections([found[metric].p_better for metric in metrics], alpha=level)
    standings = [
        # All metrics have to be close, so that no correction is due: it would be one more chance to say no, not yes.
        _Standing(
            difference=found[metric],
            is_worse=is_worse,
            is_better=is_better,
            is_close=is_better or found[metric].p_close <= level,
        )
        for metric, is_worse, is_better in zip(metrics, worse, better, strict=True)
    ]
    details = [_metric_check(standing, gate) for standing in standings]
    return [*details, _summarise_metrics(standings, details, gate)]


def _metric_check(standing: _Standing, gate: Gate) -> Check:
    d, needs_better = standing.difference, gate.against_champion.rule == "better" and len(gate.metrics) < 2
    name, facts = f"metric {d.metric}", {"observed": d.interval.value, "bound": 0.0 if needs_better else -d.margin}
    if d.interval.reason:
        return failed(name, "HOLD", f"the candidate cannot be compared with the champion: {d.interval.reason}", **facts)
    text = f"{d.metric} {d.value_a:.4f} against the champion's {d.value_b:.4f}, a difference of {d}"
    if d.method == "McNemar":
        text += ", by McNemar's test"
    if standing.is_worse:
        return failed(name, "REJECT", f"significantly worse than the champion: {text}, p = {d.p_worse:.4f}", **facts)
    if standing.is_better:
        return passed(name, f"significantly better than the champion: {text}, p = {d.p_better:.4f}", **facts)
    if needs_better:
        return failed(
            name, "HOLD", f"neither proven better nor worse than the champion: {text}, p = {d.p_better:.4f}", **facts
        )
    if standing.is_close:
        return passed(
            name, f"proven not to lose {d.margin:g} or more against the champion: {text}, p = {d.p_close:.4f}", **facts
        )
    return failed(
        name, "HOLD", f"perhaps worse than the champion by {d.margin:g} or more: {text}, p = {d.p_close:.4f}", **facts
    )


def _summarise_metrics(standings: list[_Standing], details: list[Check], gate: Gate) -> Check:
    """One line for all metrics: none may be worse, all must be close, and by the rule "better" one must be better."""
    if len(details) == 1:
        one = details[0]
        facts = {"observed": one.observed, "bound": one.bound}
        return (
            passed("champion", one.reason, **facts)
            if one.passed
            else failed("champion", one.forces or "REJECT", one.reason, **facts)
        )
    n_better = sum(standing.is_better for standing in standings)
    n_asked = 1 if gate.against_champion.rule == "better" else 0
    facts = {"observed": float(n_better), "bound": float(n_asked)}
    failures = sorted((check for check in details if check.is_failed), key=lambda check: check.forces != "REJECT")
    if failures:
        forces = failures[0].forces or "REJECT"
        return failed("champion", forces, "; ".join(check.reason for check in failures), **facts)
    text = "; ".join(check.reason for check in details)
    if n_better < n_asked:
        return failed(
            "champion", "HOLD", f"proven better than the champion in none of {len(details)} metrics: {text}", **facts
        )
    return passed("champion", f"better in {n_better} of {len(details)} metrics, and worse in none: {text}", **facts)


def _check_slices(rows: GateEvidence, gate: Gate) -> list[Check]:
    """
    Check that no declared slice got significantly worse, Holm-corrected over all slices that are large enough to be
    judged.
    """
    missing = [column for column in gate.slices if column not in rows.slices]
    checks = [
        failed(f"slices by {c}", "HOLD", f"slice column {c!r} is declared but not in the evidence") for c in missing
    ]
    declared = {column: rows.slices[column] for column in gate.slices if column in rows.slices}
    masks: dict[tuple[str, str], npt.NDArray[np.bool_]] = {}
    for column, value, mask in split_by_slices(declared, n_rows=rows.n_rows):
        if reason := _why_too_small(rows, mask):
            text = f"{column} = {value}: not judged, {reason}"
            checks.append(
                not_judged(f"slice {column}={value}", text, observed=float(mask.sum()), bound=float(MIN_SLICE_ROWS))
            )
        else:
            masks[column, value] = mask
    alpha = gate.against_champion.alpha
    differences = {
        key: _compare_slice(select_rows(rows, mask), gate, alpha=alpha / len(masks)) for key, mask in masks.items()
    }
    worse = holm_rejections([d.p_worse for d in differences.values()], alpha=alpha)
    checks += [
        _slice_check(key, d, is_worse=is_worse) for (key, d), is_worse in zip(differences.items(), worse, strict=True)
    ]
    return checks + [
        _summarise_slices(column, [c for c in checks if c.name.startswith(f"slice {column}=")]) for column in declared
    ]


def _why_too_small(rows: GateEvidence, mask: npt.NDArray[np.bool_]) -> str:
    n = int(mask.sum())
    if rows.task != "classification":
        return f"{n} rows ({MIN_SLICE_ROWS} needed)" if n < MIN_SLICE_ROWS else ""
    n_positives = int(np.asarray(rows.y_true, dtype=np.float64)[mask].sum())
    if n >= MIN_SLICE_ROWS and n_positives not in {0, n}:
        return ""
    return f"{n} rows of which {n_positives} positive ({MIN_SLICE_ROWS} rows of both classes needed)"


def _compare_slice(rows: GateEvidence, gate: Gate, *, alpha: float) -> PairedDifference:
    metric = judged_metrics(rows, gate)[0]
    test = PairedTest(random_state=rows.random_state, alpha=alpha, blocks=rows.blocks())
    return compare_models(rows.task, [metric], rows.y_true, (rows.candidate, rows.champion), test=test)[metric]


def _slice_check(key: tuple[str, str], d: PairedDifference, *, is_worse: bool) -> Check:
    column, value = key
    name, facts = f"slice {column}={value}", {"observed": d.interval.value, "bound": 0.0}
    if d.interval.reason:
        return not_judged(name, f"{column} = {value}: not judged, {d.interval.reason}", **facts)
    text = f"{d.metric} {d.value_a:.4f} against the champion's {d.value_b:.4f}, a difference of {d}"
    if is_worse:
        return failed(
            name,
            "HOLD",
            f"{column} = {value} got significantly worse (Holm-corrected): {text}, p = {d.p_worse:.4f}",
            **facts,
        )
    return passed(name, f"{column} = {value} did not get significantly worse: {text}", **facts)


def _summarise_slices(column: str, checks: list[Check]) -> Check:
    """
    One line a column. It passes unless a slice failed; how many could not be judged is said, never
    counted as passed.
    """
    n_judged = sum(check.passed is not None for check in checks)
    worse = [check.reason for check in checks if check.is_failed]
    facts = {"observed": float(len(worse)), "bound": 0.0}
    n_small = len(checks) - n_judged
    text = (
        f"{column}: {n_judged} of {len(checks)} slices judged, {len(worse)} significantly worse, {n_small} too small "
        "to judge"
    )
    if not worse:
        return passed(f"slices by {column}", text, **facts)
    more = f"; and {len(worse) - _MAX_SHOWN} more" if len(worse) > _MAX_SHOWN else ""
    return failed(f"slices by {column}", "HOLD", f"{text}: {'; '.join(worse[:_MAX_SHOWN])}{more}", **facts)
