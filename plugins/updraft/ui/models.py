"""The pages of models: workflows, one's versions, a version's leaderboard and verdict, its card."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from include.errors import ModelVersionNotFoundError
from include.evaluation.card_search import leaderboard_table
from include.evaluation.card_words import number, value_and_span
from include.evaluation.document import Code, Strong, Text, parts_of
from include.evaluation.report import EvaluationReport
from include.evaluation.titles import TITLES
from include.lake.store import open_lake
from include.registry.lookup import RegisteredVersion, read_version
from include.registry.showcase import list_lines, read_file, read_page, version_of_run
from include.registry.store import open_registry
from include.workflow import Workflow
from updraft.ui.access import GetUserDep
from updraft.ui.pages import write_page
from updraft.ui.workflows import readable_workflow, readable_workflows, workflow_of_dag

router = APIRouter(default_response_class=HTMLResponse)

Words = Annotated[str | None, Query(max_length=600)]
Number = Annotated[str | None, Query(pattern=r"^[1-9][0-9]{0,8}$")]


@router.get("/models")
def show(
    user: GetUserDep, workflow: Words = None, version: Number = None, dag_id: Words = None, run_id: Words = None
) -> str:
    """Everything that was trained, from the workflows down to one version's leaderboard."""
    name = workflow or workflow_of_dag(dag_id)
    if not name:
        return _list_workflows(readable_workflows(user, step="train"))
    found = readable_workflow(user, name, step="train")
    if run_id and not version:
        version = version_of_run(open_registry(), found.name, run_id)
    return _show_version(found, version) if version else _list_versions(found, run_id=run_id)


@router.get("/models/card")
def show_card(
    user: GetUserDep, workflow: Annotated[str, Query(max_length=600)], version: Annotated[str, Query(max_length=9)]
) -> str:
    """One version's card, as it is stored with it."""
    found = readable_workflow(user, workflow, step="train")
    registry = open_registry()
    card = read_file(registry, _find(found, version), "card.html")
    if card is None:
        raise HTTPException(404, f"version {version} of {found.name} has no card: it was not evaluated yet")
    return card.decode("utf-8", "replace")


def _find(workflow: Workflow, version: str) -> RegisteredVersion:
    try:
        return read_version(open_registry(), workflow.name, version)
    except ModelVersionNotFoundError as error:
        raise HTTPException(404, str(error)) from None


def _list_workflows(workflows: list[Workflow]) -> str:
    lake, registry = open_lake(), open_registry()
    found = [(workflow, list_lines(workflow, lake=lake, registry=registry)) for workflow in workflows]
    overview = [
        {
            "name": workflow.name,
            "description": workflow.description,
            "n_versions": len(lines),
            "champion": next((line.version for line in lines if line.is_champion), None),
            "last": lines[0] if lines else None,
        }
        for workflow, lines in found
    ]
    return write_page("models.html", title="Models", workflows=overview)


def _list_versions(workflow: Workflow, *, run_id: str | None) -> str:
    lines = list_lines(workflow, lake=open_lake(), registry=open_registry())
    return write_page(
        "versions.html", title=f"{workflow.name}: models", workflow=workflow.name, lines=lines, run_id=run_id
    )


def _show_version(workflow: Workflow, version: str) -> str:
    registry = open_registry()
    found = _find(workflow, version)
    lines = list_lines(workflow, lake=open_lake(), registry=registry, version=version)
    page = read_page(found, lines[0], registry=registry)
    table = leaderboard_table(page.leaderboard, workflow.metric)
    return write_page(
        "version.html",
        title=f"{workflow.name}, version {version}",
        workflow=workflow.name,
        page=page,
        metrics=[] if page.report is None else _metrics(page.report, workflow.metric),
        header=table.header,
        rows=[[_words(cell) for cell in row] for row in table.rows],
        metric=TITLES[workflow.metric],
        fit_seconds=number(page.fit_cpu_seconds, digits=1),
    )


def _metrics(report: EvaluationReport, metric: str) -> list[tuple[Any, ...]]:
    names = sorted(report.metrics, key=lambda name: name != metric)
    return [(TITLES.get(name, name), *value_and_span(report.metrics[name])) for name in names]


def _words(text: Text) -> str:
    return "".join(part.text if isinstance(part, Code | Strong) else part for part in parts_of(text))
