"""The step of `watch_runs`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from include.errors import AlertError
from include.workflow import Workflow
from updraft.hooks.runs import count_failures, failed_runs, is_paused, is_successful
from updraft.notifiers.outcomes import tell

if TYPE_CHECKING:
    from include.alerts.outbox import DeliveryCounts
    from include.lake.store import Lake

STEPS = ("ingest", "train", "deploy", "monitor")
# A failure that is older was told when it was new, or happened before anybody watched.
NEWS = timedelta(days=1)
# Counts can hide a change (one run cleared, another failed): so often a round looks at every run all the same.
FULL_LOOK_MINUTES = 10


class WatchRunsOperator(BaseOperator):
    """
    One round: find failed runs and missing partitions that nobody has recorded, close what is mended, send what is not
    sent.

    :param workflows: the declarations to watch; by default, all of `include/workflows`
    """

    def __init__(self, *, workflows: Sequence[Workflow] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflows = workflows

    def execute(self, context: Any) -> dict[str, int]:
        """
        Watch each workflow that tells somebody; the result counts the messages. The trouble of one keeps no other from
        being watched.
        """
        from include.workflows import declared_workflows

        counts, troubled = {"sent": 0, "failed": 0, "waiting": 0}, []
        for workflow in declared_workflows() if self.workflows is None else self.workflows:
            if not workflow.alerts:
                continue
            try:
                told = self._watch(workflow)
            except Exception:
                self.log.exception("The round of %s is not complete", workflow.name)
                troubled.append(workflow.name)
                continue
            counts = {name: n + getattr(told, name) for name, n in counts.items()}
            troubled += [workflow.name] * bool(told.failed)
        if troubled:
            raise AlertError(
                f"not all of {', '.join(troubled)} was told: the log above names the channel and the cause; it is "
                "tried again"
            )
        return counts

    def _watch(self, workflow: Workflow) -> DeliveryCounts:
        from include.alerts.missing import record_missing
        from include.lake.store import open_lake

        lake, now = open_lake(), datetime.now(UTC)
        for step in STEPS:
            self._record_failures(workflow, f"{workflow.name}.{step}", lake=lake, now=now)
        self._close_mended(workflow, lake=lake)
        if not is_paused(f"{workflow.name}.ingest"):
            record_missing(lake, workflow, now=now)
        return tell(workflow, is_round=True)

    def _record_failures(self, workflow: Workflow, dag_id: str, *, lake: Lake, now: datetime) -> None:
        from include.alerts.failures import record_run_failure
        from include.settings import read_settings

        n_runs, n_tasks = count_failures(dag_id)
        memory = read_settings().home / "watch" / f"{dag_id}.json"
        # All runs are a long list: it is read again when the counts have changed.
        seen = [n_runs, n_tasks, int(now.timestamp()) // (60 * FULL_LOOK_MINUTES)]
        if not (n_runs or n_tasks) or (memory.is_file() and json.loads(memory.read_text(encoding="utf-8")) == seen):
            return
        for facts, states in failed_runs(dag_id, n_failed=n_runs):
            if facts.ended_at is None or facts.ended_at > now - NEWS:
                record_run_failure(lake, workflow, facts, task_states=states)
        memory.parent.mkdir(parents=True, exist_ok=True)
        memory.write_text(json.dumps(seen), encoding="utf-8")

    def _close_mended(self, workflow: Workflow, *, lake: Lake) -> None:
        from include.alerts.failures import RUN_KINDS, close_all
        from include.lake.incidents import open_incidents
        from include.lake.ledger import latest_run

        for incident in open_incidents(lake, workflow=workflow.name):
            if incident.kind not in RUN_KINDS:
                continue
            origin = incident.origin
            published = (
                latest_run(lake, workflow.name, incident.partition_key)
                if incident.subject.startswith("ingest")
                else None
            )
            is_published = published is not None and published.recorded_at > incident.opened_at
            if is_published or (origin.run_id and is_successful(origin.dag_id, origin.run_id)):
                close_all(lake, [incident])
