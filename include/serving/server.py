"""Puts the endpoint together from the settings, and runs it."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import logging
import re
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import uvicorn

from include.errors import DeclarationError
from include.lake.ledger import PROMOTIONS, current_champion
from include.lake.store import Lake, open_lake, table_exists, table_version
from include.modeling.model import read_golden
from include.serving.app import EndpointApp
from include.serving.endpoint import Endpoint
from include.serving.limits import Limits
from include.serving.prediction_log import PredictionLog
from include.serving.protocol import bounded_protocol
from include.serving.served_model import ServedModel, serve_model
from include.serving.slots import Slots
from include.settings import Settings, read_settings
from include.workflow import Workflow

logger = logging.getLogger(__name__)

_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


def find_workflow(*, name: str | None = None, file: str | None = None) -> Workflow:
    """
    Return the declaration that a name (under `include/workflows`) or a file holds.

    Raises
    ------
    DeclarationError
        If there is none.

    """
    if name is not None:
        module = _import_workflow(name)
    elif file is not None:
        module = _run_file(Path(file))
    found = getattr(module, "workflow", None)
    if not isinstance(found, Workflow):
        raise DeclarationError(f"{name or file} declares no workflow: it must hold `workflow = Workflow(...)`")
    return found


def build_app(workflow: Workflow, settings: Settings, *, limits: Limits, follow_seconds: float = 3.0) -> EndpointApp:
    """Build the endpoint of one workflow over the lake and the registry of the settings."""
    lake = open_lake(settings)
    slots = Slots(
        load=functools.partial(_load, workflow.name, settings),
        read_champion=ChampionReader(lake, workflow.name),
        executor=ThreadPoolExecutor(1, thread_name_prefix="load"),
    )
    log = PredictionLog(
        settings.home / "endpoint" / workflow.name / "spool", lake=lake, table=f"{workflow.name}/predictions"
    )
    endpoint = Endpoint(workflow.name, slots=slots, log=log, token=settings.endpoint_token, limits=limits)
    return EndpointApp(endpoint, follow_seconds=follow_seconds)


def server_config(app: EndpointApp, *, host: str, port: int, limits: Limits) -> uvicorn.Config:
    """Configure uvicorn: one process, bounded headers, no access log, and time to drain."""
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        loop="uvloop",
        http=bounded_protocol(limits),
        ws="none",
        lifespan="on",
        access_log=False,
        server_header=False,
        log_config=None,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=int(limits.arrival_seconds) + 5,
    )


def serve(workflow: Workflow, *, host: str, port: int) -> None:
    """Serve until a signal; requests that have begun are answered first."""
    limits = Limits()
    run_app(build_app(workflow, read_settings(), limits=limits), host=host, port=port, limits=limits)


def run_app(app: EndpointApp, *, host: str, port: int, limits: Limits) -> None:
    """Run an endpoint until a signal."""
    # uvicorn raises the signal again once it has drained; the process then ends in good order instead of by it.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: None)
    logger.info("the endpoint of %s starts on http://%s:%s", app.endpoint.name, host, port)
    uvicorn.Server(server_config(app, host=host, port=port, limits=limits)).run()


class ChampionReader:
    """
    Reads the champion from the promotion ledger; as long as the ledger's version is the same, without
    reading its rows.
    """

    def __init__(self, lake: Lake, workflow_name: str) -> None:
        self._lake = lake
        self._workflow_name = workflow_name
        self._seen: tuple[int, str | None] = (-1, None)

    def __call__(self) -> str | None:
        """Version of the champion, None before the first promotion."""
        if not table_exists(self._lake, PROMOTIONS):
            return None
        table_version_now = table_version(self._lake, PROMOTIONS)
        if table_version_now != self._seen[0]:
            found = current_champion(self._lake, self._workflow_name)
            self._seen = (table_version_now, None if found is None else found.model_version)
        return self._seen[1]


def _load(workflow_name: str, settings: Settings, version: str) -> ServedModel:
    # MLflow takes seconds to import: the endpoint already answers (503, with the reason) meanwhile.
    from include.registry import load_version, open_registry, read_version, version_folder

    registry = open_registry(settings)
    model = load_version(registry, workflow_name, version, lake=open_lake(settings))
    with version_folder(registry, read_version(registry, workflow_name, version)) as folder:
        golden = read_golden(folder)
    return serve_model(version, model, golden=golden.rows)


def _import_workflow(name: str) -> Any:
    if not _NAME.fullmatch(name):
        raise DeclarationError(f"{name[:60]!r} is no name of a workflow: write lower-case letters, digits and '_'")
    target = f"include.workflows.{name}"
    try:
        return importlib.import_module(f"{target}.workflow")
    except ModuleNotFoundError as error:
        if error.name not in (target, f"{target}.workflow"):
            raise
        raise DeclarationError(f"there is no workflow {name!r}: create include/workflows/{name}/workflow.py") from None


def _run_file(path: Path) -> Any:
    if not path.is_file():
        raise DeclarationError(f"{path} is no file: name the file that declares the workflow")
    spec = importlib.util.spec_from_file_location(f"updraft_workflow_{path.parent.name}", path)
    if spec is None or spec.loader is None:
        raise DeclarationError(f"{path} is no Python file: name the file that declares the workflow")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
