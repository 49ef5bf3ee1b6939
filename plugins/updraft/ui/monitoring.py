"""The report on a window of production, as the monitor stored it."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, HTTPException, Query
from fastapi.responses import HTMLResponse

from include.errors import LakeError
from include.lake.files import get_file
from include.lake.store import open_lake
from updraft.ui.access import GetUserDep
from updraft.ui.workflows import readable_workflow

router = APIRouter(default_response_class=HTMLResponse)


@router.get("/monitoring/report")
def show_report(
    user: GetUserDep,
    workflow: Annotated[str, Query(max_length=600)],
    file: Annotated[str, Query(pattern=r"^[0-9T-]{4,13}\.[0-9a-f]{16}\.html$")],
) -> str:
    """One window's report."""
    found = readable_workflow(user, workflow, step="monitor")
    try:
        return get_file(open_lake(), f"{found.name}/_monitoring/{file}").decode("utf-8", "replace")
    except LakeError:
        raise HTTPException(
            404, f"{found.name} has no report {file}: clear judge_window of that run, which writes it anew"
        ) from None
