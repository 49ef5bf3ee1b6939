"""What goes back to the client: JSON bodies, and one form of error."""

from __future__ import annotations

import re
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, NamedTuple

import orjson

from include.errors import RequestError

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

CODES = {
    400: "bad_request",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    408: "request_timeout",
    409: "conflict",
    413: "payload_too_large",
    415: "unsupported_media_type",
    422: "unprocessable",
    429: "too_many_requests",
    500: "internal",
    503: "unavailable",
}
RETRY_LATER = (b"retry-after", b"5")
CLOSE: Headers = ((b"connection", b"close"),)
_FIXED_HEADERS = [
    (b"content-type", b"application/json"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
]
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


class Answer(NamedTuple):
    """A status, a JSON body and the headers that only this answer has."""

    body: bytes
    status: int = 200
    headers: Headers = ()


class RefusedRequestError(RequestError):
    """Raised when a request is refused with headers of its own, such as `Allow` or `Retry-After`."""

    def __init__(self, message: str, *, status: int, headers: Headers = ()) -> None:
        super().__init__(message, status=status)
        self.headers = headers


def json_answer(content: Any, *, status: int = 200) -> Answer:
    """Answer with `content` as JSON."""
    return Answer(orjson.dumps(content), status)


def html_answer(page: str) -> Answer:
    """Answer with a page, which may load nothing."""
    policy = (b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'")
    return Answer(page.encode(), headers=((b"content-type", b"text/html; charset=utf-8"), policy))


def error_answer(message: str, *, status: int, headers: Headers = (), is_v2: bool = False) -> Answer:
    """
    Answer with an error: `{"error": {"code", "message"}}`.

    Below `/v2` the Open Inference Protocol wants `error` to be a text; the code then stands beside it.
    """
    code = CODES.get(status, "error")
    content = {"error": message, "code": code} if is_v2 else {"error": {"code": code, "message": message}}
    return Answer(orjson.dumps(content), status, headers)


def accept_request_id(value: bytes | None) -> str:
    """Take the client's request id if it is a plain one, else a new one: ids reach logs and the lake."""
    if value is not None and _REQUEST_ID.fullmatch(value):
        return value.decode("ascii")
    return str(uuid.uuid4())


async def send_answer(send: Send, answer: Answer, *, request_id: str, is_last: bool = True) -> None:
    """Send status, headers and body."""
    # What an answer says of its own content type wins.
    fixed = (
        _FIXED_HEADERS
        if not answer.headers
        else [header for header in _FIXED_HEADERS if header[0] not in dict(answer.headers)]
    )
    headers = [
        *fixed,
        (b"content-length", b"%d" % len(answer.body)),
        (b"x-request-id", request_id.encode("ascii")),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body, "more_body": not is_last})
