"""
The loop's seconds in Airflow beside the same stages as plain functions, on the same flights: what
scheduling costs.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from time import monotonic

from benchmarks.report import Finding
from embedded.airflow_env import ADMIN_USER, stack_environment
from embedded.api_client import AirflowClient
from embedded.home import Home
from include.lake.ledger import current_champion
from include.lake.partitions import list_partitions
from include.lake.store import Lake, open_lake
from include.registry import open_registry
from include.rehearsal import ingest, train
from include.settings import PROJECT_ROOT, read_settings
from include.workflows.flight_delays.workflow import workflow


def measure() -> list[Finding]:
    """Ratio of Airflow's seconds to the plain functions', for a week of ingestion and for the training after it."""
    with tempfile.TemporaryDirectory() as folder, _demo(Path(folder) / "home") as home:
        settings = read_settings(stack_environment(home))
        champion = current_champion(open_lake(settings), workflow.name)
        if champion is None:
            raise RuntimeError("the demo deployed no model")
        keys = list_partitions(open_lake(settings), f"{workflow.name}/validated")
        in_airflow = _airflow_seconds(home)
        os.environ["UPDRAFT_HOME"] = str(Path(folder) / "plain")
        plain = _plain_seconds(home, keys, champion.as_of, lake=Lake(uri=f"{folder}/lake", storage_options={}))
    return [
        Finding(
            what=f"{stage}: in Airflow / as plain functions",
            observed=in_airflow[stage] / plain[stage],
            bound=bound,
            note=f"{in_airflow[stage]:.1f} s beside {plain[stage]:.1f} s",
        )
        for stage, bound in (("ingest a partition", 10.0), ("train", 2.0))
    ]


@contextmanager
def _demo(folder: Path) -> Iterator[Home]:
    home = Home(folder=folder)
    env = {**os.environ, "UPDRAFT_HOME": str(folder)}
    command = [sys.executable, "-m", "embedded"]
    try:
        subprocess.run([*command, "demo"], env=env, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)
        yield home
    finally:
        subprocess.run([*command, "down"], env=env, cwd=PROJECT_ROOT, check=True, stdout=subprocess.DEVNULL)


def _airflow_seconds(home: Home) -> dict[str, float]:
    """Seconds of wall time a partition (several run at once), and of the training's run."""
    client = AirflowClient(
        f"http://127.0.0.1:{home.ports['airflow']}", user=ADMIN_USER, password=home.secrets["admin_password"]
    )
    facts = json.loads(home.demo_file.read_text(encoding="utf-8"))
    n_runs = len(client.runs(f"{workflow.name}.ingest"))
    run = client.runs(f"{workflow.name}.train")[-1]
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return {"ingest a partition": facts["seconds"]["ingest"] / n_runs, "train": (end - start).total_seconds()}


def _plain_seconds(home: Home, keys: list[str], as_of: datetime, *, lake: Lake) -> dict[str, float]:
    uri = stack_environment(home)["AIRFLOW_CONN_FLIGHTS_DB"]
    ingest(workflow, keys[0], connection_uri=uri, lake=lake)  # imports are paid once, as in the preloaded scheduler
    begun = monotonic()
    for key in keys[1:]:
        ingest(workflow, key, connection_uri=uri, lake=lake)
    ingested = monotonic()
    train(workflow, as_of, lake=lake, registry=open_registry())
    return {"ingest a partition": (ingested - begun) / (len(keys) - 1), "train": monotonic() - ingested}


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())
