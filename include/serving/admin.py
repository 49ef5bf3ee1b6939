"""The admin routes: stage a version, let it answer, go back, look, flush. Each needs the bearer token."""

from __future__ import annotations

import asyncio
import re
from typing import Any

from include.errors import RequestError, UpdraftError
from include.serving.answers import RETRY_LATER, Answer, RefusedRequestError, json_answer
from include.serving.canary import CanaryTerms
from include.serving.endpoint import Endpoint, Request
from include.serving.inputs import parse_json
from include.serving.served_model import ServedModel
from include.serving.slots import refuse_version

_VERSION = re.compile(r"[0-9]{1,18}")


class Admin:
    """Routes that change what serves; none of them trusts its caller further than to ask."""

    def __init__(self, endpoint: Endpoint) -> None:
        self._endpoint = endpoint
        self._slots = endpoint.slots

    async def stage(self, request: Request) -> Answer:
        """`POST /admin/stage {"version"}`: load, verify and warm a version beside the active one."""
        version = await self._version(request)
        try:
            staged = await self._slots.stage(version)
        except UpdraftError as error:
            raise refuse_version(error, version) from error
        return json_answer({"staged": _describe(staged)})

    async def unstage(self, request: Request) -> Answer:
        """`POST /admin/unstage`: forget the staged version."""
        self._endpoint.require_token(request)
        self._slots.unstage()
        return self._status()

    async def canary(self, request: Request) -> Answer:
        """
        `POST /admin/canary {"version", "share", "requests", "seconds", "max_distance"}`: the staged version answers a
        share.
        """
        content = await self._content(request)
        started = await self._slots.start_canary(_version_of(content), _terms_of(content))
        return json_answer({"canary": started.describe()})

    async def switch(self, request: Request) -> Answer:
        """`POST /admin/switch {"version"}`: let a staged version answer, if the ledger calls it the champion."""
        await self._slots.switch(await self._version(request))
        return self._status()

    async def roll_back(self, request: Request) -> Answer:
        """`POST /admin/roll_back`: let the previous version answer again, if the ledger has rolled back to it."""
        self._endpoint.require_token(request)
        await self._slots.roll_back()
        return self._status()

    async def status(self, request: Request) -> Answer:
        """`GET /admin/status`."""
        self._endpoint.require_token(request)
        return self._status()

    async def flush(self, request: Request) -> Answer:
        """`POST /admin/flush`: move all predictions answered so far to the lake."""
        self._endpoint.require_token(request)
        try:
            n_rows = await asyncio.to_thread(self._endpoint.log.collect)
        except Exception as error:
            message = (
                f"the lake does not take the predictions ({type(error).__name__}): they stay in the spool, try again"
            )
            raise RefusedRequestError(message, status=503, headers=(RETRY_LATER,)) from error
        return json_answer({"rows": n_rows})

    async def _version(self, request: Request) -> str:
        return _version_of(await self._content(request))

    async def _content(self, request: Request) -> Any:
        self._endpoint.require_token(request)
        body = await self._endpoint.arrival.read_body(request.receive, request.headers)
        return parse_json(body, self._endpoint.limits)

    def _status(self) -> Answer:
        endpoint, slots = self._endpoint, self._slots
        return json_answer(
            {
                "model_name": endpoint.name,
                "active": _describe(slots.active),
                "staged": _describe(slots.staged),
                "previous": _describe(slots.previous),
                "canary": None if slots.canary is None else slots.canary.describe(),
                "reason": slots.reason if slots.active is None else None,
                "last_error": slots.last_error,
                "switches": slots.n_switches,
                "predictions": {
                    "answered": endpoint.n_predictions,
                    "collected": endpoint.log.n_collected,
                    "waiting": endpoint.log.n_waiting,
                    "last_error": endpoint.log.last_error,
                },
                "in_flight": endpoint.n_in_flight,
                "arriving": endpoint.arrival.n_arriving,
            }
        )


def _version_of(content: Any) -> str:
    version = content.get("version") if isinstance(content, dict) else None
    version = str(version) if type(version) is int else version
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise RequestError("the body names no version: send {'version': '7'}")
    return version


def _terms_of(content: Any) -> CanaryTerms:
    bounds = {"share": 0.5, "requests": 1_000_000, "seconds": 3_600, "max_distance": 1}
    for name, bound in bounds.items():
        value = content.get(name)
        if type(value) not in (int, float) or not 0 < value <= bound:
            raise RequestError(
                f"{name} is no number above 0 and up to {bound:g}: send {', '.join(bounds)} with the version"
            )
    return CanaryTerms(
        share=content["share"],
        requests=int(content["requests"]),
        seconds=content["seconds"],
        max_distance=content["max_distance"],
    )


def _describe(model: ServedModel | None) -> dict[str, Any] | None:
    if model is None:
        return None
    return {
        "version": model.version,
        "digest": model.digest,
        "as_of": model.as_of,
        "family": model.family,
        "is_compiled": model.compiled is not None,
    }
