"""
The FastAPI app below /updraft. It answers GET alone, changes nothing, and nothing of it is open to somebody who is not
logged in.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import cast

from fastapi import Depends, FastAPI, HTTPException, Request, Response
from fastapi.responses import HTMLResponse
from starlette.exceptions import HTTPException as StarletteHTTPException

from include.errors import LakeError, RegistryError
from updraft.ui.access import requires_authenticated
from updraft.ui.data_docs import router as data_docs
from updraft.ui.models import router as models
from updraft.ui.monitoring import router as monitoring
from updraft.ui.pages import write_page
from updraft.ui.quarantine import router as quarantine

_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
_HEADERS = {
    # No script, no other host, no form, no other site's frame: hostile text in a page could do nothing even if it were
    # not escaped.
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; "
    "frame-ancestors 'self'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}


def create_app() -> FastAPI:
    """Build the app, without the pages that would list its routes to anybody."""
    app = FastAPI(
        title="Updraft",
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        dependencies=[Depends(requires_authenticated())],
    )
    app.include_router(quarantine)
    app.include_router(data_docs)
    app.include_router(models)
    app.include_router(monitoring)
    # Last: whatever no page answers also asks for a login first, so that nobody can tell from outside what there is.
    app.add_api_route("/{path:path}", _no_such_page, methods=list(_METHODS), include_in_schema=False)
    app.add_exception_handler(LakeError, _lake_trouble)
    app.add_exception_handler(RegistryError, _registry_trouble)
    app.add_exception_handler(StarletteHTTPException, _refusal)
    app.middleware("http")(_add_headers)
    return app


def _no_such_page(request: Request) -> None:
    if request.method not in ("GET", "HEAD"):
        raise HTTPException(
            405, "Updraft's pages only show; a replay is started by the Dag replay_quarantine", headers={"Allow": "GET"}
        )
    raise HTTPException(404, "no such page")


async def _lake_trouble(_: Request, error: Exception) -> Response:
    return HTMLResponse(write_page("trouble.html", title="The lake can't be read", message=str(error)), status_code=503)


async def _registry_trouble(_: Request, error: Exception) -> Response:
    return HTMLResponse(
        write_page("trouble.html", title="The registry can't be read", message=str(error)), status_code=503
    )


async def _refusal(_: Request, error: Exception) -> Response:
    """What a person sees in the frame, in place of a line of JSON."""
    refusal = cast("StarletteHTTPException", error)
    page = write_page("trouble.html", title=str(refusal.status_code), message=str(refusal.detail))
    return HTMLResponse(page, status_code=refusal.status_code, headers=refusal.headers)


async def _add_headers(request: Request, call_next: Callable[[Request], Awaitable[Response]]) -> Response:
    response = await call_next(request)
    response.headers.update(_HEADERS)
    return response
