"""Endpoints over real sockets, and a client of the standard library."""

from __future__ import annotations

import http.client
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any, NamedTuple

import uvicorn

from embedded.postgres import free_port
from include.serving.limits import Limits
from include.serving.server import build_app, server_config
from include.settings import PROJECT_ROOT, Settings
from include.workflow import Workflow

TOKEN = "t0ken-of-the-tests"
AUTHORIZED = {"authorization": f"Bearer {TOKEN}"}
DECLARATION = """\
from pathlib import Path

from tests.factories import declare_workflow

workflow = declare_workflow(Path({folder!r}))
"""
PARCEL = {"parcel_id": 1, "sent_at": "2026-01-06T09:30:00Z", "depot": "east", "distance_km": 420.5, "weight_kg": 12.5}


class Reply(NamedTuple):
    """An answer of the endpoint."""

    status: int
    headers: dict[str, str]
    content: Any

    @property
    def message(self) -> str:
        """The error's message."""
        return str(self.content["error"]["message"])


class Client:
    """Asks one endpoint, on one kept-alive connection a thread."""

    def __init__(self, port: int) -> None:
        self.port = port
        self._local = threading.local()

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """Send one request."""
        connection = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body=body, headers=headers or {})
            response = connection.getresponse()
            raw = response.read()
        except BaseException:
            connection.close()
            self._local.connection = None
            raise
        return Reply(
            response.status, {k.lower(): v for k, v in response.getheaders()}, json.loads(raw) if raw else None
        )

    def get(self, path: str, headers: dict[str, str] | None = None) -> Reply:
        """GET."""
        return self.ask("GET", path, headers=headers)

    def post(self, path: str, content: Any = None, headers: dict[str, str] | None = None) -> Reply:
        """POST JSON."""
        return self.ask(
            "POST", path, json.dumps(content).encode(), {"content-type": "application/json", **(headers or {})}
        )

    def admin(self, action: str, content: Any = None) -> Reply:
        """Ask an admin route, with the token."""
        return (
            self.get("/admin/status", AUTHORIZED)
            if action == "status"
            else self.post(f"/admin/{action}", content, AUTHORIZED)
        )

    def close(self) -> None:
        """Close this thread's connection."""
        connection = getattr(self._local, "connection", None)
        if connection is not None:
            connection.close()
            self._local.connection = None

    def wait_for_champion(self, version: str | None = None, *, seconds: float = 60) -> None:
        """Wait until a champion (or this version) serves."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                reply = self.get("/ping")
                if reply.status == 200 and version in (None, reply.content["model_version"]):
                    return
            except OSError:
                pass
            time.sleep(0.05)
        raise TimeoutError(f"no champion {version or ''} within {seconds} s")


class ThreadEndpoint(Client):
    """The endpoint in a thread of this process."""

    def __init__(
        self, workflow: Workflow, settings: Settings, *, limits: Limits | None = None, follow_seconds: float = 0.2
    ) -> None:
        super().__init__(free_port())
        limits = limits or Limits()
        self.settings = settings
        self.app = build_app(workflow, settings, limits=limits, follow_seconds=follow_seconds)
        self._server = uvicorn.Server(server_config(self.app, host="127.0.0.1", port=self.port, limits=limits))
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> ThreadEndpoint:
        self._thread.start()
        while not self._server.started and self._thread.is_alive():
            time.sleep(0.01)
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._server.should_exit = True
        self._thread.join()


class ProcessEndpoint(Client):
    """The endpoint as users start it: `python -m include.serving`."""

    def __init__(self, folder: Path, settings: Settings, **environment: str) -> None:
        super().__init__(free_port())
        declaration = folder / "declared.py"
        declaration.write_text(DECLARATION.format(folder=str(folder / "parcels")))
        self.log = folder / "endpoint.log"
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "include.serving",
                    "--workflow-file",
                    str(declaration),
                    "--port",
                    str(self.port),
                ],
                cwd=PROJECT_ROOT,
                stdout=log,
                stderr=log,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(PROJECT_ROOT),
                    "UPDRAFT_HOME": str(settings.home),
                    "UPDRAFT_LAKE_URI": settings.lake_uri,
                    "UPDRAFT_REGISTRY_URI": settings.registry_uri,
                    "UPDRAFT_ENDPOINT_TOKEN": TOKEN,
                    **environment,
                },
            )

    def __enter__(self) -> ProcessEndpoint:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self.process.kill()
        self.process.wait()
