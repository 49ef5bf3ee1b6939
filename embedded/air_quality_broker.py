"""
The demo's MQTT broker: nats-server with JetStream, on loopback, behind a password. It keeps what it was
given on disk.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

CONNECTION = "air_quality_broker"
USER = "updraft"
_START_SECONDS = 30
# How many messages it hands out before the first is acknowledged, and how much it keeps on disk.
_WINDOW, _STORE_BYTES = 10_000, 10**9


class BrokerError(Exception):
    """Raised when the broker does not start."""


def broker_folder(home: Path) -> Path:
    """Where the broker's state lies, and how far the station has published."""
    return home / "air-quality-broker"


def connection_uri(home: Path, *, port: int) -> str:
    """URI of the Airflow connection `air_quality_broker`; draws the password, if there is none."""
    return f"mqtt://{USER}:{quote(_password(broker_folder(home)), safe='')}@127.0.0.1:{port}/"


def broker_command(home: Path, *, port: int, monitor_port: int) -> list[str]:
    """
    Write the broker's configuration, and give its command. `monitor_port` is for NATS's own protocol, which nobody
    speaks here.
    """
    folder = broker_folder(home)
    password = _password(folder)
    configuration = {
        "server_name": CONNECTION,
        "listen": f"127.0.0.1:{monitor_port}",
        "jetstream": {"store_dir": str(folder / "store"), "max_file_store": _STORE_BYTES},
        "mqtt": {"listen": f"127.0.0.1:{port}", "max_ack_pending": _WINDOW},
        "authorization": {"users": [{"user": USER, "password": password}]},
    }
    path = folder / "nats.conf"
    # Its configuration language takes JSON.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(configuration, file, indent=2)
    return [str(Path(sys.executable).with_name("nats-server")), "-c", str(path)]


def check_broker(port: int) -> str | None:
    """Say why the broker takes no connection, or None if it does."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=3).close()
    except OSError as error:
        return f"takes no connection ({type(error).__name__})"
    return None


@contextlib.contextmanager
def running_broker(home: Path, *, port: int, monitor_port: int) -> Iterator[str]:
    """Run the broker while the block is open; gives the connection's URI."""
    command = broker_command(home, port=port, monitor_port=monitor_port)
    log = broker_folder(home) / "log"
    with log.open("ab") as file:
        process = subprocess.Popen(command, stdout=file, stderr=file, start_new_session=True)
    try:
        give_up_at = time.monotonic() + _START_SECONDS
        while check_broker(port) is not None:
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise BrokerError(
                    f"the broker did not start: {log.read_text(encoding='utf-8', errors='replace')[-1000:]}"
                )
            time.sleep(0.05)
        yield connection_uri(home, port=port)
    finally:
        process.terminate()
        process.wait(10)


def _password(folder: Path) -> str:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = folder / "password"
    try:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="utf-8").strip()
    password = secrets.token_hex(16)
    with os.fdopen(file, "w", encoding="utf-8") as text:
        text.write(password)
    return password
