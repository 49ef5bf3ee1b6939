"""
Notifiers of the end of a task and of a run.

A task's own callback runs in its process, with the exception at hand: it records the cause. If the process is killed,
the scheduler may have it called in the Dag processor, without an exception, never, or twice
(https://github.com/apache/airflow/issues/60858, https://github.com/apache/airflow/issues/65400). The Dag's callbacks
run in the Dag processor whatever became of the task: they record what is not recorded yet. The watchdog (`watch_runs`)
makes up for all of them. Who comes second finds the incident open, and the message claimed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseNotifier
from airflow.sdk.configuration import conf

from include.workflow import Workflow
from updraft.hooks.channels import channel_of
from updraft.hooks.runs import facts_of_run, task_states

if TYPE_CHECKING:
    from include.alerts.outbox import DeliveryCounts


def tell(workflow: Workflow, *, is_round: bool = False) -> DeliveryCounts:
    """
    Send what is due of a workflow's incidents to the connections that it declares.

    :param workflow: the declaration
    :param is_round: whether this is a round of the watchdog
    """
    from include.alerts.composition import Composer
    from include.alerts.outbox import Outbox
    from include.lake.store import open_lake

    return Outbox(
        lake=open_lake(),
        workflow_name=workflow.name,
        channels=workflow.alerts,
        open_channel=channel_of,
        compose=Composer(base_url=conf.get("api", "base_url", fallback="http://localhost:8080")),
        is_round=is_round,
    ).deliver()


class WorkflowNotifier(BaseNotifier):
    """
    A notifier that belongs to a workflow, or to that of several which the run's form names.

    :param workflow: the declaration
    :param among: the declarations that the form offers, where there is no single one
    """

    def __init__(self, *, workflow: Workflow | None = None, among: Sequence[Workflow] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.workflow = workflow
        self.among = among

    def notify(self, context: Any) -> None:
        """Tell those whom the workflow names, if it names any."""
        named = (context["dag_run"].conf or {}).get("workflow")
        workflow = self.workflow or next((workflow for workflow in self.among if workflow.name == named), None)
        if workflow is not None and workflow.alerts:
            self.tell_of(workflow, context)

    def tell_of(self, workflow: Workflow, context: Any) -> None:
        """Record what happened, then send."""
        raise NotImplementedError


def task_callbacks(**whose: Any) -> dict[str, WorkflowNotifier]:
    """
    What tells of a task: arguments of an operator, or default ones of a Dag.

    :param whose: `workflow` or `among`, as `WorkflowNotifier` takes them
    """
    return {"on_failure_callback": TellOfTask(**whose), "on_retry_callback": TellOfTask(is_retried=True, **whose)}


def run_callbacks(**whose: Any) -> dict[str, WorkflowNotifier]:
    """
    What tells of a run: arguments of a Dag.

    :param whose: `workflow` or `among`, as `WorkflowNotifier` takes them
    """
    return {"on_failure_callback": TellOfFailure(**whose), "on_success_callback": TellOfSuccess(**whose)}


class TellOfTask(WorkflowNotifier):
    """
    Tell of a task that failed or was lost.

    :param is_retried: whether Airflow tries the task again: then only a loss is told, for of an error the last try
    tells
    """

    def __init__(self, *, is_retried: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.is_retried = is_retried

    def tell_of(self, workflow: Workflow, context: Any) -> None:
        """Open an incident, with the exception's cause if there is one, then send."""
        error, task = context.get("exception"), context["task"]
        if error is not None and self.is_retried:
            return
        from include.alerts.failures import record_task_failure, record_task_loss
        from include.lake.store import open_lake

        lake, facts = open_lake(), facts_of_run(context["dag_run"])
        if isinstance(error, BaseException):
            triage = getattr(task, "triage", "")
            record_task_failure(lake, workflow, facts, task_id=task.task_id, error=error, triage=triage)
        else:
            record_task_loss(lake, workflow, facts, task_id=task.task_id, is_retried=self.is_retried)
        tell(workflow)


class TellOfFailure(WorkflowNotifier):
    """Record which tasks of a failed run could not say so themselves, and tell of all that is not told yet."""

    def tell_of(self, workflow: Workflow, context: Any) -> None:
        """Open what incidents are missing, then send."""
        from include.alerts.failures import record_run_failure
        from include.lake.store import open_lake

        facts = facts_of_run(context["dag_run"])
        states = task_states(facts.dag_id, facts.run_id)
        record_run_failure(open_lake(), workflow, facts, task_states=states, reason=str(context.get("reason") or ""))
        tell(workflow)


class TellOfSuccess(WorkflowNotifier):
    """Close what a successful run has mended, and tell those who were told of it."""

    def tell_of(self, workflow: Workflow, context: Any) -> None:
        """Close incidents, then send."""
        from include.alerts.failures import record_run_success
        from include.lake.store import open_lake

        if record_run_success(open_lake(), workflow, facts_of_run(context["dag_run"])):
            tell(workflow)
