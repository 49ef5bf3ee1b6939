"""
The endpoint beside `mlflow models serve` and beside FastAPI with ONNX Runtime: one row, a logistic pipeline, ten
categorical columns.

All three run in processes of their own on loopback and are asked by the same client in a process of its own. The
endpoint and MLflow serve the same fitted pipeline; ONNX Runtime a plainer one (its converter knows neither rare
categories nor missing-value indicators), and it alone logs nothing.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Any, BinaryIO
from urllib.error import URLError
from urllib.request import urlopen

import numpy as np
import pyarrow as pa

from benchmarks.report import Finding
from embedded.postgres import free_port
from include.lake.store import open_lake, open_table
from include.modeling.model import load_model, manifest_digest, read_manifest
from include.registry import open_registry, register_version
from include.settings import PROJECT_ROOT, Settings, read_settings
from include.workflow import Features, Workflow
from tests.factories import declare_workflow
from tests.serving.models import promote, train_package

CATEGORIES = [f"c{i}" for i in range(10)]
NUMBERS = [f"x{i}" for i in range(5)]
N_WARM, N_ONE, N_MANY, N_CONNECTIONS, N_TURNS = 200, 1_000, 4_000, 16, 5
START_SECONDS = 120
DECLARATION = """\
from pathlib import Path

from include.workflow import Features
from tests.factories import declare_workflow

workflow = declare_workflow(Path({folder!r}), features=Features())
"""


@dataclass(frozen=True, kw_only=True)
class Peer:
    """A running server, the request that it is asked, and what share of the requests it gets (slow ones: few)."""

    port: int
    body: str
    share: float = 1.0

    def ask(self, n_requests: int, n_connections: int) -> dict[str, float]:
        """Latencies and throughput of so many requests."""
        command = [sys.executable, "-m", "benchmarks.http_load", str(self.port), "/invocations"]
        command += [str(int(n_requests * self.share)), str(n_connections)]
        run = subprocess.run(command, input=self.body, capture_output=True, text=True, check=True, cwd=PROJECT_ROOT)
        found: dict[str, float] = json.loads(run.stdout)
        return found


def measure() -> list[Finding]:
    """Start the servers, ask them in turns (so that a busy machine is busy for all), and compare the medians."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        table = _rows()
        workflow = declare_workflow(home / "declared", features=Features())
        settings = read_settings({"UPDRAFT_HOME": str(home)})
        train_package(workflow, home / "package", table=table, family="linear", training_id="benchmark")
        with (
            _updraft(workflow, settings, home, table) as ours,
            _mlflow(home, table) as mlflow,
            _onnx(home, table) as onnx,
        ):
            peers = {"endpoint": ours, "MLflow": mlflow} | ({"ONNX": onnx} if onnx else {})
            for peer in peers.values():
                peer.ask(N_WARM, 1)
            one = _in_turns(peers, N_ONE, 1, figure="p50_ms")
            many = _in_turns(peers, N_MANY, N_CONNECTIONS, figure="per_second")
        logged = (
            open_table(open_lake(settings), f"{workflow.name}/predictions").to_pyarrow_table(columns=["score"]).num_rows
        )
    answered = N_WARM + N_TURNS * (N_ONE + N_MANY)
    findings = [
        _at_least(
            "one row: MLflow's latency / the endpoint's",
            one["MLflow"] / one["endpoint"],
            20,
            _described(one, " ms p50"),
        ),
        _at_least(
            "16 at once: the endpoint's throughput / MLflow's",
            many["endpoint"] / many["MLflow"],
            50,
            _described(many, "/s"),
        ),
        _at_least("predictions in the lake / requests answered", logged / answered, 1, f"{logged:,} rows"),
    ]
    if "ONNX" in one:
        findings.append(
            _at_least(
                "one row: FastAPI + ONNX Runtime's latency / the endpoint's", one["ONNX"] / one["endpoint"], 1, ""
            )
        )
    return findings


def _in_turns(peers: Mapping[str, Peer], n_requests: int, n_connections: int, *, figure: str) -> dict[str, float]:
    turns = [
        {name: peer.ask(n_requests, n_connections)[figure] for name, peer in peers.items()} for _ in range(N_TURNS)
    ]
    return {name: median(turn[name] for turn in turns) for name in peers}


def _described(figures: Mapping[str, float], unit: str) -> str:
    return ", ".join(f"{name} {figure:,.3g}{unit}" for name, figure in figures.items())


def _at_least(what: str, observed: float, bound: float, note: str) -> Finding:
    return Finding(what=what, observed=observed, bound=bound, at_least=True, note=note)


