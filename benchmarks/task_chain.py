"""
Airflow's overhead with Updraft's settings: a chain of ten tasks, trivial, and with the heavy modules
imported in each.
"""

from __future__ import annotations

import tempfile
from datetime import datetime
from pathlib import Path
from statistics import median

from benchmarks.report import Finding
from tests.acceptance.stack import AirflowStack, running_stack

REPEAT = 3
CHAINS = """\
from airflow.sdk import dag, task

HEAVY = ("pandas", "sklearn.ensemble", "great_expectations", "mlflow", "deltalake")

def chain_of(dag_id, modules):
    @dag(dag_id, schedule=None)
    def chain():
        @task
        def step(i):
            import importlib
            for module in modules:
                importlib.import_module(module)
            return i + 1
        done = 0
        for _ in range(10):
            done = step(done)
    chain()

chain_of("trivial", ())
chain_of("heavy", HEAVY)
"""


def measure() -> list[Finding]:
    """Seconds of each chain, and their ratio."""
    with tempfile.TemporaryDirectory() as folder:
        dags = Path(folder) / "dags"
        dags.mkdir()
        (dags / "chains.py").write_text(CHAINS, encoding="utf-8")
        with running_stack(Path(folder) / "home", environ={"UPDRAFT_DAGS_FOLDER": str(dags)}) as stack:
            stack.client.wait_for_dags({"trivial", "heavy"})
            seconds: dict[str, list[float]] = {"trivial": [], "heavy": []}
            for dag_id in seconds:
                stack.client.set_paused(dag_id, False)
                _chain_seconds(stack, dag_id)  # the first run warms the workers
            for _ in range(REPEAT):
                for dag_id, taken in seconds.items():
                    taken.append(_chain_seconds(stack, dag_id))
    trivial, heavy = median(seconds["trivial"]), median(seconds["heavy"])
    return [
        Finding(
            what="chain of 10 trivial tasks", observed=trivial, bound=3.5, unit=" s", note="Airflow's defaults: 11.6 s"
        ),
        Finding(
            what="the same with the heavy modules / trivial",
            observed=heavy / trivial,
            bound=1.3,
            note=f"{heavy:.1f} s; defaults: 67.8 s",
        ),
    ]


def _chain_seconds(stack: AirflowStack, dag_id: str) -> float:
    run = stack.client.wait_for_run(dag_id, stack.client.trigger(dag_id))
    if run["state"] != "success":
        raise RuntimeError(f"the benchmark's Dag {dag_id!r} ended as {run['state']}")
    start, end = (datetime.fromisoformat(run[name]) for name in ("start_date", "end_date"))
    return (end - start).total_seconds()


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())
