"""
The endpoint as a bare ASGI application.

Routes are a dictionary: a router would cost a single-row request more than its prediction does.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping

from include.errors import RequestError
from include.serving.admin import Admin
from include.serving.answers import (
    CLOSE,
    RETRY_LATER,
    Answer,
    Headers,
    Receive,
    RefusedRequestError,
    Scope,
    Send,
    accept_request_id,
    error_answer,
    send_answer,
)
from include.serving.arrival import ClientGoneError, discard_rest
from include.serving.endpoint import Endpoint, Request
from include.serving.spool import SpoolFullError

logger = logging.getLogger(__name__)

Handler = Callable[[Request], Awaitable[Answer]]
Routes = dict[str, dict[str, Handler]]


class EndpointApp:
    """Finds the route, answers, and turns every error into JSON without a traceback."""

    def __init__(self, endpoint: Endpoint, *, follow_seconds: float = 3.0) -> None:
        self.endpoint = endpoint
        self._follow_seconds = follow_seconds
        self._versions = f"/v2/models/{endpoint.name}/versions/"
        self._routes, self._version_routes = _routes_of(endpoint)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or live as long as the server does."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        headers: Mapping[bytes, bytes] = dict(scope["headers"])
        request = Request(request_id=accept_request_id(headers.get(b"x-request-id")), headers=headers, receive=receive)
        try:
            answer = await self._answer(scope, request)
        except ClientGoneError:
            return
        lingers = CLOSE[0] in answer.headers and answer.status != 408
        await send_answer(send, answer, request_id=request.request_id, is_last=not lingers)
        if lingers:
            await discard_rest(receive, self.endpoint.limits)
            await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, request: Request) -> Answer:
        path = scope["path"]
        is_v2 = path.startswith("/v2")
        try:
            return await self._handler(path, scope["method"], request)(request)
        except RequestError as error:
            headers: Headers = getattr(error, "headers", ())
            return error_answer(str(error), status=error.status, headers=headers, is_v2=is_v2)
        except SpoolFullError as error:
            logger.error("a prediction was not answered: %s", error)
            message = (
                "the prediction cannot be logged, and unlogged ones are not answered: the endpoint's log names the "
                "folder"
            )
            return error_answer(message, status=503, headers=(RETRY_LATER,), is_v2=is_v2)
        except ClientGoneError:
            raise
        except Exception:
            logger.exception("request %s failed", request.request_id)
            return error_answer(
                f"the request failed: the endpoint's log tells why, under {request.request_id}", status=500, is_v2=is_v2
            )

    def _handler(self, path: str, method: str, request: Request) -> Handler:
        methods = self._routes.get(path)
        if methods is None and path.startswith(self._versions):
            request.version, _, action = path.removeprefix(self._versions).partition("/")
            methods = self._version_routes.get(action)
        if methods is None:
            raise RefusedRequestError("there is no such route: see docs/serving.md for those that are", status=404)
        handler = methods.get("GET" if method == "HEAD" else method)
        if handler is None:
            allowed = ", ".join(sorted(methods))
            allow = (b"allow", allowed.encode())
            raise RefusedRequestError(f"this route takes {allowed} alone", status=405, headers=(allow,))
        return handler

    async def _live(self, receive: Receive, send: Send) -> None:
        """Start with the server, stop with it: after the last answer all predictions go to the lake."""
        await receive()
        self.endpoint.log.start()
        follower = asyncio.create_task(self.endpoint.slots.follow_forever(every_seconds=self._follow_seconds))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        follower.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await follower
        await asyncio.to_thread(self.endpoint.log.close)
        self.endpoint.executor.shutdown(wait=True)
        await send({"type": "lifespan.shutdown.complete"})


def _routes_of(endpoint: Endpoint) -> tuple[Routes, Routes]:
    admin = Admin(endpoint)
    model = f"/v2/models/{endpoint.name}"
    of_model: Routes = {
        "": {"GET": endpoint.model_metadata},
        "ready": {"GET": endpoint.model_ready},
        "infer": {"POST": endpoint.infer},
    }
    routes: Routes = {
        "/invocations": {"POST": endpoint.invocations},
        "/ping": {"GET": endpoint.ping},
        "/version": {"GET": endpoint.version},
        "/openapi.json": {"GET": endpoint.openapi},
        "/docs": {"GET": endpoint.docs},
        "/v2": {"GET": endpoint.server_metadata},
        "/v2/health/live": {"GET": endpoint.live},
        "/v2/health/ready": {"GET": endpoint.ready},
        "/admin/stage": {"POST": admin.stage},
        "/admin/unstage": {"POST": admin.unstage},
        "/admin/canary": {"POST": admin.canary},
        "/admin/switch": {"POST": admin.switch},
        "/admin/roll_back": {"POST": admin.roll_back},
        "/admin/status": {"GET": admin.status},
        "/admin/flush": {"POST": admin.flush},
    }
    routes |= {f"{model}/{action}".rstrip("/"): methods for action, methods in of_model.items()}
    return routes, of_model