def _rows(n_rows: int = 4_000) -> pa.Table:
    rng = np.random.default_rng(0)
    start = datetime(2026, 1, 5, tzinfo=UTC)
    columns: dict[str, Any] = {name: rng.choice([f"{name}_{k}" for k in range(12)], n_rows) for name in CATEGORIES}
    columns |= {name: rng.normal(size=n_rows) for name in NUMBERS}
    columns["sent_at"] = pa.array([start + timedelta(minutes=i) for i in range(n_rows)], pa.timestamp("us", tz="UTC"))
    columns["is_late"] = columns["x0"] + (columns["c0"] == "c0_1") + rng.normal(size=n_rows) > 0.5
    return pa.table(columns)


@contextmanager
def _updraft(workflow: Workflow, settings: Settings, home: Path, table: pa.Table) -> Iterator[Peer]:
    folder = home / "package"
    version = register_version(
        open_registry(settings), workflow, folder, training_id="benchmark", metrics={}, params={}
    ).version
    promote(open_lake(settings), workflow.name, version)
    declaration = home / "declaration.py"
    declaration.write_text(DECLARATION.format(folder=str(home / "declared")), encoding="utf-8")
    row = table.slice(0, 1).to_pylist()[0]
    port = free_port()
    command = [sys.executable, "-m", "include.serving", "--workflow-file", str(declaration), "--port", str(port)]
    with _server(command, port, home / "updraft.log", {"UPDRAFT_HOME": str(home)}):
        yield Peer(port=port, body=json.dumps({**row, "sent_at": row["sent_at"].isoformat()}))


@contextmanager
def _mlflow(home: Path, table: pa.Table) -> Iterator[Peer]:
    import mlflow.sklearn

    from include.modeling.frame import feature_frame

    folder = home / "package"
    model = load_model(folder, expected_digest=manifest_digest(read_manifest(folder)))
    saved = str(home / "mlflow")
    mlflow.sklearn.save_model(
        model.pipeline,
        saved,
        serialization_format="cloudpickle",
        pip_requirements=["scikit-learn"],
        pyfunc_predict_fn="predict_proba",
    )
    frame = feature_frame(model.builder.build_table(table.slice(0, 1)), model.manifest.feature_columns)
    port = free_port()
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "models",
        "serve",
        "-m",
        saved,
        "--env-manager",
        "local",
        "--port",
        str(port),
    ]
    environment = {"MLFLOW_DISABLE_TELEMETRY": "true", "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    with _server(command, port, home / "mlflow.log", environment):
        yield Peer(
            port=port,
            body=json.dumps({"dataframe_split": {"columns": list(frame), "data": frame.values.tolist()}}),
            share=0.05,
        )


@contextmanager
def _onnx(home: Path, table: pa.Table) -> Iterator[Peer | None]:
    python = _onnx_python()
    if python is None:
        yield None
        return
    data = home / "onnx.json"
    columns = {name: table[name].to_pylist() for name in (*NUMBERS, *CATEGORIES)}
    content = {"columns": columns, "numbers": NUMBERS, "categories": CATEGORIES, "labels": table["is_late"].to_pylist()}
    data.write_text(json.dumps(content), encoding="utf-8")
    port = free_port()
    command = [str(python), str(PROJECT_ROOT / "benchmarks/onnx_server.py"), str(port)]
    with data.open("rb") as file, _server(command, port, home / "onnx.log", {}, stdin=file):
        yield Peer(port=port, body=json.dumps({name: columns[name][0] for name in columns}))


def _onnx_python() -> Path | None:
    """Python with ONNX Runtime, in an environment of its own under `.updraft/`; None where it cannot be installed."""
    folder = PROJECT_ROOT / ".updraft/bench-venv"
    python = folder / "bin/python"
    if not python.exists():
        uv = str(Path(sys.executable).parent / "uv")
        packages = ["fastapi", "uvicorn[standard]", "onnxruntime", "skl2onnx", "scikit-learn", "pandas"]
        for command in (
            [uv, "venv", "-q", "--python", sys.executable, str(folder)],
            [uv, "pip", "install", "-q", "--python", str(python), *packages],
        ):
            if subprocess.run(command, check=False).returncode:
                print("   ONNX Runtime cannot be installed here: left out")
                return None
    return python


@contextmanager
def _server(
    command: list[str], port: int, log: Path, environment: dict[str, str], *, stdin: BinaryIO | None = None
) -> Iterator[None]:
    """Run a server until the block ends; it may finish what it has to on SIGTERM."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=PROJECT_ROOT,
            stdin=stdin,
            stdout=output,
            stderr=output,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(PROJECT_ROOT), **environment},
            start_new_session=True,
        )
    try:
        _wait(process, port, log)
        yield
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def _wait(process: subprocess.Popen[bytes], port: int, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.poll() is None:
        try:
            with urlopen(f"http://127.0.0.1:{port}/ping", timeout=5):
                return
        except (URLError, OSError):
            time.sleep(0.1)
    raise RuntimeError(f"the server did not start: {log.read_text(encoding='utf-8', errors='replace')[-2000:]}")


def main() -> None:
    """Print the findings."""
    for finding in measure():
        print(finding.line())


if __name__ == "__main__":
    main()
