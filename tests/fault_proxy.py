"""
A small HTTP proxy on loopback that injects faults: latency, statuses, drips, resets, truncation. Without an upstream it
answers by itself.

    with FaultProxy(upstream_port=8080) as proxy:
        proxy.faults["/a.html"] = [status(429, {"Retry-After": "1"}), reset(after_bytes=100)]   # one a request, in this
        order proxy.default = latency(0.02)                                                            # whatever has
        none of its own
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
import time
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

PHRASES = {200: "OK", 304: "Not Modified", 302: "Found"}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What to do with one request."""

    latency_seconds: float = 0.0
    answer: bytes | None = None  # in place of the upstream's
    drip_seconds: float = 0.0  # between two pieces of the answer
    piece_bytes: int = 1
    cut_after_bytes: int | None = None
    is_reset: bool = False  # ended by RST where it is cut


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One request that arrived."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str] = field(repr=False)


def latency(seconds: float) -> Fault:
    """Answer later."""
    return Fault(latency_seconds=seconds)


def status(code: int, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Fault:
    """Answer with a status in place of the upstream."""
    lines = {"Content-Type": "text/html", **(headers or {}), "Content-Length": str(len(body))}
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return Fault(answer=f"HTTP/1.1 {code} {PHRASES.get(code, 'Status')}\r\n{head}\r\n".encode() + body)


def drip(seconds: float, *, piece_bytes: int = 1) -> Fault:
    """Send the answer bit by bit, never silent for long."""
    return Fault(drip_seconds=seconds, piece_bytes=piece_bytes)


def reset(*, after_bytes: int = 0) -> Fault:
    """Break the connection hard, in the middle of the answer."""
    return Fault(cut_after_bytes=after_bytes, is_reset=True)


def truncate(*, after_bytes: int) -> Fault:
    """Close the connection before the answer is whole."""
    return Fault(cut_after_bytes=after_bytes)


class FaultProxy:
    """The proxy; runs in a thread of its own while its block is open."""

    def __init__(self, *, upstream_port: int | None = None) -> None:
        self._upstream = upstream_port
        self.faults: dict[str, list[Fault]] = defaultdict(list)
        self.default = Fault() if upstream_port else status(404)
        self.seen: list[Seen] = []
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._is_ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> FaultProxy:
        self._thread.start()
        assert self._is_ready.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop)
        self._thread.join(10)

    @property
    def address(self) -> str:
        """`127.0.0.1:port`."""
        return f"127.0.0.1:{self.port}"

    def paths(self) -> list[str]:
        """Paths asked for, in order."""
        return [seen.path for seen in self.seen]

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = server.sockets[0].getsockname()[1]
        self._is_ready.set()
        self._loop.run_forever()
        server.close()
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(asyncio.sleep(0.05))  # closed sockets leave the loop in its next rounds
        self._loop.close()

    def _stop(self) -> None:
        self._loop.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        upstream = None
        try:
            with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
                while head := await reader.readuntil(b"\r\n\r\n"):
                    fault = self._note(head)
                    await asyncio.sleep(fault.latency_seconds)
                    if fault.answer is None and upstream is None:
                        upstream = await asyncio.open_connection("127.0.0.1", self._upstream)
                    answer = fault.answer if fault.answer is not None else await _ask(upstream, head)
                    if not await _send(writer, answer, fault):
                        break
        finally:
            for stream in (writer, upstream[1] if upstream else None):
                if stream is not None:
                    stream.close()

    def _note(self, head: bytes) -> Fault:
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        method, path, _ = first.split(" ", 2)
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        self.seen.append(Seen(at=time.monotonic(), method=method, path=path, headers=headers))
        waiting = self.faults.get(path)
        return waiting.pop(0) if waiting else self.default


async def _ask(upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter], head: bytes) -> bytes:
    reader, writer = upstream
    writer.write(head)
    await writer.drain()
    answer = await reader.readuntil(b"\r\n\r\n")
    lines = answer.lower().split(b"\r\n")
    length = next((int(line.partition(b":")[2]) for line in lines if line.startswith(b"content-length:")), 0)
    is_bodiless = lines[0].split()[1] in {b"304", b"204"} or head.startswith(b"HEAD ")
    return answer if is_bodiless else answer + await reader.readexactly(length)


async def _send(writer: asyncio.StreamWriter, answer: bytes, fault: Fault) -> bool:
    sent = answer if fault.cut_after_bytes is None else answer[: fault.cut_after_bytes]
    if fault.drip_seconds:
        for start in range(0, len(sent), fault.piece_bytes):
            writer.write(sent[start : start + fault.piece_bytes])
            await writer.drain()
            await asyncio.sleep(fault.drip_seconds)
    else:
        writer.write(sent)
        await writer.drain()
    if fault.is_reset:
        # Lingering for no time makes the kernel send a reset.
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        writer.transport.abort()
    return fault.cut_after_bytes is None
