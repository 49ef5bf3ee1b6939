"""Run a suite's rules on a frame: which hold, and which rows break each, all of them and not a sample."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

import numpy as np
import pandas as pd

from include.errors import SuiteError
from include.quality.gx import (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    ExpectationConfiguration,
    ExpectationNotFoundError,
    ExpectationValidationResult,
    MulticolumnMapExpectation,
    list_registered_expectation_implementations,
    validate,
)
from include.quality.own_expectations import OWN_EXPECTATIONS
from include.quality.suite import Rule

_ROW_RULES = (
    ColumnMapExpectation,
    ColumnPairMapExpectation,
    MulticolumnMapExpectation,
    *(expectation for expectation in OWN_EXPECTATIONS if expectation.judges_rows),
)
# Every failing row's position, and none of its values.
_RESULT_FORMAT = {
    "result_format": "COMPLETE",
    "exclude_unexpected_values": True,
    "return_unexpected_index_query": False,
    "partial_unexpected_count": 0,
}
_MAX_PROBLEMS = 4


@dataclass(frozen=True, kw_only=True)
class RuleResult:
    """
    What one rule said of a frame.

    `failing` holds the positions of the rows that break the rule, ascending, shape (n_failing,); a rule that judges the
    table as a whole has none. `is_met` is Great Expectations' own verdict, which knows `mostly`. `error` names the kind
    of exception that kept the rule from judging. A rule that looks back judges nothing where there is too little to
    look back on: `is_judged` is False then. What it measured it has `said`, in figures.
    """

    rule: Rule
    is_met: bool
    failing: np.ndarray
    n_judged: int | None
    error: str | None
    raw: ExpectationValidationResult
    is_judged: bool = True
    said: str = ""


def check_expectation(where: str, *, type_: str, kwargs: Mapping[str, Any]) -> bool:
    """
    Check one expectation as Great Expectations reads it, and tell whether it judges rows one by one.

    Raises
    ------
    SuiteError
        If the type is unknown, or an argument is missing, misspelt or of the wrong kind.

    """
    known = list_registered_expectation_implementations()
    if type_ not in known:
        close = _closest(type_, known)
        hint = (
            f"did you mean {close!r}?"
            if close
            else "see https://greatexpectations.io/expectations for those that exist"
        )
        raise SuiteError(f"{where}: Great Expectations has no such expectation: {hint}")
    try:
        expectation = ExpectationConfiguration(type=type_, kwargs=dict(kwargs)).to_domain_obj()
    except ExpectationNotFoundError:
        raise SuiteError(f"{where}: Great Expectations has no such expectation: correct its type") from None
    except Exception as error:
        raise SuiteError(f"{where}: {_explain(type_, error)}") from None
    return isinstance(expectation, _ROW_RULES)


def _closest(type_: str, known: Sequence[str]) -> str | None:
    """
    Of the types that read alike, the one with the same words: letters alone would take "not_to_be_null" for
    "to_be_null".
    """
    words = set(type_.split("_"))
    alike = get_close_matches(type_, known, n=5, cutoff=0.5)
    return min(alike, key=lambda name: len(words ^ set(name.split("_"))), default=None)


def _explain(type_: str, error: Exception) -> str:
    """Say in a line what Great Expectations has against the arguments."""
    problems = error.errors() if hasattr(error, "errors") else []
    if not problems:
        return f"Great Expectations refuses its arguments ({type(error).__name__}): correct 'kwargs'"
    # An argument of several possible types draws a complaint for each of them: one will do.
    by_argument = {problem["loc"][0]: problem for problem in reversed(problems)}
    lines = [_explain_one(type_, problem) for problem in reversed(by_argument.values())]
    return "; ".join(lines[:_MAX_PROBLEMS])


def _explain_one(type_: str, problem: Mapping[str, Any]) -> str:
    name, message = str(problem["loc"][0]), str(problem["msg"])
    if problem["type"] == "value_error.extra":
        arguments = _arguments(type_)
        close = get_close_matches(name, arguments, n=1)
        return f"the argument {name!r} is unknown: " + (
            f"did you mean {close[0]!r}?" if close else f"known are {', '.join(arguments)}"
        )
    if problem["type"] == "value_error.missing":
        return f"the argument {name!r} is missing: add it to 'kwargs'"
    if name == "__root__":
        return f"{message}: correct 'kwargs'"
    return f"the argument {name!r} is wrong ({message}): correct it"


def _arguments(type_: str) -> list[str]:
    from great_expectations.expectations.registry import get_expectation_impl  # only an error message needs it

    internal = {
        "id",
        "meta",
        "notes",
        "rendered_content",
        "version",
        "batch_id",
        "result_format",
        "catch_exceptions",
        "windows",
    }
    return sorted(set(get_expectation_impl(type_).__fields__) - internal)


def run_rules(rules: Sequence[Rule], frame: pd.DataFrame) -> list[RuleResult]:
    """
    Run Great Expectations' rules on a frame.

    Parameters
    ----------
    rules : sequence of Rule
        Of a checked suite, none of them Updraft's own (`own_rules.run_own_rules`).
    frame : DataFrame of shape (n_rows, n_columns)
        With the index 0, 1, ... n_rows - 1.

    Returns
    -------
    list of RuleResult
        One a rule, in their order. A rule that could not be run is there too, with an `error`.

    """
    configurations = [
        ExpectationConfiguration(type=rule.type, kwargs=dict(rule.kwargs), meta=rule.shown_meta, id=str(rule.position))
        for rule in rules
    ]
    answers = validate(frame, configurations, {"result_format": _RESULT_FORMAT, "catch_exceptions": True})
    by_position = {answer.expectation_config.id: answer for answer in answers}
    return [_read(rule, by_position[str(rule.position)], n_rows=len(frame)) for rule in rules]


def _read(rule: Rule, answer: ExpectationValidationResult, *, n_rows: int) -> RuleResult:
    result = answer.result or {}
    failing = np.sort(np.asarray(result.get("unexpected_index_list", ()), dtype=np.int64))
    error = _error_of(answer)
    if error is None and rule.is_row_rule:
        error = _disagreement(result, failing=failing, is_met=bool(answer.success), n_rows=n_rows)
    judged = result.get("element_count")
    missing = result.get("missing_count") or 0
    n_judged = None if judged is None else int(judged) - int(missing)
    return RuleResult(
        rule=rule,
        is_met=bool(answer.success) and error is None,
        failing=failing,
        n_judged=n_judged,
        error=error,
        raw=answer,
    )


def _disagreement(result: Mapping[str, Any], *, failing: np.ndarray, is_met: bool, n_rows: int) -> str | None:
    """Guard the claim that `failing` is complete: the count is Great Expectations' own and comes by another way."""
    counted = result.get("unexpected_count")
    if counted is None:
        # A check of a column's type answers for the column as a whole; RuleResult.is_met says how.
        return None
    if counted != len(failing) or (len(failing) and not 0 <= failing[0] <= failing[-1] < n_rows):
        return "IncompleteResult"
    return None


def _error_of(answer: ExpectationValidationResult) -> str | None:
    """Kind of exception that a rule met. Its text stays out: it may quote values of rows."""
    info = answer.exception_info or {}
    reports = [info] if "raised_exception" in info else list(info.values())
    for report in reports:
        if report and _value(report, "raised_exception"):
            return _kind(str(_value(report, "exception_traceback") or ""))
    return None


def _value(report: Any, key: str) -> Any:
    return report.get(key) if isinstance(report, Mapping) else getattr(report, key, None)


def _kind(traceback: str) -> str:
    """Name of the exception that began it all: the first one that a traceback names at a line's start."""
    for line in traceback.splitlines():
        name = line.split(":")[0]
        if name.replace(".", "").isidentifier():
            return name.rsplit(".", 1)[-1]
    return "Exception"
