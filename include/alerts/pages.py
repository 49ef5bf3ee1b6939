"""
How a letter looks: plain text, and HTML that mail programs understand (tables, inline styles, no image, nothing from
elsewhere).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape

from include.lake.incidents import Incident

# What each count is called, in this order; what has no name here follows, as it is written.
COUNT_NAMES = {
    "rows_in": "rows in",
    "rows_published": "published",
    "rows_quarantined": "quarantined",
    "rows_refused": "break a rule",
    "rows_duplicate": "duplicates",
}
LINK_NAMES = {
    "run": "Open the run in Airflow",
    "quarantine": "Open the quarantine",
    "page": "Open the validation's page",
    "report": "Open the window's report",
}
# A storm of hundreds of incidents stays one page.
MAX_LISTED = 100

RED, GREEN = "#b42318", "#067647"
_PAGE = (
    "margin:0;padding:24px;background:#f2f4f7;font:15px/1.5 -apple-system,'Segoe "
    "UI',Roboto,Helvetica,Arial,sans-serif;color:#101828"
)
_CARD = "max-width:680px;margin:0 auto;background:#ffffff;border:1px solid #e4e7ec;border-radius:8px"
_CELL = "padding:3px 12px 3px 0;text-align:left;vertical-align:top;font-size:14px"
_SMALL = "color:#475467;font-size:13px"
# A long name may break anywhere: a table that is wider than the page is cut off by mail programs.
_MONO = "font:12px/1.5 ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere;word-break:break-word"


@dataclass(frozen=True, kw_only=True)
class Story:
    """One incident, ready to be written: everything in it is text that may be shown."""

    title: str
    links: Mapping[str, str]
    incident: Incident

    @property
    def reasons(self) -> Sequence[tuple[str, int]]:
        """The most frequent reasons, with the number of rows that each refused."""
        return [(str(reason), int(n)) for reason, n in self.incident.details.get("reasons", ())]

    @property
    def samples(self) -> Sequence[Mapping[str, str]]:
        """A few refused rows by the shape of their values."""
        samples: Sequence[Mapping[str, str]] = self.incident.details.get("samples", ())
        return samples

    @property
    def triage(self) -> str:
        """What to do."""
        return str(self.incident.details.get("triage", ""))


def write_text(subject: str, stories: Sequence[Story], *, is_recovery: bool) -> str:
    """Write a letter's plain text."""
    if len(stories) > 1:
        return "\n".join(
            [
                subject,
                "",
                *(f"- {_line(story)}" for story in stories[:MAX_LISTED]),
                *_more(stories),
                "",
                *_example(stories),
            ]
        )
    return "\n".join([subject, "", *_text_of(stories[0], is_recovery=is_recovery)]) + "\n"


def _text_of(story: Story, *, is_recovery: bool) -> list[str]:
    lines = [*(f"{name}: {value}" for name, value in _facts(story)), "", story.incident.summary, ""]
    if not is_recovery:
        if story.reasons:
            lines += ["Most frequent reasons:", *(f"  {n:>8,}  {reason}" for reason, n in story.reasons), ""]
        for number, row in enumerate(story.samples, start=1):
            lines += [
                f"Refused row {number} (values masked):",
                *(f"  {name}: {value}" for name, value in row.items()),
                "",
            ]
        lines += [f"What to do: {story.triage}", ""] if story.triage else []
    return [*lines, *(f"{LINK_NAMES.get(name, name)}: {url}" for name, url in story.links.items())]


def _facts(story: Story) -> list[tuple[str, str]]:
    incident = story.incident
    ordered = sorted(incident.counts.items(), key=lambda count: (*COUNT_NAMES, count[0]).index(count[0]))
    counts = ", ".join(f"{n:,} {COUNT_NAMES.get(name, name.replace('_', ' '))}" for name, n in ordered)
    facts = {
        "Workflow": incident.workflow,
        "Partition": incident.partition_key,
        "What": f"{story.title} ({incident.subject})",
        "Since": _moment(incident.opened_at),
        "Over since": "" if incident.closed_at is None else _moment(incident.closed_at),
        "Rows": counts,
    }
    return [(name, value) for name, value in facts.items() if value]


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _line(story: Story) -> str:
    partition = story.incident.partition_key
    return f"{f'{partition}: ' if partition else ''}{story.title} ({story.incident.subject})"


