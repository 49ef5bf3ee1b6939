"""Parse time of every Dag file, beside a file that imports only `airflow.sdk`: each in a fresh process."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from statistics import median

from benchmarks.report import Finding
from include.settings import PROJECT_ROOT

REPEAT = 7
BARE = """\
from airflow.sdk import DAG, BaseOperator
with DAG("bare", schedule=None):
    BaseOperator(task_id="nothing")
"""
# The child times the import itself, without the interpreter's start-up, as the Dag processor's forks do.
TIMER = """\
import importlib.util, sys, time
start = time.perf_counter()
spec = importlib.util.spec_from_file_location("dag_file", sys.argv[1])
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
print(time.perf_counter() - start)
"""


def measure() -> list[Finding]:
    """Ratio of each Dag file's parse time to the bare file's."""
    with tempfile.TemporaryDirectory() as folder:
        bare = Path(folder) / "bare.py"
        bare.write_text(BARE, encoding="utf-8")
        files = sorted((PROJECT_ROOT / "dags").glob("*.py"))
        _parse_seconds(bare, folder)  # warms the disk cache and Airflow's generated config
        seconds: dict[Path, list[float]] = {path: [] for path in [bare, *files]}
        for _ in range(REPEAT):
            for path, taken in seconds.items():
                taken.append(_parse_seconds(path, folder))
    base = median(seconds[bare])
    return [
        Finding(
            what=f"parse dags/{path.name} / bare airflow.sdk file",
            observed=median(seconds[path]) / base,
            bound=1.5,
            note=f"bare {base:.2f} s",
        )
        for path in files
    ]


def _parse_seconds(path: Path, home: str) -> float:
    env = {
        **os.environ,
        "AIRFLOW_HOME": home,
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(PROJECT_ROOT / "plugins"),
        "PYTHONPATH": f"{PROJECT_ROOT}:{PROJECT_ROOT / 'plugins'}",
    }
    done = subprocess.run([sys.executable, "-c", TIMER, str(path)], env=env, capture_output=True, text=True, check=True)
    return float(done.stdout.strip().splitlines()[-1])


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())
