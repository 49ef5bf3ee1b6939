"""The Dags that rebuild models from their manifests: `reproduce_model` by hand, `audit_models` every week."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param
from airflow.timetables.trigger import CronTriggerTimetable

from include.workflow import Workflow
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import TellOfSuccess, task_callbacks
from updraft.operators.reproduce import AuditModelOperator, ReproduceVersionOperator

EVERY_SUNDAY = "41 4 * * 0"


def build_reproduce_model(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `reproduce_model`: one task, which rebuilds the version that its form names.

    :param workflows: the declared ones, which the form offers
    :param doc: the Dag file's docstring, shown in the web UI
    """
    params = {
        "workflow": Param(
            type="string",
            enum=[workflow.name for workflow in workflows],
            title="Workflow",
            description_md="Whose model to rebuild.",
        ),
        "version": Param(
            type="string",
            pattern=r"^[1-9][0-9]{0,9}$",
            title="Version",
            description_md="Number of the version, as in the registry.",
        ),
    }
    defaults = {**TASK_DEFAULTS, **task_callbacks(among=workflows)}
    with _dag("reproduce_model", doc, schedule=None, params=params, default_args=defaults) as dag:
        ReproduceVersionOperator(
            task_id="reproduce", workflows=workflows, on_success_callback=TellOfSuccess(among=workflows)
        )
    return dag


def build_audit_models(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `audit_models`: for each workflow a task that rebuilds one of its older versions; a failed one does not stop
    the others.

    :param workflows: the declared ones
    :param doc: the Dag file's docstring, shown in the web UI
    """
    with _dag(
        "audit_models", doc, schedule=CronTriggerTimetable(EVERY_SUNDAY, timezone="UTC"), default_args=TASK_DEFAULTS
    ) as dag:
        for workflow in workflows:
            AuditModelOperator(
                task_id=f"audit_{workflow.name}",
                workflow=workflow,
                on_success_callback=TellOfSuccess(workflow=workflow),
                **task_callbacks(workflow=workflow),
            )
    return dag


def _dag(dag_id: str, doc: str, *, schedule: CronTriggerTimetable | None, **kwargs: Any) -> DAG:
    return DAG(
        dag_id,
        description=doc.strip().splitlines()[0].lstrip("# "),
        doc_md=doc,
        schedule=schedule,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        # A rebuild takes a core and the rows in memory: one after another.
        max_active_tasks=1,
        tags=["updraft", "models"],
        dagrun_timeout=RUN_TIMEOUT,
        **kwargs,
    )
