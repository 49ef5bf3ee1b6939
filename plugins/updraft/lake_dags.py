"""The two Dags that look after the lake as a whole: `maintain_lake` and `erase_respondent`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param
from airflow.timetables.trigger import CronTriggerTimetable

from include.workflow import SurveySource, Workflow
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import TellOfSuccess, task_callbacks
from updraft.operators.lake import (
    EraseOperator,
    FindModelsOperator,
    RequestErasureOperator,
    RetentionOperator,
    TidyLedgerOperator,
    TidyTablesOperator,
)

EVERY_NIGHT = "17 3 * * *"


def build_maintain_lake(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `maintain_lake`: for each survey its retention, for each workflow tidy tables, then the ledger.

    :param workflows: the declared ones
    :param doc: the Dag file's docstring, shown in the web UI
    """
    dry_run = Param(
        False,
        type="boolean",
        title="Dry run",
        description_md="Count what would go, in the tasks' results; change nothing.",
    )
    with _dag(
        "maintain_lake", doc, schedule=CronTriggerTimetable(EVERY_NIGHT, timezone="UTC"), params={"dry_run": dry_run}
    ) as dag:
        tidy_ledger = TidyLedgerOperator(
            task_id="tidy_ledger",
            doc_md=f"{TidyLedgerOperator.__doc__}\n\n*Triage:* clear this task; a failed round loses nothing.",
        )
        for workflow in workflows:
            step: dict[str, Any] = {"workflow": workflow, **task_callbacks(workflow=workflow)}
            tidy = TidyTablesOperator(
                task_id=f"tidy_{workflow.name}", on_success_callback=TellOfSuccess(workflow=workflow), **step
            )
            if isinstance(workflow.source, SurveySource):
                RetentionOperator(task_id=f"retention_{workflow.name}", **step) >> tidy
            tidy >> tidy_ledger
    return dag


def build_erase_respondent(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `erase_respondent`: request → find models → erase, with the proof.

    :param workflows: the declared ones; the form offers those that are surveys
    :param doc: the Dag file's docstring, shown in the web UI
    """
    surveys = [workflow for workflow in workflows if isinstance(workflow.source, SurveySource)]
    names = {"enum": [workflow.name for workflow in surveys]} if surveys else {"pattern": "^[a-z][a-z0-9_]*$"}
    params = {
        "workflow": Param(type="string", title="Survey", description_md="Whose respondent.", **names),
        "pseudonym": Param(
            type="string",
            pattern="^[0-9a-f]{64}$",
            title="Pseudonym",
            description_md="What `python -m include.privacy <survey>` prints for an identifier. Never the identifier "
            "itself.",
        ),
    }
    with _dag("erase_respondent", doc, schedule=None, params=params) as dag:
        step: dict[str, Any] = {"surveys": surveys, **task_callbacks(among=surveys)}
        triage = (
            "\n\n*Triage:* the message names the cause. Clear this task: each step may be repeated, and what is "
            "gone stays gone."
        )
        request = RequestErasureOperator(task_id="request", doc_md=f"{RequestErasureOperator.__doc__}{triage}", **step)
        models = FindModelsOperator(task_id="find_models", doc_md=f"{FindModelsOperator.__doc__}{triage}", **step)
        erase = EraseOperator(
            task_id="erase",
            doc_md=f"{str(EraseOperator.__doc__).split(':param')[0].strip()}{triage}",
            models=models.output,
            on_success_callback=TellOfSuccess(among=surveys),
            **step,
        )
        request >> models >> erase
    return dag


def _dag(dag_id: str, doc: str, *, schedule: CronTriggerTimetable | None, params: dict[str, Any]) -> DAG:
    return DAG(
        dag_id,
        description=doc.strip().splitlines()[0].lstrip("# "),
        doc_md=doc,
        schedule=schedule,
        params=params,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        # One at a time: two would only fence each other.
        max_active_runs=1,
        tags=["updraft", "lake"],
        default_args=TASK_DEFAULTS,
        dagrun_timeout=RUN_TIMEOUT,
    )
