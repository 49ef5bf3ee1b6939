"""
Incidents of runs: what a failed task said, what a killed one could not say, and that a run has succeeded.

A task that fails by an exception records it itself, with its cause. What the run's end or a round of the watchdog finds
failed without such a record was killed, or lost with its worker: it had no moment to say so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePath
from typing import Any

from include.errors import ContractViolationError, PartitionError, UpdraftError
from include.lake.incidents import Incident, Origin, close_incident, open_incident, read_incidents
from include.lake.store import Lake
from include.workflow import Workflow
from include.workflow.partitions import Every, window_of_key, window_of_moment

# Opened and closed here. Others ("missing_readings", "dead_letters") are closed by who opened them.
RUN_KINDS = frozenset({"failed_task", "failed_validation", "failed_run", "lost_task", "missing_data"})
MAX_SUMMARY = 1500
_MAPPED = re.compile(r"_\d+$")


@dataclass(frozen=True, kw_only=True)
class RunFacts:
    """What Airflow knows of a run. `step` is what follows the workflow's name in the Dag's id."""

    dag_id: str
    run_id: str
    partition_key: str | None
    conf: Mapping[str, Any]
    run_after: datetime | None
    ended_at: datetime | None = None

    @property
    def step(self) -> str:
        """Which of the workflow's Dags."""
        return self.dag_id.rpartition(".")[2]


def partition_of_run(workflow: Workflow, run: RunFacts) -> str:
    """
    Return the key of the partition that a run worked on; empty for a step that has none, or where the key is none.

    A training or a deployment that succeeds makes up for the one before, whatever its period: they have one incident
    between them.
    """
    steps: dict[str, Every] = {"ingest": workflow.partition.every, "monitor": workflow.monitoring.every}
    if run.step not in steps:
        return ""
    every = steps[run.step]
    try:
        if key := run.partition_key or run.conf.get("partition"):
            return window_of_key(every, str(key)).key
        if run.run_after is None:
            return ""
        current = window_of_moment(every, run.run_after)
        return window_of_moment(every, current.start - timedelta(microseconds=1)).key
    except PartitionError:
        return ""


def record_task_failure(
    lake: Lake, workflow: Workflow, run: RunFacts, *, task_id: str, error: BaseException, triage: str = ""
) -> str:
    """Open the incident of a task that failed by an exception; return its id. `triage` says what to do."""
    kind, counts, details = "failed_task", dict[str, int](), dict[str, Any]()
    if isinstance(error, ContractViolationError):
        kind, counts, details = "failed_validation", error.counts, {"reasons": error.reasons, "samples": error.samples}
        if error.page:
            details["page"] = "/".join(PurePath(error.page).parts[-2:])  # as the web UI names it
    if triage:
        details["triage"] = triage
    return _open(
        lake, workflow, run, kind=kind, task_id=task_id, summary=_summary_of(error), counts=counts, details=details
    )


def record_task_loss(lake: Lake, workflow: Workflow, run: RunFacts, *, task_id: str, is_retried: bool) -> str | None:
    """
    Open the incident of a task that ended without saying why; return its id, or None where an incident tells of this
    failure already.

    `is_retried` says whether Airflow tries the task again.
    """
    if any(_covers(i, run) for i in _known(lake, workflow, run) if i.subject == f"{run.step}.{task_id}"):
        return None
    then = "Airflow tries it again by itself" if is_retried else "clear the task to run it again"
    summary = (
        f"Task {task_id} ended without an error of its own: its process was killed (out of memory, kill -9), its "
        f"worker was lost, or a person marked it as failed. No partition is half published; {then}."
    )
    return _open(lake, workflow, run, kind="lost_task", task_id=task_id, summary=summary)


def record_run_failure(
    lake: Lake, workflow: Workflow, run: RunFacts, *, task_states: Mapping[str, str], reason: str = ""
) -> None:
    """
    Open an incident for each failed task of a run that has none yet.

    Parameters
    ----------
    lake, workflow, run
        Whose run, and what is known of it.
    task_states : mapping of str to str
        The states of the run's tasks; a mapped task as `name_index`.
    reason : str, optional
        Airflow's own word for why the run ended, for instance "timed_out".

    """
    failed = sorted({_MAPPED.sub("", task) for task, state in task_states.items() if state == "failed"})
    for task_id in failed:
        record_task_loss(lake, workflow, run, task_id=task_id, is_retried=False)
    if not failed and not any(_covers(i, run) for i in _known(lake, workflow, run)):
        why = reason or "no reason given"
        summary = f"The run failed although none of its tasks did ({why}): it took too long, or was ended by a person."
        _open(lake, workflow, run, kind="failed_run", task_id="", summary=summary)


def record_run_success(lake: Lake, workflow: Workflow, run: RunFacts) -> int:
    """
    Close what a successful run has mended: the incidents of its step and partition; return how many.

    And those of its step whose key is none: a run that asked for what does not exist leaves nothing to mend.
    """
    return close_all(lake, [i for i in _known(lake, workflow, run, "") if i.is_open])


def close_all(lake: Lake, incidents: Iterable[Incident]) -> int:
    """Close incidents; return how many were open."""
    return sum(
        close_incident(lake, workflow=i.workflow, partition_key=i.partition_key, kind=i.kind, subject=i.subject)
        for i in incidents
    )


def _known(lake: Lake, workflow: Workflow, run: RunFacts, *more: str) -> list[Incident]:
    """The incidents, open and closed, of a run's step and of its partition, or of some more keys."""
    keys = {partition_of_run(workflow, run), *more}
    found = [i for i in read_incidents(lake, workflow=workflow.name) if i.kind in RUN_KINDS and i.partition_key in keys]
    return [i for i in found if i.subject.split(".")[0] == run.step]


def _covers(incident: Incident, run: RunFacts) -> bool:
    """Whether a failure is told by an incident: one that is open, or one that ended after the failed run had."""
    if incident.closed_at is None:
        return True
    return run.ended_at is not None and incident.closed_at >= run.ended_at


def _open(lake: Lake, workflow: Workflow, run: RunFacts, *, kind: str, task_id: str, summary: str, **known: Any) -> str:
    return open_incident(
        lake,
        workflow=workflow.name,
        partition_key=partition_of_run(workflow, run),
        kind=kind,
        subject=f"{run.step}.{task_id}" if task_id else run.step,
        summary=summary,
        origin=Origin(dag_id=run.dag_id, run_id=run.run_id, task_id=task_id),
        **{"counts": {}, **known},
    )


def _summary_of(error: BaseException) -> str:
    """
    The message of an error of ours, which holds no value; of any other only its class: its text could quote a row or a
    password.
    """
    if isinstance(error, ContractViolationError):
        return error.message[:MAX_SUMMARY]
    if isinstance(error, UpdraftError):
        return f"{type(error).__name__}: {error}"[:MAX_SUMMARY]
    return f"The task failed with {type(error).__name__}: its log tells more."
