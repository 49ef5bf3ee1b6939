"""Slow, many and large requests cost their senders, not the others."""

from __future__ import annotations

import collections
import contextlib
import socket
import statistics
import threading
import time
from collections.abc import Iterator

import pytest

from include.lake.store import open_lake
from include.serving.limits import Limits
from include.settings import Settings
from include.workflow import Workflow
from tests.memory import watched_memory
from tests.serving.endpoints import PARCEL, ThreadEndpoint
from tests.serving.models import promote

pytestmark = pytest.mark.claim("serving")

HEAD = b"POST /invocations HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"


@pytest.fixture
def hurried(parcels: Workflow, settings: Settings, versions: dict[str, str]) -> Iterator[ThreadEndpoint]:
    """An endpoint with small bounds."""
    promote(open_lake(settings), "parcels", versions["boosting"])
    limits = Limits(arrival_seconds=1, in_flight=4, arriving=20, header_bytes=8_192)
    with ThreadEndpoint(parcels, settings, limits=limits) as endpoint:
        endpoint.wait_for_champion()
        yield endpoint


def _connect(port: int) -> socket.socket:
    return socket.create_connection(("127.0.0.1", port), timeout=10)


def _read(connection: socket.socket) -> bytes:
    answer = b""
    while chunk := connection.recv(65_536):
        answer += chunk
    return answer


def test_slow_body_meets_a_deadline(hurried: ThreadEndpoint) -> None:
    """The bound is on the whole body: one byte now and then does not prolong it."""
    with _connect(hurried.port) as connection:
        started = time.monotonic()
        connection.sendall(HEAD % 1000)
        for _ in range(8):
            connection.sendall(b" ")
            time.sleep(0.1)
        answer = _read(connection)
    assert answer.startswith(b"HTTP/1.1 408 ")
    assert 0.9 < time.monotonic() - started < 2.5


@pytest.mark.parametrize("start", [b"", b"POST /invoc", b"POST /ping HTTP/1.1\r\nHost: x\r\nX-A: "])
def test_slow_headers_are_cut_off(hurried: ThreadEndpoint, start: bytes) -> None:
    with _connect(hurried.port) as connection:
        started = time.monotonic()
        connection.sendall(start)
        assert _read(connection) == b""
        assert 0.9 < time.monotonic() - started < 2.5


def test_slow_headers_on_a_kept_connection_are_cut_off_too(hurried: ThreadEndpoint) -> None:
    with _connect(hurried.port) as connection:
        connection.sendall(b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n")
        assert connection.recv(65_536).startswith(b"HTTP/1.1 200 ")
        started = time.monotonic()
        connection.sendall(b"GET /ping HTTP/1.1\r\nX-A: ")
        assert _read(connection) == b""
        assert 0.9 < time.monotonic() - started < 2.5


def test_endless_headers_are_cut_off(hurried: ThreadEndpoint) -> None:
    headers = b"".join(b"X-%d: %s\r\n" % (i, b"a" * 200) for i in range(50_000))
    with _connect(hurried.port) as connection, pytest.raises((BrokenPipeError, ConnectionResetError)):
        connection.sendall(b"GET /ping HTTP/1.1\r\n" + headers)


def test_a_client_that_leaves_is_forgotten(hurried: ThreadEndpoint) -> None:
    with _connect(hurried.port) as connection:
        connection.sendall(HEAD % 1000 + b"{")
        time.sleep(0.1)
    time.sleep(0.2)
    status = hurried.admin("status").content
    assert (status["arriving"], status["in_flight"]) == (0, 0)


def test_too_many_large_requests_are_told_to_wait(hurried: ThreadEndpoint) -> None:
    """Some of 24 at once are answered, the others get 429 with Retry-After, none a 5xx."""
    replies = collections.Counter[int]()
    retry_after = set()

    def ask() -> None:
        reply = hurried.post("/invocations", [PARCEL] * 1_000)
        replies[reply.status] += 1
        retry_after.add(reply.headers.get("retry-after"))
        hurried.close()

    threads = [threading.Thread(target=ask) for _ in range(24)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(replies) == {200, 429}
    assert retry_after == {None, "1"}
    assert hurried.post("/invocations", [PARCEL] * 1_000).status == 200


def test_slow_senders_do_not_keep_others_out(linear: ThreadEndpoint) -> None:
    """With 200 half-sent bodies open, small requests are answered as before; the next slow ones are told to wait."""
    before = statistics.median(_seconds(linear) for _ in range(50))
    with watched_memory() as growth_kib, contextlib.ExitStack() as stack:
        connections = [stack.enter_context(_connect(linear.port)) for _ in range(280)]
        for connection in connections:
            connection.sendall(HEAD % 1000 + b"{")
        time.sleep(0.3)
        during = statistics.median(_seconds(linear) for _ in range(50))
        refused = connections[-1].recv(65_536)
        assert growth_kib() < 50 * 1024
    assert refused.startswith(b"HTTP/1.1 429 ")
    assert during < 4 * before + 0.002


def _seconds(endpoint: ThreadEndpoint) -> float:
    started = time.perf_counter()
    assert endpoint.post("/invocations", PARCEL).status == 200
    return time.perf_counter() - started