def _more(stories: Sequence[Story]) -> list[str]:
    return [f"… and {len(stories) - MAX_LISTED} more"] if len(stories) > MAX_LISTED else []


def _example(stories: Sequence[Story]) -> list[str]:
    return ["The first of them:", "", *_text_of(stories[0], is_recovery=stories[0].incident.closed_at is not None)]


def write_html(subject: str, stories: Sequence[Story], *, is_recovery: bool) -> str:
    """Write a letter's HTML."""
    colour = GREEN if is_recovery else RED
    heading = subject.removeprefix("[Updraft] ")
    parts = [f'<h1 style="margin:0;padding:20px 24px 4px;font-size:20px;color:{colour}">{escape(heading)}</h1>']
    if len(stories) > 1:
        listed = "".join(f"<li>{escape(_line(story))}</li>" for story in stories[:MAX_LISTED])
        parts.append(
            '<ul style="margin:12px '
            f'24px;padding-left:20px">{listed}{"".join(f"<li>{more}</li>" for more in _more(stories))}</ul>'
        )
        parts.append(f'<p style="margin:12px 24px 0;{_SMALL}">The first of them:</p>')
    parts.append(_html_of(stories[0], is_recovery=is_recovery))
    return (
        f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{escape(subject)}</title></head>'
        f'<body style="{_PAGE}"><div style="{_CARD};border-top:4px solid {colour}">{"".join(parts)}</div></body></html>'
    )


def _html_of(story: Story, *, is_recovery: bool) -> str:
    parts = [_html_facts(story), f'<p style="margin:12px 0;white-space:pre-line">{escape(story.incident.summary)}</p>']
    if not is_recovery:
        parts += [_html_reasons(story), _html_samples(story)]
        if story.triage:
            parts.append(
                f'<p style="margin:12px 0;padding:10px 12px;background:#f9fafb;border-left:3px solid #98a2b3">'
                f"<b>What to do:</b> {escape(story.triage)}</p>"
            )
    links = [
        f'<a href="{escape(url, quote=True)}" style="color:#175cd3">{escape(LINK_NAMES.get(name, name))}</a>'
        for name, url in story.links.items()
    ]
    parts.append(f'<p style="margin:16px 0 0">{" &nbsp;·&nbsp; ".join(links)}</p>' if links else "")
    return f'<div style="padding:8px 24px 20px">{"".join(parts)}</div>'


def _html_facts(story: Story) -> str:
    rows = "".join(
        f'<tr><th style="{_CELL};{_SMALL};font-weight:normal">{escape(name)}</th><td '
        f'style="{_CELL}">{escape(value)}</td></tr>'
        for name, value in _facts(story)
    )
    return f'<table style="border-collapse:collapse">{rows}</table>'


def _html_reasons(story: Story) -> str:
    if not story.reasons:
        return ""
    rows = "".join(
        f'<tr><td style="{_CELL};text-align:right">{n:,}</td><td style="{_CELL}">{escape(reason)}</td></tr>'
        for reason, n in story.reasons
    )
    return (
        '<h2 style="margin:16px 0 4px;font-size:15px">Most frequent reasons</h2><table '
        f'style="border-collapse:collapse">{rows}</table>'
    )


def _html_samples(story: Story) -> str:
    if not story.samples:
        return ""
    # A row down, not across: a mail is narrow, and a row may have forty columns.
    heads = "".join(f'<th style="{_CELL};{_SMALL}">row {number}</th>' for number in range(1, len(story.samples) + 1))
    rows = "".join(
        f'<tr><th style="{_CELL};{_SMALL};font-weight:normal">{escape(name)}</th>'
        + "".join(f'<td style="{_CELL};{_MONO}">{escape(row.get(name, ""))}</td>' for row in story.samples)
        + "</tr>"
        for name in story.samples[0]
    )
    return (
        '<h2 style="margin:16px 0 4px;font-size:15px">Refused rows, their values masked</h2>'
        f'<table style="border-collapse:collapse;table-layout:fixed;width:100%"><tr><th></th>{heads}</tr>{rows}</table>'
    )
