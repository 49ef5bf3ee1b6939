"""What the endpoint does with a request, once its route is known."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import orjson

from include.serving.answers import CLOSE, Answer, Receive, RefusedRequestError, html_answer, json_answer
from include.serving.arrival import RETRY_SOON, Arrival
from include.serving.inference_protocol import infer_records, infer_response, model_metadata
from include.serving.inputs import coerce_rows, csv_records, json_records
from include.serving.limits import Limits
from include.serving.openapi import describe_api, write_page
from include.serving.prediction_log import PredictionLog
from include.serving.served_model import ServedModel
from include.serving.slots import Slots

JSON, CSV = b"application/json", b"text/csv"
Records = Sequence[Mapping[str, Any]]


@dataclass(kw_only=True)
class Request:
    """One HTTP request: what the routes need of it."""

    request_id: str
    headers: Mapping[bytes, bytes]
    receive: Receive
    version: str | None = None  # of the path, below /v2/models/<name>/versions/


class Endpoint:
    """
    Predictions of one workflow's champion.

    Parameters
    ----------
    token : str or None
        Bearer token of the admin routes and of the staged slot; without one, both refuse everybody.

    """

    def __init__(self, name: str, *, slots: Slots, log: PredictionLog, token: str | None, limits: Limits) -> None:
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
            raise RefusedRequestError("no admin token is configured: set UPDRAFT_ENDPOINT_TOKEN and restart the endpoint", status=403)
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
            return json_records(body, self.limits) if content_type == JSON else csv_records(body, model.columns, self.limits)

        def answer(records: Records, is_small: bool) -> Answer:
            scores = self._predict(model, records, request_id=request.request_id, is_small=is_small, is_logged=not is_staged)
            predictions = [{"label": model.label(score), "score": score} for score in scores]
            content = {
                "model_name": self.name,
                "model_version": model.version,
                "request_id": request.request_id,
                "predictions": predictions,
            }
            return Answer(orjson.dumps(content))

        return await self._run(len(body), model, parse, answer)

    async def infer(self, request: Request) -> Answer:
        """`POST /v2/models/<name>/infer`."""
        is_staged, model = self._choose(request)
        body = await self.arrival.read_body(request.receive, request.headers)

        def parse() -> Records:
            request_id, records = infer_records(body, self.limits)
            request.request_id = request_id or request.request_id
            return records

        def answer(records: Records, is_small: bool) -> Answer:
            scores = self._predict(model, records, request_id=request.request_id, is_small=is_small, is_logged=not is_staged)
            return json_answer(infer_response(self.name, model, request_id=request.request_id, scores=scores))

        return await self._run(len(body), model, parse, answer)

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

    async def _run(
        self, n_bytes: int, model: ServedModel, parse: Callable[[], Records], answer: Callable[[Records, bool], Answer]
    ) -> Answer:
        """Do small work here and now, larger work in a thread, so that one large request does not delay many small ones."""
        if n_bytes > self.limits.inline_bytes:
            return await self._in_thread(lambda: answer(parse(), False))
        records = parse()
        if len(records) <= self.limits.inline_rows and model.compiled is not None:
            return answer(records, True)
        return await self._in_thread(lambda: answer(records, False))

    async def _in_thread(self, work: Callable[[], Answer]) -> Answer:
        if self.n_in_flight >= self.limits.in_flight:
            raise RefusedRequestError(
                f"{self.limits.in_flight} requests are in flight: try again in a second", status=429, headers=(RETRY_SOON,)
            )
        self.n_in_flight += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self.executor, work)
        finally:
            self.n_in_flight -= 1

    def _predict(self, model: ServedModel, records: Records, *, request_id: str, is_small: bool, is_logged: bool) -> list[float]:
        rows = coerce_rows(records, model.columns)
        scores = model.score(rows, is_small=is_small)
        if is_logged:
            labels = [model.label(score) for score in scores]
            self.log.append(request_id=request_id, model_version=model.version, inputs=rows, scores=scores, labels=labels)
            self.n_predictions += len(scores)
        return scores
