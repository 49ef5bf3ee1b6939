"""
Our serving program as a SageMaker container: in a process of its own, as in the image; or in a thread,
for quick tests.
"""

from __future__ import annotations

import io
import os
import subprocess
import sys
import tarfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import uvicorn

from embedded.postgres import free_port
from include.errors import UpdraftError
from include.serving.container import build_container_app
from include.serving.limits import Limits
from include.serving.server import server_config
from include.settings import PROJECT_ROOT

START_SECONDS = 60


class Container(Protocol):
    """Something that answers on a port."""

    port: int

    def stop(self) -> None:
        """End it."""


StartContainer = Callable[[Path, Mapping[str, str]], Container]


def unpack_bundle(bundle: bytes, folder: Path) -> None:
    """Unpack `model.tar.gz` as SageMaker does."""
    with tarfile.open(fileobj=io.BytesIO(bundle), mode="r:gz") as archive:
        archive.extractall(folder, filter="data")


class ProcessContainer:
    """`python -m include.serving.container serve`, with nothing in its environment but what SageMaker gives."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        self.log = folder.with_suffix(".log")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "include.serving.container",
                    "serve",
                    "--host",
                    "127.0.0.1",
                    "--port",
                    str(self.port),
                ],
                cwd=PROJECT_ROOT,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(PROJECT_ROOT),
                    "UPDRAFT_MODEL_DIR": str(folder),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        try:
            wait_for_ping(self.port, is_alive=lambda: self.process.poll() is None)
        except RuntimeError as error:
            self.stop()
            raise RuntimeError(f"{error}: {self.log.read_text(errors='replace')[-500:]}") from None

    def stop(self) -> None:
        """End it."""
        self.process.kill()
        self.process.wait()


class ThreadContainer:
    """The same program in a thread of this process."""

    def __init__(self, folder: Path, environment: Mapping[str, str]) -> None:
        self.port = free_port()
        limits = Limits()
        try:
            app = build_container_app({"UPDRAFT_MODEL_DIR": str(folder), **environment}, limits=limits)
        except UpdraftError as error:
            raise RuntimeError(str(error)) from error
        self._server = uvicorn.Server(server_config(app, host="127.0.0.1", port=self.port, limits=limits))
        self._thread = threading.Thread(target=self._server.run)
        self._thread.start()
        wait_for_ping(self.port, is_alive=self._thread.is_alive)

    def stop(self) -> None:
        """End it."""
        self._server.should_exit = True
        self._thread.join()


def wait_for_ping(port: int, *, is_alive: Callable[[], bool]) -> None:
    """Wait until `GET /ping` says 200."""
    give_up_at = time.monotonic() + START_SECONDS
    while time.monotonic() < give_up_at and is_alive():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/ping", timeout=5) as response:
                if response.status == 200:
                    return
        except OSError:
            time.sleep(0.02)
    raise RuntimeError("the container did not answer /ping with 200")
