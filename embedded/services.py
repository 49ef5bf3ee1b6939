"""One process of the stack: how it is started, when it counts as healthy, how it is asked to end."""

from __future__ import annotations

import signal
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime

import requests

HealthCheck = Callable[[datetime], str | None]
"""Given when the process started: None if it is healthy, else the reason why not."""


@dataclass(frozen=True, kw_only=True)
class Service:
    """One supervised process. A `once` service is a set-up step: it has to end with 0 before others start."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()
    is_once: bool = False
    check: HealthCheck | None = None
    told_by: str | None = None
    """Which other process its check asks: while that one can't answer, nothing is known of this one."""
    port: int | None = None
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    stop_signal: signal.Signals = signal.SIGTERM
    orphan_signal: signal.Signals = signal.SIGKILL
    stop_seconds: float = 10


def check_answer(url: str) -> str | None:
    """Say why an address does not answer with 200, or None if it does."""
    try:
        status = get_locally(url).status_code
    except requests.RequestException:
        return "does not answer yet"
    return None if status == 200 else f"answers {status}"


def check_port(port: int) -> str | None:
    """Say why a port of the loopback accepts no connection, or None if it does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return "does not listen yet"
    return None


def get_locally(url: str) -> requests.Response:
    """Ask a server of this machine."""
    session = requests.Session()
    # A proxy of the user's must not see the loopback.
    session.trust_env = False
    return session.get(url, timeout=10)
