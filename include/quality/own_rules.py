"""
Judge by Updraft's own expectations: volume and distribution against history, freshness, values that another table has
to hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError, LakeError
from include.quality.distribution import compare_distribution
from include.quality.expectations import RuleResult
from include.quality.gx import ExpectationConfiguration, ExpectationValidationResult
from include.quality.history import Past, PublishedPartition, describe_past
from include.quality.reference import find_unknown
from include.quality.rows import Rows, missing_in
from include.quality.suite import Rule
from include.workflow.durations import describe_duration, parse_duration


@dataclass(frozen=True, kw_only=True)
class Partition:
    """
    A partition under judgement.

    `rows` are without duplicates, of which `n_rows_in` counts all that came; `is_clean` tells which of them break no
    rule so far, an ndarray of bool of shape (n_rows,).
    """

    rows: Rows
    n_rows_in: int
    is_clean: np.ndarray
    past: Past


@dataclass(frozen=True, kw_only=True)
class Answer:
    """
    What one rule found. `said` is a half sentence of figures, without any value of a row; `is_met` is None where it
    could not judge.
    """

    is_met: bool | None
    said: str
    failing: np.ndarray
    n_judged: int | None = None


_NONE = np.zeros(0, dtype=np.int64)


def run_own_rules(rules: Sequence[Rule], partition: Partition) -> list[RuleResult]:
    """
    Judge a partition by rules that are Updraft's own.

    Parameters
    ----------
    rules : sequence of Rule
        Each with `is_own`; those that judge rows first, so that the others see which rows are clean.
    partition : Partition
        What to judge. Rows that a rule refuses are not clean for the rules after it.

    Returns
    -------
    list of RuleResult
        One a rule, in the order of `rules`.

    """
    by_position: dict[int, RuleResult] = {}
    for rule in sorted(rules, key=lambda rule: not rule.is_row_rule):
        result = by_position[rule.position] = _judge(rule, partition)
        if len(result.failing) and rule.severity != "warn":
            is_clean = partition.is_clean.copy()
            is_clean[result.failing] = False
            partition = replace(partition, is_clean=is_clean)
    return [by_position[rule.position] for rule in rules]


def _judge(rule: Rule, partition: Partition) -> RuleResult:
    judge = {
        "expect_partition_row_count_to_be_within_history": _judge_volume,
        "expect_column_distribution_to_match_history": _judge_distribution,
        "expect_partition_to_be_fresh": _judge_freshness,
        "expect_column_values_to_exist_in_table": _judge_reference,
    }[rule.type]
    try:
        answer, error = judge(rule.kwargs, partition), None
    except (LakeError, DataError) as problem:
        answer, error = Answer(is_met=False, said="could not be judged", failing=_NONE), str(problem)
    return RuleResult(
        rule=rule,
        is_met=bool(answer.is_met),
        is_judged=answer.is_met is not None,
        said=answer.said,
        failing=answer.failing,
        n_judged=answer.n_judged,
        error=error,
        raw=_as_great_expectations(rule, answer, n_rows=partition.rows.source.num_rows),
    )


def _as_great_expectations(rule: Rule, answer: Answer, *, n_rows: int) -> ExpectationValidationResult:
    """The result in the form that its page renders."""
    result: dict[str, Any] = {"observed_value": answer.said}
    if rule.is_row_rule and answer.n_judged is not None:
        n_bad, n_judged = len(answer.failing), answer.n_judged
        shares = {
            "unexpected_percent": 100 * n_bad / max(n_judged, 1),
            "missing_percent": 100 * (n_rows - n_judged) / max(n_rows, 1),
        }
        total = 100 * n_bad / max(n_rows, 1)
        counts = {"element_count": n_rows, "unexpected_count": n_bad, "missing_count": n_rows - n_judged}
        result = {
            **counts,
            **shares,
            "unexpected_percent_total": total,
            "unexpected_percent_nonmissing": shares["unexpected_percent"],
        }
    configuration = ExpectationConfiguration(
        type=rule.type, kwargs=dict(rule.kwargs), meta=rule.shown_meta, id=str(rule.position)
    )
    return ExpectationValidationResult(success=bool(answer.is_met), expectation_config=configuration, result=result)


def _too_short(partitions: Sequence[PublishedPartition], needed: int) -> Answer | None:
    if len(partitions) >= needed:
        return None
    said = f"not judged: {describe_past(partitions)}; {needed} are needed"
    return Answer(is_met=None, said=said, failing=_NONE)


def _judge_volume(kwargs: Mapping[str, Any], partition: Partition) -> Answer:
    past = partition.past
    alike = [earlier for earlier in past.recent if _is_alike(earlier.start, past.window.start, kwargs)]
    short = _too_short(alike, int(kwargs.get("minimum_partitions", 3)))
    if short is not None:
        return short
    usual = median(earlier.rows_in for earlier in alike)
    ratio = partition.n_rows_in / usual
    low, high = kwargs.get("min_ratio"), kwargs.get("max_ratio")
    is_met = (low is None or ratio >= low) and (high is None or ratio <= high)
    said = f"{partition.n_rows_in} rows are {ratio:.2f} of the median {usual:g} of {describe_past(alike)}"
    return Answer(is_met=is_met, said=said, failing=_NONE)


def _is_alike(start: datetime, judged: datetime, kwargs: Mapping[str, Any]) -> bool:
    same_weekday = start.weekday() == judged.weekday() or not kwargs.get("by_weekday")
    return same_weekday and (start.hour == judged.hour or not kwargs.get("by_hour"))


def _judge_distribution(kwargs: Mapping[str, Any], partition: Partition) -> Answer:
    past = partition.past
    short = _too_short(past.recent, int(kwargs.get("minimum_partitions", 3)))
    if short is not None:
        return short
    column = partition.rows.source.column(kwargs["column"]).filter(pa.array(partition.is_clean))
    comparison = compare_distribution(column, name=kwargs["column"], past=past)
    needed = int(kwargs.get("minimum_rows", 100))
    fewest = min(comparison.n_current, comparison.n_reference)
    if fewest < needed or comparison.n_partitions < int(kwargs.get("minimum_partitions", 3)):
        said = (
            f"not judged: {comparison.n_current} rows beside {comparison.n_reference} of {comparison.n_partitions} "
            "partitions are too few"
        )
        return Answer(is_met=None, said=said, failing=_NONE)
    bound = float(kwargs.get("max_psi", 0.25))
    said = (
        f"PSI {comparison.psi:.3f}, of which chance alone may give {comparison.chance:.3f}, beside "
        f"{describe_past(past.recent)}"
    )
    return Answer(is_met=comparison.psi <= max(bound, comparison.chance), said=said, failing=_NONE)


def _judge_freshness(kwargs: Mapping[str, Any], partition: Partition) -> Answer:
    rows, end = partition.rows, partition.past.window.end
    said, is_met = [], True
    if kwargs.get("max_gap"):
        gap = end - pc.max(rows.event_time).as_py()
        is_met &= gap <= parse_duration(kwargs["max_gap"])
        said.append(f"the newest row lies {_in_words(gap)} before the partition's end")
    if kwargs.get("max_known_lag"):
        share = float(kwargs.get("share", 0.95))
        lag = _lag(rows, share)
        is_met &= lag <= parse_duration(kwargs["max_known_lag"])
        said.append(f"{share:.0%} of the rows were known within {_in_words(lag)}")
    return Answer(is_met=is_met, said=", ".join(said), failing=_NONE)


def _lag(rows: Rows, share: float) -> timedelta:
    """Time from the event until so large a share of the rows was known."""
    known = rows.known_time.cast(pa.int64()), rows.event_time.cast(pa.int64())
    microseconds = pc.drop_null(pc.subtract(*known)).to_numpy()
    return timedelta(
        microseconds=int(np.quantile(microseconds, share, method="inverted_cdf")) if len(microseconds) else 0
    )


def _in_words(duration: timedelta) -> str:
    minutes = timedelta(minutes=round(duration.total_seconds() / 60))
    return describe_duration(minutes) if minutes else "less than a minute"


def _judge_reference(kwargs: Mapping[str, Any], partition: Partition) -> Answer:
    name = kwargs["column"]
    values = partition.rows.source.column(name)
    failing = find_unknown(
        values,
        name=name,
        other_workflow=kwargs["other_workflow"],
        other_column=kwargs["other_column"],
        past=partition.past,
    )
    n_judged = len(values) - int(missing_in(partition.rows.source, (name,)).sum())
    needed = kwargs.get("mostly")
    is_met = not len(failing) if needed is None else 1 - len(failing) / max(n_judged, 1) >= needed
    return Answer(
        is_met=is_met, said=f"{len(failing)} of {n_judged} values are not there", failing=failing, n_judged=n_judged
    )
