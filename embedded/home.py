"""
Where one checkout's local state lives: ports, secrets, process records, logs, data. All under one folder.

Ports are chosen once and remembered; one that somebody else has taken since is chosen anew before a start. Secrets are
drawn once. Both are readable by their owner alone.
"""

from __future__ import annotations

import base64
import fcntl
import hashlib
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded.postgres import PostgresServer
from include.settings import PROJECT_ROOT, read_settings

# Also those of demos that are not asked for: a port costs nothing, and their addresses are known from the start.
PORT_NAMES = (
    *("airflow", "endpoint", "postgres"),
    *("endpoint_flight_delays", "endpoint_release_notes", "endpoint_air_quality", "endpoint_fashion_items"),
    *("release_notes_site", "air_quality_broker", "air_quality_monitor"),
)
# Below the range that the kernel hands out to outgoing connections (32768 and up): nobody takes these by accident.
PORT_RANGE = range(20_000, 32_000)


@dataclass(frozen=True, kw_only=True)
class Home:
    """The folder of all local state, by default `.updraft` beside the project."""

    folder: Path

    @property
    def run(self) -> Path:
        """What runs now: process records, the supervisor's status and lock."""
        return self.folder / "run"

    @property
    def logs(self) -> Path:
        """One log a process."""
        return self.folder / "logs"

    @property
    def airflow(self) -> Path:
        """Airflow's own home: its task logs are here."""
        return self.folder / "airflow"

    @property
    def demo_file(self) -> Path:
        """What the last demo run left for others to read."""
        return self.folder / "demo.json"

    @property
    def demos_file(self) -> Path:
        """Which workflows' demos were asked for."""
        return self.folder / "demos.json"

    @property
    def ports(self) -> dict[str, int]:
        """The remembered ports."""
        ports: dict[str, int] = read_json(self.folder / "ports.json")
        return ports

    @property
    def secrets(self) -> dict[str, str]:
        """The secrets drawn at the first start."""
        drawn: dict[str, str] = read_json(self.folder / "secrets.json")
        return drawn

    @property
    def postgres(self) -> PostgresServer:
        """The embedded server's place."""
        return PostgresServer(folder=self.folder / "postgres", port=self.ports["postgres"])


def open_home(environ: Mapping[str, str] | None = None) -> Home:
    """Name the home that the settings point at; nothing is created."""
    return Home(folder=read_settings(environ).home)


def prepare_home(home: Home) -> None:
    """Create the folders, the ports and the secrets that are missing. What is there stays."""
    # The lake below it may be shared; the folder itself holds secrets, so it is closed to other users when it is new.
    home.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (home.run, home.logs, home.airflow):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (home.run / "prepare.lock").open("a") as lock:
        # Two commands on a fresh home would draw two sets of secrets.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (home.folder / "ports.json").is_file():
            write_json(home.folder / "ports.json", {})
        _complete(home.folder / "secrets.json", _SECRETS)
        write_json(home.airflow / "passwords.json", {"admin": home.secrets["admin_password"]})


def choose_ports(home: Home) -> list[str]:
    """Keep the remembered ports that are still free, choose the others anew, and name those that moved."""
    remembered = home.ports
    candidates = _candidates(home)
    ports: dict[str, int] = {}
    for name in PORT_NAMES:
        port = remembered.get(name)
        if port is None or not is_free(port):
            port = next(
                candidate for candidate in candidates if candidate not in remembered.values() and is_free(candidate)
            )
        ports[name] = port
    write_json(home.folder / "ports.json", ports)
    return [name for name in PORT_NAMES if name in remembered and remembered[name] != ports[name]]


def request_demo(home: Home, workflow_name: str) -> None:
    """Have the supervisor run what a workflow's demo needs, from now on and after each start."""
    with (home.run / "prepare.lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        write_json(home.demos_file, list(dict.fromkeys([*requested_demos(home), workflow_name])))


def requested_demos(home: Home) -> list[str]:
    """Names of the workflows whose demos were asked for, in that order."""
    return list(read_json(home.demos_file))


def is_free(port: int) -> bool:
    """Tell whether a server could listen on a loopback port now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def read_json(path: Path) -> Any:
    """Read a JSON file; a missing one is empty."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file in one step; only its owner can read it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    # The mode holds from the first byte: a secret is never readable by others, not even for a moment.
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def _candidates(home: Home) -> Iterator[int]:
    # Each checkout starts at a place of its own, so that two that start at the same moment do not race for one port.
    seed = int.from_bytes(hashlib.sha256(str(home.folder).encode()).digest()[:8], "big")
    for step in range(len(PORT_RANGE)):
        yield PORT_RANGE[(seed + step) % len(PORT_RANGE)]


def _complete(path: Path, draw: Mapping[str, Callable[[], str]]) -> None:
    values = read_json(path)
    missing = {name: make() for name, make in draw.items() if name not in values}
    if missing:
        write_json(path, {**values, **missing})


_SECRETS: Mapping[str, Callable[[], str]] = {
    "fernet_key": lambda: base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
    # 64 bytes and more: what HMAC with SHA-512 asks for.
    "jwt_secret": lambda: secrets.token_urlsafe(64),
    "api_secret_key": lambda: secrets.token_urlsafe(32),
    "admin_password": lambda: secrets.token_urlsafe(12),
    "endpoint_token": lambda: secrets.token_urlsafe(32),
}

__all__ = [
    "PORT_NAMES",
    "PROJECT_ROOT",
    "Home",
    "choose_ports",
    "is_free",
    "open_home",
    "prepare_home",
    "read_json",
    "request_demo",
    "requested_demos",
    "write_json",
]
