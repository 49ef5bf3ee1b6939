"""
A keep-alive HTTP client that costs little: `python -m benchmarks.http_load PORT PATH N_REQUESTS N_CONNECTIONS < body`.

It runs in a process of its own, so that it takes no time from the server, sends a fixed request and prints JSON.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from pathlib import Path

TIMEOUT_SECONDS = 60


class Connection:
    """One kept-alive connection: at most one request is on its way."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=TIMEOUT_SECONDS)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.started = 0.0
        self._received = b""

    def send(self, request: bytes) -> None:
        """Start a request."""
        self.started = time.perf_counter()
        self.socket.sendall(request)

    def receive(self) -> bool:
        """Read what is there; True once the answer is complete."""
        self._received += self.socket.recv(65_536)
        head, separator, body = self._received.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(b"HTTP/1.1 200 "):
            raise SystemExit(f"the server answered {self._received[:400]!r}")
        length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
        if len(body) < length:
            return False
        self._received = b""
        return True


def load(port: int, request: bytes, *, n_requests: int, n_connections: int) -> dict[str, float]:
    """Send the requests; p50 and p99 of the latency in milliseconds, and requests a second."""
    selector = selectors.DefaultSelector()
    connections = [Connection(port) for _ in range(n_connections)]
    for connection in connections:
        selector.register(connection.socket, selectors.EVENT_READ, connection)
    latencies: list[float] = []
    n_sent = n_connections
    started = time.perf_counter()
    for connection in connections:
        connection.send(request)
    while len(latencies) < n_requests:
        for key, _ in selector.select(TIMEOUT_SECONDS):
            connection = key.data
            if connection.receive():
                latencies.append(time.perf_counter() - connection.started)
                if n_sent < n_requests:
                    n_sent += 1
                    connection.send(request)
    seconds = time.perf_counter() - started
    for connection in connections:
        connection.socket.close()
    ordered = sorted(latencies)
    return {
        "p50_ms": ordered[len(ordered) // 2] * 1e3,
        "p99_ms": ordered[int(len(ordered) * 0.99)] * 1e3,
        "per_second": len(latencies) / seconds,
        "n_requests": len(latencies),
    }


def main() -> None:
    """Read the arguments and the body, warm the server up, and measure."""
    port, path, n_requests, n_connections = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
    body = Path("/dev/stdin").read_bytes()
    head = (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: "
        f"{len(body)}\r\n\r\n"
    )
    print(json.dumps(load(port, head.encode() + body, n_requests=n_requests, n_connections=n_connections)))


if __name__ == "__main__":
    main()
