"""Reading a request's body within bounds: size, total time, and how many may be arriving at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from include.serving.answers import CLOSE, Receive, RefusedRequestError
from include.serving.limits import Limits

RETRY_SOON = (b"retry-after", b"1")


class ClientGoneError(Exception):
    """Raised when the client closed the connection before its request was complete: there is nobody to answer."""


class Arrival:
    """
    Reads bodies. The bounds hold with and without a content-length: a client's word is only good for
    refusing early.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.n_arriving = 0
        self.n_bytes = 0

    async def read_body(self, receive: Receive, headers: Mapping[bytes, bytes]) -> bytes:
        """
        Read the whole body.

        Raises
        ------
        RefusedRequestError
            413 if it is too large, 408 if it takes too long, 415 if it is compressed, 429 if too much arrives at once.

        """
        self._check_headers(headers)
        self.n_arriving += 1
        try:
            async with asyncio.timeout(self._limits.arrival_seconds):
                return await self._read(receive)
        except TimeoutError:
            message = f"the body did not arrive within {self._limits.arrival_seconds:g} s: send it in one go"
            raise RefusedRequestError(message, status=408, headers=CLOSE) from None
        finally:
            self.n_arriving -= 1

    def _check_headers(self, headers: Mapping[bytes, bytes]) -> None:
        encoding = headers.get(b"content-encoding", b"identity").strip().lower()
        if encoding != b"identity":
            raise RefusedRequestError(
                "compressed bodies are not accepted: send it without Content-Encoding", status=415, headers=CLOSE
            )
        length = headers.get(b"content-length", b"0")
        if length.isdigit() and int(length[:20]) > self._limits.body_bytes:
            raise self._too_large()

    async def _read(self, receive: Receive) -> bytes:
        message = await receive()
        chunk: bytes = message.get("body", b"")
        if message["type"] == "http.request" and not message.get("more_body") and len(chunk) <= self._limits.body_bytes:
            return chunk  # the usual case: it came in one piece, and no slow sender keeps it out
        if self.n_arriving > self._limits.arriving:
            raise _busy(f"{self._limits.arriving} requests are arriving already: try again in a second")
        chunks: list[bytes] = []
        n_bytes = 0
        try:
            while True:
                if message["type"] == "http.disconnect":
                    raise ClientGoneError
                chunk = message.get("body", b"")
                n_bytes += len(chunk)
                self.n_bytes += len(chunk)
                chunks.append(chunk)
                if n_bytes > self._limits.body_bytes:
                    raise self._too_large()
                if not message.get("more_body"):
                    return b"".join(chunks)
                if self.n_bytes > self._limits.arriving_bytes:
                    raise _busy("too many bytes are arriving at once: try again in a second")
                message = await receive()
        finally:
            self.n_bytes -= n_bytes

    def _too_large(self) -> RefusedRequestError:
        message = f"the body is larger than {self._limits.body_bytes:,} bytes: send fewer rows a request"
        return RefusedRequestError(message, status=413, headers=CLOSE)


async def discard_rest(receive: Receive, limits: Limits) -> None:
    """
    Read and throw away what the client is still sending, within bounds of time and bytes.

    Closing a socket with unread bytes resets the connection, and the client would never see why it was refused.
    """
    n_bytes = 0
    try:
        async with asyncio.timeout(limits.arrival_seconds):
            while n_bytes < limits.linger_bytes:
                message = await receive()
                n_bytes += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return
    except TimeoutError:
        return


def _busy(message: str) -> RefusedRequestError:
    return RefusedRequestError(message, status=429, headers=(RETRY_SOON, *CLOSE))
