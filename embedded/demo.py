"""
`python -m embedded demo`: from nothing to an answering endpoint, in stages that are quick when they have been done
before.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

import psutil

from embedded.airflow_env import ADMIN_USER, stack_environment
from embedded.api_client import AirflowApiError, AirflowClient
from embedded.cases import DemoCase
from embedded.control import StackError, start, wait_until_healthy
from embedded.demo_data import DemoDataError
from embedded.home import PORT_NAMES, Home, prepare_home, request_demo
from embedded.loop import DemoError, Loop
from embedded.plan import endpoint_name
from embedded.postgres import PostgresError
from embedded.progress import Progress
from embedded.summary import collect_outcome, describe, write_demo_file
from embedded.training_calendar import training_calendar
from embedded.verification import VerificationError, Verified, served_version, verify_predictions, verify_upcoming
from include.errors import UpdraftError
from include.settings import read_settings
from include.workflow import Workflow

N_STAGES = 6
FORESEEN = (
    *(DemoError, DemoDataError, VerificationError),
    *(StackError, PostgresError, AirflowApiError, UpdraftError),
)


def run_demo(home: Home, case: DemoCase) -> int:
    """Run the whole loop for one workflow; 0 once a served prediction has been verified."""
    progress = Progress(N_STAGES)
    try:
        _run(home, case, progress)
    except FORESEEN as error:
        print(f"\nThe demo stopped: {error}", file=sys.stderr)
        return 1
    return 0


def _run(home: Home, case: DemoCase, progress: Progress) -> None:
    workflow = case.declaration()
    prepare_home(home)
    if not start(home):
        _check_ports(home)
    with progress.stage("source", case.data):
        case.fetch(home, progress.tell)
        request_demo(home, case.workflow_name)
        shift_days = case.load(home, progress.tell)
    with progress.stage("stack", "Airflow's four processes and the endpoint"):
        wait_until_healthy(home, at_least=[endpoint_name(workflow.name)], progress=progress.tell)
    # The processes were started with exactly these; this process reads the lake and the registry by them too.
    os.environ.update(stack_environment(home))
    client = AirflowClient(
        f"http://127.0.0.1:{home.ports['airflow']}", user=ADMIN_USER, password=home.secrets["admin_password"]
    )
    loop = Loop(home, client, workflow, progress)
    calendar = training_calendar(workflow, case.newest(workflow))
    with progress.stage(
        "ingest", f"{len(calendar.history) + len(calendar.recent)} {workflow.partition.every}s: {_steps(workflow)}"
    ):
        loop.prepare()
        loop.ingest(calendar)
    with progress.stage("train", f"as of {calendar.period.end:%Y-%m-%d}, on {_length(workflow)}"):
        training = loop.train(calendar)
    with progress.stage("deploy", "verify evidence, stage, smoke test, promote"):
        loop.deploy(training)
    with progress.stage("predict", "asking the endpoint what the model said offline"):
        verified = _verify(home, case, workflow)
    _conclude(home, case, verified, {"environment": _environment_seconds(), **progress.seconds}, shift_days)


def _environment_seconds() -> float:
    """How long make took to bring the environment up, before it started this process."""
    begun = os.environ.get("UPDRAFT_MAKE_BEGUN", "")
    return round(max(0.0, psutil.Process().create_time() - int(begun)), 1) if begun.isdigit() else 0.0


def _check_ports(home: Home) -> None:
    if home.ports and not set(PORT_NAMES) <= set(home.ports):
        raise StackError("the stack that runs was started by an older Updraft: `make down`, then again")


def _steps(workflow: Workflow) -> str:
    return f"{'collect, ' if workflow.source.replay == 'archived' else ''}extract, validate, publish"


def _length(workflow: Workflow) -> str:
    days = (workflow.training.window + workflow.training.test).days
    return f"{days} days, with a search of {workflow.training.search.budget_seconds:g} CPU seconds"


def _verify(home: Home, case: DemoCase, workflow: Workflow) -> Verified:
    from include.modeling.model import read_golden
    from include.modeling.schema import coerce_row
    from include.registry import load_version, open_registry, read_version, version_folder

    settings = read_settings()
    version = served_version(settings.endpoint_url_of(workflow.name))
    if version is None:
        raise DemoError(_why_nothing_serves(workflow))
    registry = open_registry(settings)
    model = load_version(registry, workflow.name, version)  # verifies every byte first
    with version_folder(registry, read_version(registry, workflow.name, version)) as folder:
        golden = read_golden(folder)
    rows: list[Mapping[str, Any]] = list(golden.rows)
    url = settings.endpoint_url_of(workflow.name)
    verified = verify_predictions(url, rows=rows, expected=list(golden.predictions))
    upcoming = case.upcoming(home, workflow)
    if upcoming is None:
        return verified
    columns = model.manifest.input_columns
    # As JSON carries it: what is served is held against what the model says of the very same request.
    request = json.loads(json.dumps({column.name: upcoming.get(column.name) for column in columns}, default=_as_text))
    expected = float(model.predict([coerce_row(columns, request)])[0])
    return replace(verified, upcoming={"request": request, **verify_upcoming(url, row=request, expected=expected)})


def _as_text(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else str(value)


def _why_nothing_serves(workflow: Workflow) -> str:
    from include.lake.ledger import DECISIONS, read_ledger
    from include.lake.store import open_lake

    decisions = read_ledger(open_lake(), DECISIONS, workflow=workflow.name).to_pylist()
    if not decisions:
        return "no model serves, and the gate has judged none: see the train Dag's runs in the web UI"
    last = decisions[-1]
    reasons = "\n".join(f"  - {reason}" for reason in json.loads(last["reasons"]))
    if last["verdict"] == "HOLD":
        reasons += "\nA person may let it pass: look for it in the web UI under Browse > Required Actions."
    return f"no model serves: the gate's verdict on version {last['model_version']} is {last['verdict']}\n{reasons}"


def _conclude(home: Home, case: DemoCase, verified: Verified, seconds: dict[str, float], shift_days: int) -> None:
    from include.lake.store import open_lake

    settings = read_settings()
    outcome = collect_outcome(case.declaration(), verified.model_version, lake=open_lake(settings), settings=settings)
    write_demo_file(home, settings, outcome=outcome, verified=verified, seconds=seconds, calendar_shift_days=shift_days)
    print(describe(home, settings, outcome=outcome, verified=verified, seconds=seconds, item=case.item))
