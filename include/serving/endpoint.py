"""What the endpoint does with a request, once its route is known."""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Protocol

import orjson

from include.errors import RequestError
from include.serving.answers import CLOSE, Answer, Receive, RefusedRequestError, html_answer, json_answer
from include.serving.arrival import RETRY_SOON, Arrival
from include.serving.canary import Canary
from include.serving.inference_protocol import infer_records, infer_response, model_metadata
from include.serving.inputs import Row, coerce_rows, csv_records, json_records
from include.serving.limits import Limits
from include.serving.openapi import describe_api, write_page
from include.serving.served_model import ServedModel
from include.serving.slots import Slots

logger = logging.getLogger(__name__)

JSON, CSV = b"application/json", b"text/csv"
Records = Sequence[Mapping[str, Any]]


class Log(Protocol):
    """Where answered predictions go: the lake (`prediction_log`), or nowhere (`container`)."""

    last_error: str | None

    @property
    def n_collected(self) -> int: ...  # noqa: D102
    @property
    def n_waiting(self) -> int: ...  # noqa: D102
    def append(  # noqa: D102
        self,
        *,
        request_id: str,
        model_version: str,
        inputs: list[Row],
        scores: Sequence[float],
        labels: Sequence[bool | None],
    ) -> None: ...
    def start(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102
    def collect(self) -> int: ...  # noqa: D102


@dataclass(kw_only=True)
class Request:
    """One HTTP request: what the routes need of it."""

    request_id: str
    headers: Mapping[bytes, bytes]
    receive: Receive
    version: str | None = None  # of the path, below /v2/models/<name>/versions/


@dataclass(frozen=True)
class _Work:
    """A request whose body has arrived: how large it is, how to read it, and how to put an answer into words."""

    n_bytes: int
    parse: Callable[[], Records]
    compose: Callable[[ServedModel, list[float]], Answer]


class Endpoint:
    """
    Predictions of one workflow's champion.

    Parameters
    ----------
    token : str or None
        Bearer token of the admin routes and of the staged slot; without one, both refuse everybody.

    """

    def __init__(self, name: str, *, slots: Slots, log: Log, token: str | None, limits: Limits) -> None:
        self.name = name
        self.slots = slots
        self.log = log
        self.limits = limits
        self.arrival = Arrival(limits)
        self.executor = ThreadPoolExecutor(limits.threads, thread_name_prefix="score")
        self.n_in_flight = 0
        self.n_predictions = 0
        self._token = token

    def require_token(self, request: Request) -> None:
        """Refuse a request without the admin token: 403 if none is configured, 401 if it is missing or wrong."""
        if self._token is None:
            raise RefusedRequestError(
                "no admin token is configured: set UPDRAFT_ENDPOINT_TOKEN and restart the endpoint", status=403
            )
        given = request.headers.get(b"authorization", b"")
        if not hmac.compare_digest(given, b"Bearer " + self._token.encode()):
            message = "this route needs the header 'Authorization: Bearer <UPDRAFT_ENDPOINT_TOKEN>'"
            raise RefusedRequestError(message, status=401, headers=((b"www-authenticate", b"Bearer"),))

    def active_model(self, version: str | None = None) -> ServedModel:
        """
        Return the champion.

        Raises
        ------
        RefusedRequestError
            503 with the reason if there is none yet, 404 if `version` is another one.

        """
        active = self.slots.active
        if active is None:
            raise RefusedRequestError(self.slots.reason, status=503, headers=(RETRY_SOON,))
        if version is not None and version != active.version:
            raise RefusedRequestError(f"version {version[:20]!r} does not serve: {active.version} does", status=404)
        return active

    async def invocations(self, request: Request) -> Answer:
        """`POST /invocations`: the SageMaker contract."""
        is_staged, model = self._choose(request)
        content_type = request.headers.get(b"content-type", b"").partition(b";")[0].strip().lower()
        if content_type not in (JSON, CSV):
            raise RefusedRequestError(
                "the Content-Type is neither application/json nor text/csv: send one of them", status=415, headers=CLOSE
            )
        body = await self.arrival.read_body(request.receive, request.headers)

        def parse() -> Records:
            return (
                json_records(body, self.limits)
                if content_type == JSON
                else csv_records(body, model.columns, self.limits)
            )

        def compose(model: ServedModel, scores: list[float]) -> Answer:
            predictions = [{"label": model.label(score), "score": score} for score in scores]
            content = {
                "model_name": self.name,
                "model_version": model.version,
                "request_id": request.request_id,
                "predictions": predictions,
            }
            return Answer(orjson.dumps(content))

        return await self._respond(request, _Work(len(body), parse, compose), model=model, is_staged=is_staged)

    async def infer(self, request: Request) -> Answer:
        """`POST /v2/models/<name>/infer`."""
        is_staged, model = self._choose(request)
        body = await self.arrival.read_body(request.receive, request.headers)

        def parse() -> Records:
            request_id, records = infer_records(body, self.limits)
            request.request_id = request_id or request.request_id
            return records

        def compose(model: ServedModel, scores: list[float]) -> Answer:
            return json_answer(infer_response(self.name, model, request_id=request.request_id, scores=scores))

        return await self._respond(request, _Work(len(body), parse, compose), model=model, is_staged=is_staged)

    async def ping(self, request: Request) -> Answer:
        """`GET /ping`: 200 once a champion serves."""
        return json_answer({"status": "ok", "model_version": self.active_model().version})

    async def version(self, request: Request) -> Answer:
        """`GET /version`: what serves, to be compared with the registry."""
        model = self.active_model()
        return json_answer(
            {
                "model_name": self.name,
                "model_version": model.version,
                "model_digest": model.digest,
                "as_of": model.as_of,
                "family": model.family,
            }
        )

    async def openapi(self, request: Request) -> Answer:
        """`GET /openapi.json`."""
        return json_answer(describe_api(self.name, self.active_model()))

    async def docs(self, request: Request) -> Answer:
        """`GET /docs`: the same, for people."""
        return html_answer(write_page(self.name, self.active_model()))

    async def server_metadata(self, request: Request) -> Answer:
        """`GET /v2`."""
        return json_answer({"name": "updraft", "version": "2", "extensions": []})

    async def live(self, request: Request) -> Answer:
        """`GET /v2/health/live`."""
        return json_answer({"live": True})

    async def ready(self, request: Request) -> Answer:
        """`GET /v2/health/ready`."""
        self.active_model()
        return json_answer({"ready": True})

    async def model_metadata(self, request: Request) -> Answer:
        """`GET /v2/models/<name>`."""
        return json_answer(model_metadata(self.name, self.active_model(request.version)))

    async def model_ready(self, request: Request) -> Answer:
        """`GET /v2/models/<name>/ready`."""
        self.active_model(request.version)
        return json_answer({"name": self.name, "ready": True})

    def _choose(self, request: Request) -> tuple[bool, ServedModel]:
        """Decide which model answers. The request keeps it to its end, whatever is switched meanwhile."""
        slot = request.headers.get(b"x-updraft-slot")
        if slot is None or slot == b"active":
            return False, self.active_model(request.version)
        self.require_token(request)
        if slot != b"staged":
            raise RefusedRequestError("X-Updraft-Slot is neither active nor staged", status=400)
        staged = self.slots.staged
        if staged is None or request.version not in (None, staged.version):
            raise RefusedRequestError("no such version is staged: POST /admin/stage first", status=409)
        return True, staged

    async def _respond(self, request: Request, work: _Work, *, model: ServedModel, is_staged: bool) -> Answer:
        """Let the champion (or who was asked for) answer; or the new version, if it is a canary's turn."""
        canary = self.slots.canary
        candidate = self.slots.staged
        if canary is None or candidate is None or is_staged or request.version is not None or canary.state != "running":
            return await self._run(work, model, request_id=request.request_id, is_logged=not is_staged)
        if not canary.takes_next():
            return await self._run(work, model, request_id=request.request_id, is_logged=True, canary=canary)
        try:
            rows, scores = await canary.ask(lambda: self._score(candidate, work))
        except Exception as error:
            # Whatever the new version does with a request, the champion answers it; if it can, the fault was the new
            # version's.
            answer = await self._run(work, model, request_id=request.request_id, is_logged=True, canary=canary)
            if not isinstance(error, TimeoutError):
                logger.warning(
                    "the canary %s failed a request that the champion answers", candidate.version, exc_info=error
                )
                what = str(error) if isinstance(error, RequestError) else type(error).__name__
                canary.fail(f"it can't answer a request that the champion answers: {what}")
            return answer
        canary.answered(scores)
        self._write_down(candidate, rows, scores, request_id=request.request_id)
        return work.compose(candidate, scores)

    async def _run(
        self, work: _Work, model: ServedModel, *, request_id: str, is_logged: bool, canary: Canary | None = None
    ) -> Answer:
        """
        Do small work here and now, larger work in a thread, so that one large request does not delay
        many small ones.
        """

        def answer(records: Records, is_small: bool) -> Answer:
            scores = self._predict(model, records, request_id=request_id, is_small=is_small, is_logged=is_logged)
            if canary is not None:
                canary.champion_answered(scores)
            return work.compose(model, scores)

        if work.n_bytes > self.limits.inline_bytes:
            return await self._in_thread(lambda: answer(work.parse(), False))
        records = work.parse()
        if len(records) <= self.limits.inline_rows and model.compiled is not None:
            return answer(records, True)
        return await self._in_thread(lambda: answer(records, False))

    def _score(self, model: ServedModel, work: _Work) -> tuple[list[Row], list[float]]:
        rows = coerce_rows(work.parse(), model.columns)
        return rows, model.score(rows, is_small=len(rows) <= self.limits.inline_rows)

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        if self.n_in_flight >= self.limits.in_flight:
            raise RefusedRequestError(
                f"{self.limits.in_flight} requests are in flight: try again in a second",
                status=429,
                headers=(RETRY_SOON,),
            )
        self.n_in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, work)
        finally:
            self.n_in_flight -= 1

    def _predict(
        self, model: ServedModel, records: Records, *, request_id: str, is_small: bool, is_logged: bool
    ) -> list[float]:
        rows = coerce_rows(records, model.columns)
        scores = model.score(rows, is_small=is_small)
        if is_logged:
            self._write_down(model, rows, scores, request_id=request_id)
        return scores

    def _write_down(self, model: ServedModel, rows: list[Row], scores: list[float], *, request_id: str) -> None:
        labels = [model.label(score) for score in scores]
        self.log.append(request_id=request_id, model_version=model.version, inputs=rows, scores=scores, labels=labels)
        self.n_predictions += len(scores)
