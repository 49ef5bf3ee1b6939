"""From incidents to a letter: subject, plain text, HTML and the fields that a program reads."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from include.alerts.letter import Letter
from include.alerts.pages import Story, write_html, write_text
from include.lake.incidents import Incident

TITLES = {
    "failed_validation": "validation failed",
    "failed_task": "a task failed",
    "lost_task": "a task was killed or lost",
    "failed_run": "a run failed",
    "missing_data": "data is missing",
    "missing_readings": "readings are missing",
    "dead_letters": "unreadable input was set aside",
    "drift": "the data has drifted",
    "decay": "the model has become worse",
}


@dataclass(frozen=True, kw_only=True)
class Composer:
    """Writes letters. `base_url` is the address of Airflow's web UI."""

    base_url: str

    def __call__(self, incidents: Sequence[Incident], message: str) -> Letter:
        """Write the letter that tells of incidents. Its delivery id and attempt are the sender's to set."""
        is_recovery = message == "recovery"
        stories = [
            Story(title=title_of(incident.kind), links=self._links(incident), incident=incident)
            for incident in incidents
        ]
        subject = " ".join(_subject(stories, is_recovery=is_recovery).split())
        return Letter(
            delivery_id="",
            attempt=1,
            is_recovery=is_recovery,
            subject=subject,
            text=write_text(subject, stories, is_recovery=is_recovery),
            html=write_html(subject, stories, is_recovery=is_recovery),
            fields={
                "event": message,
                "workflow": incidents[0].workflow,
                "text": subject,
                "incidents": [_fields(story) for story in stories],
            },
        )

    def _links(self, incident: Incident) -> dict[str, str]:
        base, origin, links = self.base_url.rstrip("/"), incident.origin, {}
        if origin.run_id:
            task = f"/tasks/{quote(origin.task_id, safe='')}" if origin.task_id else ""
            links["run"] = f"{base}/dags/{quote(origin.dag_id, safe='')}/runs/{quote(origin.run_id, safe='')}{task}"
        # Of a day that never came the page has nothing to show, nor of the monitor's days.
        if incident.partition_key and incident.kind != "missing_data" and not incident.subject.startswith("monitor"):
            query = urlencode({"workflow": incident.workflow, "partition": incident.partition_key})
            links["quarantine"] = f"{base}/updraft/quarantine?{query}"
        if page := incident.details.get("page"):
            links["page"] = f"{base}/updraft/data_docs/{quote(incident.workflow, safe='')}/{quote(str(page))}"
        if report := incident.details.get("report"):
            query = urlencode({"workflow": incident.workflow, "file": str(report)})
            links["report"] = f"{base}/updraft/monitoring/report?{query}"
        return links


def title_of(kind: str) -> str:
    """A kind of incident in words."""
    return TITLES.get(kind, kind.replace("_", " "))


def _subject(stories: Sequence[Story], *, is_recovery: bool) -> str:
    incident = stories[0].incident
    prefix = f"[Updraft] {'Recovered: ' if is_recovery else ''}{incident.workflow}"
    if len(stories) == 1:
        return f"{prefix}{f' {incident.partition_key}' if incident.partition_key else ''}: {stories[0].title}"
    kinds = Counter(story.title for story in stories).most_common()
    return f"{prefix}: {len(stories)} incidents ({', '.join(f'{n} × {title}' for title, n in kinds)})"


def _fields(story: Story) -> dict[str, Any]:
    incident = story.incident
    return {
        "id": incident.incident_id,
        "kind": incident.kind,
        "partition_key": incident.partition_key,
        "subject": incident.subject,
        "title": story.title,
        "summary": incident.summary,
        "counts": dict(incident.counts),
        "reasons": [{"reason": reason, "rows": n} for reason, n in story.reasons],
        "sample_rows": [dict(row) for row in story.samples],
        "opened_at": incident.opened_at.isoformat(timespec="seconds"),
        "closed_at": None if incident.closed_at is None else incident.closed_at.isoformat(timespec="seconds"),
        "links": dict(story.links),
        "triage": story.triage,
    }
