"""
The expectation suite: Great Expectations' own JSON, read strictly.

What a newcomer gets wrong here would otherwise pass unseen, because Great Expectations calls an empty suite a success
and a rule without a bound fulfilled. So each rule is checked before a row is read, and a mistake names the file, the
rule and the remedy.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from include.errors import SuiteError

Severity = Literal["warn", "quarantine", "stop"]
SEVERITIES: tuple[Severity, ...] = ("warn", "quarantine", "stop")

# Keys that steer how Great Expectations reports, not what it checks: a suite must not be able to hide the failing rows.
_REPORTING_KEYS = frozenset({"batch_id", "result_format", "catch_exceptions", "include_config"})
_UNIQUENESS_RULES = frozenset({"expect_column_values_to_be_unique", "expect_compound_columns_to_be_unique"})
# Judged by include/quality/own_rules.py: they look beyond the rows of one partition.
OWN_RULES = frozenset(
    {
        "expect_partition_row_count_to_be_within_history",
        "expect_column_distribution_to_match_history",
        "expect_partition_to_be_fresh",
        "expect_column_values_to_exist_in_table",
    }
)
_NULLNESS_RULES = frozenset({"expect_column_values_to_be_null", "expect_column_values_to_not_be_null"})


@dataclass(frozen=True, kw_only=True)
class Rule:
    """One expectation of a suite. `position` counts from 1, as a reader of the file does."""

    position: int
    type: str
    kwargs: Mapping[str, Any]
    meta: Mapping[str, Any] = field(default_factory=dict)
    severity: Severity
    is_row_rule: bool

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns that the rule names, in the order of its arguments."""
        named = [self.kwargs.get(key) for key in ("column", "column_A", "column_B")]
        return tuple(str(name) for name in [*named, *self.kwargs.get("column_list", ())] if name is not None)

    @property
    def label(self) -> str:
        """How reports and messages call the rule: `dep_delay: expect_column_values_to_not_be_null`."""
        return f"{', '.join(self.columns)}: {self.type}" if self.columns else self.type

    @property
    def reason(self) -> str:
        """What a quarantined row carries: the label, and the suite's own words where it gives some in `meta.reason`."""
        return f"{self.label} ({self.meta['reason']})" if self.meta.get("reason") else self.label

    @property
    def is_own(self) -> bool:
        """Whether the rule is Updraft's own, which Great Expectations knows by name only."""
        return self.type in OWN_RULES

    @property
    def shown_meta(self) -> dict[str, Any]:
        """What the page shows beside the rule: the suite's own words."""
        return {"notes": {"format": "string", "content": str(self.meta["reason"])}} if self.meta.get("reason") else {}

    @property
    def required_share(self) -> float | None:
        """
        Share of rows that must pass, where the suite states one (`mostly`); without it failing rows are
        only set aside.
        """
        mostly = self.kwargs.get("mostly")
        return None if mostly is None else float(mostly)

    @property
    def refuses_nulls(self) -> bool:
        """Whether a row with a null in the rule's columns breaks it: Great Expectations counts nulls as unique."""
        return self.type in _UNIQUENESS_RULES and not self.meta.get("allow_null")

    @property
    def needs_values(self) -> bool:
        """Whether a column without any value leaves the rule with nothing to judge."""
        return self.is_row_rule and self.type not in _NULLNESS_RULES and not self.meta.get("allow_null")


@dataclass(frozen=True, kw_only=True)
class Suite:
    """A checked suite: at least one rule, each known to Great Expectations."""

    path: Path
    name: str
    rules: tuple[Rule, ...]


