"""
Clients whose connections go only where the guard allows, and end when their time is up.

urllib3 asks for a socket in one place (`_new_conn`): there the name is resolved, checked and connected to. A second
handle on each socket lets the watch shut it down from outside, whatever it is busy with: a server that sends a byte a
second never meets a time-out between two bytes.
"""

from __future__ import annotations

import contextlib
import math
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, cast

import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import NewConnectionError

from include.sources.web.addresses import Guard

CONNECT_SECONDS, SILENCE_SECONDS = 10.0, 30.0
_current = threading.local()


class Watch:
    """Shuts down the connections of requests that are past their time."""

    def __init__(self) -> None:
        self._busy: dict[int, tuple[float, Any]] = {}
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="watch of a crawl", daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @contextlib.contextmanager
    def request(self, ends_at: float) -> Iterator[None]:
        """Bound the request that this thread makes within the block."""
        number = threading.get_ident()
        _current.ends_at = ends_at
        _current.started = lambda connection: self._busy.__setitem__(number, (ends_at, connection))
        try:
            yield
        finally:
            _current.started = None
            self._busy.pop(number, None)

    def _look(self) -> None:
        while not self._is_over.wait(0.05):
            now = time.monotonic()
            for ends_at, connection in list(self._busy.values()):
                if now > ends_at:
                    connection.abort()


class _Guarded:
    """What both kinds of connection do beside urllib3's own work."""

    guard: Guard
    host: str
    port: int
    _handle: socket.socket | None = None

    def _new_conn(self) -> socket.socket:
        failure: OSError | None = None
        for family, address in self.guard.addresses_of(self.host, self.port):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.settimeout(
                    max(0.01, min(CONNECT_SECONDS, getattr(_current, "ends_at", math.inf) - time.monotonic()))
                )
                sock.connect(address)
            except OSError as error:
                sock.close()
                failure = error
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(SILENCE_SECONDS)
            self._drop_handle()
            self._handle = sock.dup()
            self._tell()
            return sock
        raise NewConnectionError(cast(Any, self), f"no connection ({type(failure).__name__})")

    def request(self, *arguments: Any, **options: Any) -> Any:
        self._tell()
        return super().request(*arguments, **options)  # type: ignore[misc]

    def close(self) -> None:
        super().close()  # type: ignore[misc]
        self._drop_handle()

    def abort(self) -> None:
        """End whatever the connection is waiting for, from another thread."""
        handle = self._handle
        if handle is not None:
            with contextlib.suppress(OSError):
                handle.shutdown(socket.SHUT_RDWR)

    def _tell(self) -> None:
        started = getattr(_current, "started", None)
        if started is not None:
            started(self)

    def _drop_handle(self) -> None:
        if self._handle is not None:
            self._handle.close()
            self._handle = None


class _Adapter(HTTPAdapter):
    """Makes connections of the guarded kinds."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        super().__init__(pool_connections=16, pool_maxsize=1, max_retries=0)

    def init_poolmanager(self, *arguments: Any, **options: Any) -> None:
        super().init_poolmanager(*arguments, **options)
        guarded = {"guard": self._guard}
        plain = type("GuardedConnection", (_Guarded, HTTPConnection), guarded)
        secure = type("GuardedSecureConnection", (_Guarded, HTTPSConnection), guarded)
        self.poolmanager.pool_classes_by_scheme = {
            "http": type("GuardedPool", (HTTPConnectionPool,), {"ConnectionCls": plain}),
            "https": type("GuardedSecurePool", (HTTPSConnectionPool,), {"ConnectionCls": secure}),
        }


class Client:
    """
    Sends requests, over connections of its own that stay open.

    It follows no redirect, keeps no cookie and reads nothing from the environment (a proxy would see no guard). A
    session of requests would look ahead to where a redirect leads, and for that read the redirect's whole body,
    decompressed and without a bound.
    """

    def __init__(self, guard: Guard, *, user_agent: str) -> None:
        self._adapter = _Adapter(guard)
        accepted = {"Accept": "text/html,application/xhtml+xml;q=0.9,*/*;q=0.5", "Accept-Encoding": "gzip, deflate"}
        self._headers = {"User-Agent": user_agent, **accepted}

    def get(
        self, url: str, *, headers: Mapping[str, str] = MappingProxyType({}), auth: tuple[str, str] | None = None
    ) -> requests.Response:
        """Ask for an address; the body is not read yet."""
        request = requests.PreparedRequest()
        request.prepare(method="GET", url=url, headers={**self._headers, **headers}, auth=auth)
        return self._adapter.send(request, stream=True, timeout=30)

    def close(self) -> None:
        """Close its connections."""
        self._adapter.close()


NETWORK_ERRORS = (requests.RequestException, urllib3.exceptions.HTTPError, OSError)
