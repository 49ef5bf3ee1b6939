"""`build_watch_dag`: the watchdog over all workflows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG

from include.workflow import Workflow
from updraft.operators.watch import WatchRunsOperator

TASK_DOC = (
    "One round: find failed runs and missing partitions that nobody has recorded, close what is mended, send what is "
    "not sent.\n\n"
    "*Triage:* nothing to do as long as the next round is green. If every round fails, the log names the workflow and "
    "the cause."
)


def build_watch_dag(*, doc: str, workflows: Sequence[Workflow] | None = None) -> DAG:
    """
    Build the Dag `watch_runs`.

    :param doc: the Dag file's docstring, shown in the web UI
    :param workflows: the declarations to watch; by default, all of `include/workflows`
    """
    with DAG(
        "watch_runs",
        description="Tells people of what failed, was lost or is missing, once",
        schedule="* * * * *",
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        # Asleep it would watch over nothing: it runs as soon as it is there.
        is_paused_upon_creation=False,
        max_active_runs=1,
        dagrun_timeout=timedelta(minutes=5),
        doc_md=doc,
        tags=["updraft"],
    ) as dag:
        # The next round is the retry.
        WatchRunsOperator(
            task_id="watch",
            workflows=workflows,
            doc_md=TASK_DOC,
            retries=0,
            execution_timeout=timedelta(minutes=4),
            owner="updraft",
        )
    return dag
