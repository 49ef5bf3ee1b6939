"""Which results stop a partition, and how the message says so: counts and names, never a row's value."""

from __future__ import annotations

from collections.abc import Sequence

from include.errors import ContractViolationError
from include.quality.expectations import RuleResult

_MAX_SHOWN = 8


def refuse(problems: Sequence[str]) -> None:
    """
    Stop a partition that has problems.

    Raises
    ------
    ContractViolationError
        If there is any; it shows at most eight, a line each.

    """
    if problems:
        more = [f"… and {len(problems) - _MAX_SHOWN} more"] if len(problems) > _MAX_SHOWN else []
        raise ContractViolationError("\n  ".join([*problems[:_MAX_SHOWN], *more]))


def stops_of(results: Sequence[RuleResult]) -> tuple[str, ...]:
    """Say why a partition may not be published, a line a rule; nothing, if it may."""
    return tuple(line for line in map(_stop_of, results) if line)


def _stop_of(result: RuleResult) -> str | None:
    """
    Say why a rule stops the partition, if it does. A rule that could not be run always does, even one
    that only warns.
    """
    rule = result.rule
    if result.error is not None and rule.is_own:
        return f"{rule.label}: could not be judged: {result.error} (expectation {rule.position})"
    if result.error is not None:
        return (
            f"{rule.label}: could not be run ({result.error}): compare the column's type with what expectation "
            f"{rule.position} asks"
        )
    if result.is_met or not result.is_judged or rule.severity == "warn":
        return None
    if not rule.is_row_rule:
        return f"{rule.label}: does not hold{_observed(result)}; expectation {rule.position} wants {_wanted(result)}"
    if not len(result.failing):
        return (
            f"{rule.label}: does not hold for the column as a whole; expectation {rule.position} wants "
            f"{_wanted(result)}"
        )
    if rule.severity == "stop" or rule.required_share is not None:
        share = 1 - len(result.failing) / max(result.n_judged or 0, 1)
        needed = 1.0 if rule.required_share is None else rule.required_share
        return f"{rule.label}: holds for {share:.2%} of {result.n_judged} values, and {needed:.2%} must pass"
    return None


def _observed(result: RuleResult) -> str:
    """The measured number, where it is a count or a figure of the table: never a row's value."""
    if result.said:
        return f" ({result.said})"
    value = (result.raw.result or {}).get("observed_value")
    is_count = result.rule.type.startswith("expect_table_") or "count" in result.rule.type
    return f" (observed {value})" if is_count and isinstance(value, int | float) else ""


def _wanted(result: RuleResult) -> str:
    text = ", ".join(
        f"{key}={value!r}" for key, value in result.rule.kwargs.items() if key not in {"column", "column_A", "column_B"}
    )
    return (text if len(text) <= 120 else text[:117] + "...") or "it"


def notes_of(results: Sequence[RuleResult]) -> tuple[str, ...]:
    """Say which rules judged nothing, a line a rule: neither kept nor broken."""
    return tuple(
        f"{result.rule.label}: {result.said}" for result in results if not result.is_judged and result.error is None
    )


def failed_label(result: RuleResult) -> str:
    """Name a broken rule as the report does."""
    return f"{result.rule.reason} [warn]" if result.rule.severity == "warn" else result.rule.reason
