"""What `make new-workflow` writes runs as it is, whatever its source."""

from __future__ import annotations

import functools
import http.server
import importlib
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import include.workflows
from embedded.new_workflow import SOURCES, create_workflow, main, next_steps
from include.errors import DeclarationError
from include.lake.store import Lake
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from tests.mqtt_broker import running_broker

YESTERDAY = f"{datetime.now(UTC) - timedelta(days=1):%Y-%m-%d}"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A project's folder, whose workflows are found beside the real ones."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setattr(
        include.workflows, "__path__", [*include.workflows.__path__, str(tmp_path / "include" / "workflows")]
    )
    yield tmp_path
    for name in [name for name in sys.modules if name.startswith("include.workflows.orders")]:
        del sys.modules[name]


def create(root: Path, source: str) -> Any:
    create_workflow("orders", source, root=root)
    importlib.invalidate_caches()
    return importlib.import_module("include.workflows.orders.workflow").workflow


def sample(root: Path) -> str:
    uri: str = importlib.import_module("include.workflows.orders.sample").write_sample(
        root / "home" / "samples" / "orders"
    )
    return uri


def account(root: Path, workflow: Any, uri: str | None) -> tuple[int, int]:
    """Rows in and published of yesterday; none lost."""
    line = ingest(workflow, YESTERDAY, connection_uri=uri, lake=Lake(uri=str(root / "lake")))
    assert line.rows_in == line.rows_published + line.rows_quarantined
    return line.rows_in, line.rows_published


@pytest.mark.parametrize("source", ["database", "file"])
def test_a_workflow_of_a_database_or_of_files_runs_as_it_is(root, source):
    workflow = create(root, source)
    n_in, n_published = account(root, workflow, sample(root) or None)
    assert (n_in, 50 < n_published <= 60) == (60, True)
    assert {path.name for path in (root / "dags").iterdir()} == {"orders.py"}


def test_a_workflow_of_web_pages_runs_as_it_is(root):
    workflow = create(root, "web")
    sample(root)
    handler = functools.partial(
        http.server.SimpleHTTPRequestHandler, directory=str(root / "home" / "samples" / "orders")
    )
    handler.log_message = lambda *_: None
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as site:
        threading.Thread(target=site.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        hurried = workflow.model_copy(update={"source": workflow.source.model_copy(update={"delay_seconds": 0.0})})
        uri = f"http://127.0.0.1:{site.server_port}/?allow_private_host=true"
        collect_partition(hurried, YESTERDAY, connection_uri=uri, lake=Lake(uri=str(root / "lake")), token=1)
        site.shutdown()
    assert account(root, workflow, None)[0] == 60


@pytest.mark.claim("sensors")
def test_a_workflow_of_a_sensor_runs_as_it_is(root):
    workflow, lake = create(root, "sensor"), Lake(uri=str(root / "lake"))
    with running_broker(root / "queue") as broker:
        collect_partition(workflow, YESTERDAY, connection_uri=broker.uri, lake=lake, token=1)
        assert importlib.import_module("include.workflows.orders.sample").publish_sample(broker.uri) == 40 * 60
        collect_partition(workflow, YESTERDAY, connection_uri=broker.uri, lake=lake, token=2)
    assert account(root, workflow, None)[0] == 60


@pytest.mark.parametrize(
    ("name", "source", "cause"),
    [
        ("Orders", "file", "NAME='Orders' is no workflow's name"),
        ("../orders", "file", "is no workflow's name"),
        ("orders", "mainframe", "SOURCE='mainframe' is no kind of source: choose among database, web, sensor, file"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(root, name, source, cause):
    with pytest.raises(DeclarationError, match=cause):
        create_workflow(name, source, root=root)
    assert not (root / "include").exists()


def test_what_is_there_stays(root):
    create_workflow("orders", "file", root=root)
    with pytest.raises(DeclarationError, match="is there already"):
        create_workflow("orders", "database", root=root)
    assert not (root / "include" / "workflows" / "orders" / "extract.sql").exists()


@pytest.mark.parametrize("source", SOURCES)
def test_it_says_how_to_go_on(source):
    assert "make up" in next_steps("orders", source)


def test_the_command_explains_itself(capsys):
    assert main(["orders"]) == 2
    assert "NAME=orders SOURCE=database|web|sensor|file" in capsys.readouterr().err
    assert main(["flight_delays", "file"]) == 1
    assert "is there already" in capsys.readouterr().err
