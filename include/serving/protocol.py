"""uvicorn's HTTP protocol with two bounds that it lacks: the time and the size of a request's headers."""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from include.serving.limits import Limits


class BoundedProtocol(HttpToolsProtocol):
    """
    Closes connections whose headers do not arrive within the limits.

    Bytes and time are counted only while headers are arriving: a usual request comes in one piece, and costs nothing
    more.
    """

    limits = Limits()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to wait for the first headers."""
        super().connection_made(transport)
        self._is_in_headers = True
        self._n_header_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._start_timer()

    def on_message_begin(self) -> None:
        """Start to count the headers of the next request."""
        self._is_in_headers = True
        self._n_header_bytes = 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Stop counting: from here on the application bounds the body."""
        self._is_in_headers = False
        self._stop_timer()
        super().on_headers_complete()

    def data_received(self, data: bytes) -> None:
        """Count what came, if the headers are not complete with it."""
        super().data_received(data)
        if not self._is_in_headers or self.transport.is_closing():
            return
        self._n_header_bytes += len(data)
        if self._n_header_bytes > self.limits.header_bytes:
            self.transport.close()
        elif self._timer is None:
            self._start_timer()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._stop_timer()
        super().connection_lost(exc)

    def _start_timer(self) -> None:
        self._timer = self.loop.call_later(self.limits.arrival_seconds, self.transport.close)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def bounded_protocol(limits: Limits) -> type[BoundedProtocol]:
    """Return the protocol class with limits of its own: uvicorn makes an instance for each connection."""
    return type("LimitedProtocol", (BoundedProtocol,), {"limits": limits})
