"""Starting, stopping, and what the endpoint does when something of its own is broken."""

from __future__ import annotations

import math
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from embedded.postgres import free_port
from include.errors import (
    DeclarationError,
    ModelVersionNotFoundError,
    RegistryUnavailableError,
    TamperedModelError,
    UpdraftError,
)
from include.lake.store import open_lake
from include.serving.__main__ import main
from include.serving.server import find_workflow
from include.serving.slots import refuse_version
from include.settings import Settings
from include.workflow import Workflow
from tests.serving.endpoints import DECLARATION, PARCEL, Client, ThreadEndpoint
from tests.serving.models import promote


@pytest.fixture
def own(parcels: Workflow, settings: Settings, versions: dict[str, str]) -> Iterator[ThreadEndpoint]:
    """An endpoint that a test may break."""
    promote(open_lake(settings), "parcels", versions["linear"])
    with ThreadEndpoint(parcels, settings, follow_seconds=600) as endpoint:
        endpoint.wait_for_champion()
        yield endpoint


@pytest.fixture
def signals() -> Iterator[None]:
    """Handlers as they were."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
def test_main_serves_until_sigterm_and_ends_in_good_order(
    tmp_path: Path, settings: Settings, versions: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(settings.home))
    monkeypatch.setenv("UPDRAFT_REGISTRY_URI", settings.registry_uri)
    promote(open_lake(settings), "parcels", versions["linear"])
    declaration = tmp_path / "declared.py"
    declaration.write_text(DECLARATION.format(folder=str(tmp_path / "parcels")))
    client = Client(free_port())

    def ask_then_stop() -> None:
        try:
            client.wait_for_champion()
            client.post("/invocations", PARCEL)
            client.close()
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    asking = threading.Thread(target=ask_then_stop)
    asking.start()
    assert main(["--workflow-file", str(declaration), "--port", str(client.port)]) == 0
    asking.join()
    assert (settings.home / "lake/parcels/predictions/_delta_log").is_dir()


@pytest.mark.parametrize("name", ["../etc", "Flights", "no_such_workflow", "", "a" * 41, "os;x"])
def test_a_name_that_is_no_workflow(name: str) -> None:
    with pytest.raises(DeclarationError):
        find_workflow(name=name)
    assert main(["--workflow", name]) == 2


def test_a_workflow_is_found_by_its_name() -> None:
    assert find_workflow(name="flight_delays").name == "flight_delays"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [("none.py", None, "no file"), ("a.py", "x = 1", "declares no"), ("a.txt", "", "no Python")],
)
def test_a_file_that_declares_nothing(tmp_path: Path, name: str, text: str | None, words: str) -> None:
    if text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(DeclarationError, match=words):
        find_workflow(file=str(tmp_path / name))


def test_a_model_that_gives_nan_is_a_clear_500(own: ThreadEndpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    slots = own.app.endpoint.slots
    assert slots.active is not None
    monkeypatch.setattr(slots, "active", replace(slots.active, compiled=lambda rows: [math.nan] * len(rows)))
    reply = own.post("/invocations", PARCEL, {"x-request-id": "nan-1"})
    assert (reply.status, reply.content["error"]["code"]) == (500, "internal")
    assert "nan-1" in reply.message
    assert own.admin("flush").content == {"rows": 0}


def test_a_prediction_that_cannot_be_logged_is_not_answered(own: ThreadEndpoint) -> None:
    spool = own.settings.home / "endpoint/parcels/spool"
    shutil.rmtree(spool)
    reply = own.post("/invocations", PARCEL)
    assert (reply.status, reply.headers["retry-after"]) == (503, "5")
    assert "cannot be logged" in reply.message
    spool.mkdir()
    assert own.post("/invocations", PARCEL).status == 200


def test_a_flush_says_that_the_lake_is_away(own: ThreadEndpoint) -> None:
    own.post("/invocations", PARCEL)
    table = own.settings.home / "lake/parcels"
    table.write_text("a file where the folder should be")
    assert own.admin("flush").status == 503
    table.unlink()
    assert own.admin("flush").content == {"rows": 1}


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (ModelVersionNotFoundError("gone"), 404),
        (RegistryUnavailableError("away"), 503),
        (TamperedModelError("changed"), 409),
        (DeclarationError("does not run"), 409),
    ],
)
def test_why_a_version_is_not_staged(error: UpdraftError, status: int) -> None:
    refused = refuse_version(error, "7")
    assert refused.status == status
    assert str(error) in str(refused)


def test_a_tampered_version_is_never_served(own: ThreadEndpoint, versions: dict[str, str]) -> None:
    """One byte of the stored model is changed: staging refuses it, and the champion goes on answering."""
    (stored,) = (
        path
        for path in Path(own.settings.artifacts_uri).rglob("model.skops")
        if "boosting" in (path.parent / "manifest.json").read_text()
    )
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    try:
        reply = own.admin("stage", {"version": versions["boosting"]})
    finally:
        stored.write_bytes(whole)
    assert reply.status == 409
    assert "model.skops" in reply.message
    assert own.admin("stage", {"version": versions["boosting"]}).status == 200  # the control: whole again
