"""The validations' pages, as they were written, to who may read the workflow."""

from __future__ import annotations

from fastapi import APIRouter, HTTPException
from fastapi.responses import HTMLResponse

from include.quality.docs_files import INDEX, docs_folder, find_page
from updraft.ui.access import GetUserDep
from updraft.ui.pages import write_page
from updraft.ui.workflows import readable_workflow, readable_workflows

router = APIRouter(prefix="/data_docs", default_response_class=HTMLResponse)


@router.get("/")
def list_workflows(user: GetUserDep) -> str:
    """Link to each workflow's list of validations."""
    found = [(workflow.name, (docs_folder(workflow.name) / INDEX).is_file()) for workflow in readable_workflows(user)]
    return write_page("data_docs.html", title="Data Docs", workflows=found)


@router.get("/{workflow_name}/{path:path}")
def show(workflow_name: str, path: str, user: GetUserDep) -> str:
    """One page."""
    workflow = readable_workflow(user, workflow_name)
    file = find_page(workflow.name, path)
    if file is None:
        raise HTTPException(404, "no such page: it was removed, or the address is not one of a validation's page")
    return file.read_text(encoding="utf-8")
