"""A person is told of a change that lasts, once; and once more when it is over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import PurePath
from typing import Any

from include.lake.incidents import close_incident, last_incident, open_incident, open_incidents
from include.lake.records import MonitoringRecord
from include.lake.store import Lake
from include.monitoring.retraining import request_of

KINDS = {"inputs": "drift", "performance": "decay"}
WINDOW_END = "window_end"
TRIAGE = (
    "read the report: a source that is broken has to be mended there, and the partitions ingested again. If the world "
    "has changed, the training that was asked for may already have brought a better model: its run says so."
)


def record_change(lines: Sequence[MonitoringRecord], *, lake: Lake, report_uri: str) -> None:
    """
    Open an incident where drift or decay has lasted so long that a training is asked for; close those that are over.

    Over means that a later window is ok, whichever version answered it. A judgement that is made again changes nothing.

    Parameters
    ----------
    lines : sequence of MonitoringRecord
        What one judgement has found.
    lake
        Where incidents are recorded.
    report_uri
        Of the judged window.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended: retry.

    """
    for line in sorted(lines, key=lambda line: line.window_end):
        if line.verdict == "ok":
            _close(line, lake=lake)
        elif line.is_requested:
            _open(line, lake=lake, report_uri=report_uri)


def _close(line: MonitoringRecord, *, lake: Lake) -> None:
    for incident in open_incidents(lake, workflow=line.workflow):
        if incident.kind == KINDS[line.subject] and _window_end(incident.details) < line.window_end:
            close_incident(lake, workflow=line.workflow, partition_key="", kind=incident.kind, subject=incident.subject)


def _open(line: MonitoringRecord, *, lake: Lake, report_uri: str) -> None:
    request = request_of(line)
    if request is None:
        return
    kind, subject = KINDS[line.subject], f"version {line.model_version}"
    last = last_incident(lake, workflow=line.workflow, partition_key="", kind=kind, subject=subject)
    # A window that is judged again, after it was over, is no news.
    if last is not None and _window_end(last.details) >= line.window_end:
        return
    open_incident(
        lake,
        workflow=line.workflow,
        partition_key="",
        kind=kind,
        subject=subject,
        summary=f"{request.reason[0].upper()}{request.reason[1:]}. {line.request[0].upper()}{line.request[1:]}.",
        counts={"rows": line.n_rows},
        details={
            WINDOW_END: line.window_end.isoformat(),
            "report": PurePath(report_uri).name,
            "triage": TRIAGE,
        },
    )


def _window_end(details: Mapping[str, Any]) -> datetime:
    return datetime.fromisoformat(str(details[WINDOW_END]))
