"""
The Dags of `test_alerts.py`: a workflow that tells somebody, whose tasks wait while a test asks them to, and a naive
Dag beside it.
"""

from __future__ import annotations

import os
import time
import urllib.request
from datetime import date
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from include.workflow import DatabaseSource, Partition, Target, Workflow
from updraft.dags import build_dags
from updraft.watch_dags import build_watch_dag

FOLDER = Path(os.environ["ALERTS_TEST_FOLDER"])
ADDRESS = os.environ["ALERTS_TEST_ADDRESS"]


def declare(name: str) -> Workflow:
    return Workflow(
        name=name,
        description="Which parcels will arrive late?",
        source=DatabaseSource(
            conn_id="parcels_db",
            query="extract.sql",
            event_time="sent_at",
            known_time="recorded_at",
            key=("parcel_id",),
        ),
        partition=Partition(every="day", start=date(2026, 1, 5)),
        target=Target(column="is_late"),
        alerts=["ops_mail", "ops_hook"],
        folder=FOLDER,
    )


def wait_while_asked(context: Any) -> None:
    held = FOLDER / f"hold-{context['dag_run'].dag_id}-{context['dag_run'].conf.get('partition')}"
    while held.exists():
        time.sleep(0.05)


def tell_naively(context: Any) -> None:
    urllib.request.urlopen(ADDRESS, data=b"{}", timeout=10).close()


# One workflow without retries, one with those that every task has by default.
WORKFLOWS = [declare("parcels"), declare("letters")]
for workflow in WORKFLOWS:
    for dag in build_dags(workflow):
        globals()[dag.dag_id] = dag
        for step in dag.tasks:
            step._pre_execute_hook = wait_while_asked
            if workflow.name == "parcels":
                step.retries = 0

# Under another name than the project's own, which is there too and watches over the project's workflows.
watch_parcels = build_watch_dag(doc="", workflows=WORKFLOWS)
watch_parcels.dag_id = "watch_parcels"

with DAG("naive", schedule=None) as naive:

    @task(on_failure_callback=tell_naively)
    def work(**context: Any) -> None:
        wait_while_asked(context)
        raise ValueError("wrong")

    work()
