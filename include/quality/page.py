"""
One validation as a page: what became of the rows, and Great Expectations' own account of each rule.

The page needs nothing but itself: Great Expectations' page template fetches its looks from six other hosts, so that
only its sections are taken. It shows counts, shares and names, never a value of a row: rows may hold personal data, and
a page outlives the table's retention.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from typing import Any

import pyarrow.compute as pc

from include.quality.expectations import RuleResult
from include.quality.gx import (
    ExpectationSuiteValidationResult,
    ExpectationValidationResult,
    new_page_renderer,
    new_section_view,
)
from include.quality.page_style import frame_page
from include.quality.split import Split
from include.quality.split_files import DUPLICATE, PUBLISHED, QUARANTINED

# What a result may show of its rows: counts and shares.
_COUNTS = ("element_count", "unexpected_count", "missing_count")
_SHARES = ("unexpected_percent", "missing_percent", "unexpected_percent_total", "unexpected_percent_nonmissing")
_MAX_REASONS = 40
# Great Expectations' sections that say what our own head says, with links to pages that are not written.
_LEFT_OUT = frozenset({"Overview", "Run Info", None})


@dataclass(frozen=True, kw_only=True)
class Account:
    """What a page tells: of which run, what became of each row, what stops the partition, what else to know."""

    workflow_name: str
    partition_key: str
    run_id: str
    suite_name: str
    split: Split
    stops: Sequence[str]
    notes: Sequence[str]
    written_at: datetime


def render_page(account: Account) -> str:
    """Write one validation's page: a whole HTML document without scripts, links to other hosts, or values of rows."""
    title = html.escape(f"{account.workflow_name} {account.partition_key}")
    facts = f"Run {account.run_id} · suite {account.suite_name} · {account.written_at:%Y-%m-%d %H:%M} UTC"
    parts = [
        f"<h1>{title}</h1><p class='facts'>{html.escape(facts)} · <a href='../index.html'>all validations</a></p>",
        _verdict(account.stops),
        _outcomes(account.split),
        _list("Notes", account.notes),
        _broken_rules(account.split.results),
        _reasons(account.split),
        *_sections(account.split.results, suite_name=account.suite_name),
        _list(
            "Why the suite asks",
            [result.rule.reason for result in account.split.results if result.rule.meta.get("reason")],
        ),
    ]
    return frame_page(title, "\n".join(parts))


def _verdict(stops: Sequence[str]) -> str:
    if not stops:
        return "<p class='verdict good'>Accepted: what keeps the rules is published.</p>"
    return f"<div class='verdict bad'>Stopped: nothing of it is published.<ul>{_items(stops)}</ul></div>"


def _outcomes(split: Split) -> str:
    counts = [(name, split.count(outcome)) for name, outcome in _OUTCOMES]
    n_rows = split.table.num_rows
    cells = "".join(
        f"<div><b>{count:,}</b><span>{name}, {count / max(n_rows, 1):.1%}</span></div>" for name, count in counts
    )
    return f"<div class='outcomes'><div><b>{n_rows:,}</b><span>rows in</span></div>{cells}</div>"


_OUTCOMES = (("accepted", PUBLISHED), ("quarantined", QUARANTINED), ("duplicates", DUPLICATE))


def _items(lines: Sequence[str]) -> str:
    return "".join(f"<li>{html.escape(line)}</li>" for line in lines)


def _list(title: str, lines: Sequence[str]) -> str:
    return f"<h2>{title}</h2><ul>{_items(lines)}</ul>" if lines else ""


def _broken_rules(results: Sequence[RuleResult]) -> str:
    """List the rules that do not hold: what each one's failure means, and how many rows it is about."""
    lines = [
        f"<tr><td>{html.escape(result.rule.reason)}</td><td>{_meaning(result)}</td><td "
        f"class='number'>{len(result.failing) or ''}</td></tr>"
        for result in results
        if not result.is_met
    ]
    head = "<tr><th>Rule that does not hold</th><th>Severity</th><th>Rows</th></tr>"
    return f"<table class='table broken'><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>" if lines else ""


def _reasons(split: Split) -> str:
    """List why rows are in quarantine: also what the source found wrong with them, which is no rule of the suite."""
    counted = pc.value_counts(pc.list_flatten(split.table.column("reasons"))).to_pylist()
    counted.sort(key=lambda reason: (-reason["counts"], reason["values"]))
    lines = [
        f"<tr><td>{html.escape(reason['values'])}</td><td class='number'>{reason['counts']:,}</td></tr>"
        for reason in counted[:_MAX_REASONS]
    ]
    if len(counted) > _MAX_REASONS:
        lines.append(f"<tr><td>… and {len(counted) - _MAX_REASONS} more</td><td></td></tr>")
    head = "<tr><th>Reason of quarantine (a row may have several)</th><th class='number'>Rows</th></tr>"
    return f"<table class='table reasons'><thead>{head}</thead><tbody>{''.join(lines)}</tbody></table>" if lines else ""


def _meaning(result: RuleResult) -> str:
    return "could not be run" if result.error else result.rule.severity if result.is_judged else "not judged"


@cache
def renderers() -> tuple[Any, Any]:
    """
    Great Expectations' renderer of a page and its template of a section, made once a process.

    The scheduler calls it before it forks its tasks: to compile the templates takes longer than all else of a small
    partition's page.
    """
    return new_page_renderer(), new_section_view()


def _sections(results: Sequence[RuleResult], *, suite_name: str) -> list[str]:
    """Great Expectations' sections: one of the table's rules, one a column."""
    renderer, view = renderers()
    shown = ExpectationSuiteValidationResult(
        success=all(result.is_met for result in results),
        results=[_without_values(result) for result in results],
        suite_name=suite_name,
        # Its own overview, which is left out, would show them.
        statistics=dict.fromkeys(
            ("evaluated_expectations", "successful_expectations", "unsuccessful_expectations", "success_percent"), 0
        ),
        meta={"run_id": {"run_name": "", "run_time": "2000-01-01T00:00:00+00:00"}, "batch_spec": {}},
    )
    sections = [
        section
        for section in renderer.render(shown).to_json_dict()["sections"]
        if section.get("section_name") not in _LEFT_OUT
    ]
    return [
        str(view.render({"section": section, "section_loop": {"index": number}})).replace("data-toggle=", "data-was=")
        for number, section in enumerate(sections, start=1)
    ]


def _without_values(result: RuleResult) -> ExpectationValidationResult:
    """Copy a result without what may quote a row: samples, extremes, frequent values, texts of exceptions."""
    found = result.raw.result or {}
    # A count of distinct values, without a share of rows, is more than the page can render.
    kept = {key: found[key] for key in (*_COUNTS, *_SHARES) if result.rule.is_row_rule and key in found}
    if _is_figure(result):
        kept["observed_value"] = found["observed_value"]
    error = result.error
    info = {"raised_exception": error is not None, "exception_message": error, "exception_traceback": error}
    return ExpectationValidationResult(
        success=result.is_met, expectation_config=result.raw.expectation_config, result=kept, exception_info=info
    )


def _is_figure(result: RuleResult) -> bool:
    """Whether the observed value is a figure of the table, a type or a list of columns, and not some row's value."""
    kind, value = result.rule.type, (result.raw.result or {}).get("observed_value")
    if value is None or (result.rule.is_row_rule and not kind.endswith(("_of_type", "_type_list"))):
        return False
    is_figure = any(word in kind for word in ("count", "proportion", "mean", "stdev", "type"))
    return result.rule.is_own or kind.startswith("expect_table_") or is_figure