def load_suite(path: Path) -> Suite:
    """
    Read and check a suite.

    Parameters
    ----------
    path : Path
        A file in Great Expectations' own JSON form: `{"name", "expectations": [{"type", "kwargs", "meta"}]}`.

    Returns
    -------
    Suite
        The rules, with what each one's failure means.

    Raises
    ------
    SuiteError
        If the file or a rule is unusable: one line says where, why, and what to do.

    """
    content = _read_json(path)
    entries = content.get("expectations")
    if not isinstance(entries, list):
        raise SuiteError(f'{path}: there is no list of \'expectations\': write {{"name": ..., "expectations": [...]}}')
    if not entries:
        raise SuiteError(
            f"{path}: the suite is empty, so it would accept anything: add an expectation, a row count at the least"
        )
    for position, entry in enumerate(entries, start=1):
        _check_shape(path, position=position, entry=entry)
    # Great Expectations takes seconds to import: not for a typo above
    from include.quality.expectations import check_expectation

    rules = []
    for position, entry in enumerate(entries, start=1):
        kwargs = {key: value for key, value in entry["kwargs"].items() if key not in _REPORTING_KEYS}
        is_row_rule = check_expectation(_where(path, position, entry), type_=entry["type"], kwargs=kwargs)
        severity = _severity(_where(path, position, entry), entry=entry, is_row_rule=is_row_rule)
        rules.append(
            Rule(
                position=position,
                type=entry["type"],
                kwargs=kwargs,
                meta=entry.get("meta") or {},
                severity=severity,
                is_row_rule=is_row_rule,
            )
        )
    _refuse_twins(path, rules)
    return Suite(path=path, name=str(content.get("name") or path.parent.name), rules=tuple(rules))


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"), object_pairs_hook=_refuse_repeated_keys)
    except FileNotFoundError:
        raise SuiteError(
            f"{path}: there is no such expectation suite: create the file, or correct `expectations` in the workflow"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SuiteError(
            f"{path}: the expectation suite cannot be read ({type(error).__name__}): save it as readable UTF-8 text"
        ) from None
    except json.JSONDecodeError as error:
        raise SuiteError(
            f"{path}, line {error.lineno}, column {error.colno}: not JSON ({error.msg}): correct the text there"
        ) from None
    except _RepeatedKeyError as error:
        raise SuiteError(
            f"{path}: the key {error.args[0]!r} is there twice in one object, and one of them would be lost: remove one"
        ) from None
    if not isinstance(content, dict):
        raise SuiteError(
            f'{path}: holds a {type(content).__name__}, not an object: write {{"name": ..., "expectations": [...]}}'
        )
    return content


class _RepeatedKeyError(ValueError):
    pass


def _refuse_repeated_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content: dict[str, Any] = {}
    for key, value in pairs:
        if key in content:
            raise _RepeatedKeyError(key)
        content[key] = value
    return content


def _where(path: Path, position: int, entry: Any) -> str:
    kind = entry.get("type") if isinstance(entry, dict) else None
    return f"{path}, expectation {position}" + (f" ({kind})" if isinstance(kind, str) else "")


def _check_shape(path: Path, *, position: int, entry: Any) -> None:
    """Checks that need no Great Expectations."""
    where = _where(path, position, entry)
    if not isinstance(entry, dict):
        raise SuiteError(
            f'{where}: is a {type(entry).__name__}, not an object: write {{"type": ..., "kwargs": {{...}}}}'
        )
    if "expectation_type" in entry:
        raise SuiteError(
            f"{where}: 'expectation_type' is how Great Expectations before 1.0 wrote it: rename the key to 'type'"
        )
    if not isinstance(entry.get("type"), str):
        raise SuiteError(f"{where}: has no 'type': name one, for instance \"expect_column_values_to_not_be_null\"")
    for key, default in (("kwargs", None), ("meta", {})):
        if not isinstance(entry.get(key, default) if key == "kwargs" else (entry.get(key) or {}), dict):
            raise SuiteError(f'{where}: {key!r} must be an object: write {{"{key}": {{...}}}}')
    _refuse_vacuous(where, type_=entry["type"], kwargs=entry["kwargs"])


def _refuse_vacuous(where: str, *, type_: str, kwargs: Mapping[str, Any]) -> None:
    """Refuse rules that nothing can break, which Great Expectations takes without a word."""
    if any(isinstance(value, dict) and "$PARAMETER" in value for value in kwargs.values()):
        raise SuiteError(f"{where}: holds a $PARAMETER, which no run fills in: write the value itself")
    if (
        type_.endswith("_to_be_between")
        and "quantile" not in type_
        and kwargs.get("min_value") is None
        and kwargs.get("max_value") is None
    ):
        raise SuiteError(f"{where}: states no bound, so everything passes: give 'min_value', 'max_value' or both")
    if "value_set" in kwargs and not kwargs["value_set"]:
        raise SuiteError(f"{where}: 'value_set' is empty: list the values")
    mostly = kwargs.get("mostly")
    if isinstance(mostly, int | float) and not 0 < mostly <= 1:
        raise SuiteError(f"{where}: mostly={mostly} is no share: give a number above 0 and at most 1")
    for pattern in [kwargs.get("regex"), *(kwargs.get("regex_list") or [])]:
        _check_pattern(where, pattern)


def _check_pattern(where: str, pattern: Any) -> None:
    if isinstance(pattern, str):
        try:
            re.compile(pattern)
        except re.error as error:
            raise SuiteError(f"{where}: {pattern!r} is no regular expression ({error}): correct it") from None


def _severity(where: str, *, entry: Mapping[str, Any], is_row_rule: bool) -> Severity:
    """
    What a failure means: the suite's `meta.severity`, else Great Expectations' own `severity`, else by
    kind of rule.
    """
    stated = (entry.get("meta") or {}).get("severity")
    if stated is None:
        if entry.get("severity") in ("warning", "info"):
            return "warn"
        return "quarantine" if is_row_rule else "stop"
    if stated not in SEVERITIES:
        raise SuiteError(f"{where}: meta.severity={stated!r} is unknown: write one of {', '.join(SEVERITIES)}")
    if stated == "quarantine" and not is_row_rule:
        raise SuiteError(
            f"{where}: judges the table as a whole, so it has no rows to quarantine: set meta.severity to 'stop' or "
            "'warn'"
        )
    return SEVERITIES[SEVERITIES.index(stated)]


def _refuse_twins(path: Path, rules: list[Rule]) -> None:
    seen: dict[str, int] = {}
    for rule in rules:
        content = json.dumps([rule.type, rule.kwargs], sort_keys=True)
        if content in seen:
            raise SuiteError(
                f"{path}, expectation {rule.position} ({rule.type}): repeats expectation {seen[content]}: remove one"
            )
        seen[content] = rule.position
