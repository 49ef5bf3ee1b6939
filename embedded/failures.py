"""One clear message for a failed run: which task, what it said last, where its log is, what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from embedded.api_client import AirflowClient
from embedded.home import Home


def explain_failure(home: Home, client: AirflowClient, dag_id: str, run_id: str) -> str:
    """Describe why a run failed."""
    failed = [ti for ti in client.task_instances(dag_id, run_id) if ti["state"] == "failed"]
    if not failed:
        return (
            f"{dag_id} failed, run {run_id}, without a failed task (a timeout?): see "
            f"{client.url}/dags/{dag_id}/runs/{run_id}"
        )
    first = min(failed, key=lambda ti: str(ti["end_date"]))
    log = task_log(home, first)
    lines = [
        f"{dag_id}: task {first['task_id']!r} failed (run {run_id}, try {first['try_number']})",
        f"  said:  {last_error(log) or 'nothing that explains it'}",
        f"  log:   {log}",
        f"  page:  {client.url}/dags/{dag_id}/runs/{run_id}",
        "Mend the cause, then run `make demo` again: it takes up where this stopped.",
    ]
    return "\n".join(lines)


def task_log(home: Home, instance: dict[str, Any]) -> Path:
    """Log file of a task's last try."""
    folder = (
        home.airflow
        / "logs"
        / f"dag_id={instance['dag_id']}"
        / f"run_id={instance['dag_run_id']}"
        / f"task_id={instance['task_id']}"
    )
    if instance.get("map_index", -1) >= 0:
        folder /= f"map_index={instance['map_index']}"
    return folder / f"attempt={instance['try_number']}.log"


def last_error(log: Path) -> str:
    """Last error that a task's log (a JSON object a line) holds: class and message."""
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    for line in reversed(lines):
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if entry.get("level") in {"error", "critical"}:
            details = entry.get("error_detail") or []
            if details:
                return f"{details[0].get('exc_type')}: {details[0].get('exc_value')}"[:1500]
            return str(entry.get("event", ""))[:1500]
    return ""
