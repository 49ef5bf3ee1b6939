"""The page of quarantined rows: workflows, one's partitions, a partition's reasons and masked rows."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from include.errors import PartitionError
from include.lake.store import open_lake
from include.quality.docs_files import list_pages
from include.quality.quarantine import Quarantine, read_quarantine
from include.quality.standing import Standing, read_standings
from include.workflow import Workflow
from include.workflow.partitions import window_of_key
from updraft.ui.access import GetUserDep
from updraft.ui.pages import write_page
from updraft.ui.workflows import readable_workflow, readable_workflows, workflow_of_dag

MAX_PARTITIONS = 200
MAX_ROWS = 50
MAX_PAGES = 10

router = APIRouter(default_response_class=HTMLResponse)

Text = Annotated[str | None, Query(max_length=600)]


@router.get("/quarantine")
def show(
    user: GetUserDep,
    workflow: Text = None,
    partition: Text = None,
    reason: Text = None,
    before: Text = None,
    dag_id: Text = None,
) -> str:
    """Everything that has been refused, from the workflows down to the rows."""
    name = workflow or workflow_of_dag(dag_id)
    if not name:
        return _list_workflows(readable_workflows(user))
    found = readable_workflow(user, name)
    if partition is None:
        return _list_partitions(found, before=before)
    return _show_partition(found, partition, reason=reason)


def _list_workflows(workflows: list[Workflow]) -> str:
    lake = open_lake()
    found = [(workflow, read_standings(lake, workflow.name)) for workflow in workflows]
    overview = [
        {
            "name": workflow.name,
            "description": workflow.description,
            "n_partitions": len(standings),
            "n_held_back": sum(standing.is_held_back for standing in standings),
            "rows_quarantined": sum(standing.line.rows_quarantined for standing in standings if standing.line),
            "rows_waiting": sum(standing.rows_waiting for standing in standings),
        }
        for workflow, standings in found
    ]
    return write_page("workflows.html", title="Quarantine", workflows=overview)


def _list_partitions(workflow: Workflow, *, before: str | None) -> str:
    newest = [
        standing
        for standing in reversed(read_standings(open_lake(), workflow.name))
        if not before or standing.partition_key < before
    ]
    shown = newest[:MAX_PARTITIONS]
    return write_page(
        "partitions.html",
        title=f"{workflow.name}: quarantine",
        workflow=workflow.name,
        partitions=shown,
        older=shown[-1].partition_key if len(newest) > len(shown) else None,
        conf=_conf(workflow, None),
    )


def _show_partition(workflow: Workflow, key: str, *, reason: str | None) -> str:
    try:
        window_of_key(workflow.partition.every, key)
    except PartitionError as error:
        raise HTTPException(404, str(error)) from None
    lake = open_lake()
    standing = next(
        (standing for standing in read_standings(lake, workflow.name) if standing.partition_key == key), None
    )
    if standing is None:
        raise HTTPException(404, f"nothing of {workflow.name} {key} has landed")
    quarantine = Quarantine(reasons=(), rows=(), run_ids=())
    if standing.line is not None and standing.line.rows_quarantined:
        quarantine = read_quarantine(lake, workflow, standing.line, n_rows=MAX_ROWS, reason=reason)
    return write_page(
        "partition.html",
        title=f"{workflow.name} {key}: quarantine",
        workflow=workflow.name,
        standing=standing,
        quarantine=quarantine,
        columns=list(quarantine.rows[0]) if quarantine.rows else [],
        n_wanted=dict(quarantine.reasons).get(reason, 0) if reason else _n_quarantined(standing),
        reason=reason,
        pages=list_pages(workflow.name, key)[:MAX_PAGES],
        conf=_conf(workflow, key),
    )


def _n_quarantined(standing: Standing) -> int:
    return standing.line.rows_quarantined if standing.line else 0


def _conf(workflow: Workflow, key: str | None) -> str:
    """What to paste into the form of replay_quarantine."""
    return json.dumps({"workflow": workflow.name, "partitions": [key] if key else [], "dry_run": True})
