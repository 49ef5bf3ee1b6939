"""
What a demo run came to: collected from the ledger, the lake and the registry; printed; left in
`.updraft/demo.json`.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from embedded.airflow_env import ADMIN_USER
from embedded.home import Home, write_json
from embedded.verification import Verified

if TYPE_CHECKING:
    from include.lake.store import Lake
    from include.modeling.search import Trial
    from include.settings import Settings
    from include.workflow import Workflow

_SHOWN_TRIALS = 5


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """The decision on the version that serves, its search, and the rows it came from."""

    rows: Mapping[str, int]
    n_partitions: int
    trials: tuple[Trial, ...]
    verdict: str
    reasons: tuple[str, ...]
    refused: str | None = None


def collect_outcome(workflow: Workflow, version: str, *, lake: Lake, settings: Settings) -> Outcome:
    """Read what stands behind a version."""
    from include.lake.ledger import DECISIONS, latest_decision, read_ledger
    from include.modeling.search import leaderboard
    from include.registry import open_registry, read_version

    found = read_version(open_registry(settings), workflow.name, version)
    decision = latest_decision(lake, workflow.name, version)
    newest = read_ledger(lake, DECISIONS, workflow=workflow.name).to_pylist()[-1:]
    refused = next(
        (f"version {line['model_version']}: {line['verdict']}" for line in newest if line["verdict"] != "PROMOTE"), None
    )
    rows, n_partitions = count_rows(lake, workflow.name)
    return Outcome(
        rows=rows,
        n_partitions=n_partitions,
        trials=tuple(leaderboard(workflow, lake, found.training_id)),
        verdict=decision.verdict if decision else "unknown",
        reasons=tuple(json.loads(decision.reasons)) if decision else (),
        refused=refused,
    )


def count_rows(lake: Lake, workflow_name: str) -> tuple[dict[str, int], int]:
    """Add the ledger's counts up, each partition by its last line; also the number of partitions."""
    from include.lake.ledger import RUNS, read_ledger

    last = {line["partition_key"]: line for line in read_ledger(lake, RUNS, workflow=workflow_name).to_pylist()}
    names = {
        "in": "rows_in",
        "published": "rows_published",
        "quarantined": "rows_quarantined",
        "duplicate": "rows_duplicate",
    }
    return {short: sum(int(line[name]) for line in last.values()) for short, name in names.items()}, len(last)


def write_demo_file(
    home: Home,
    settings: Settings,
    *,
    outcome: Outcome,
    verified: Verified,
    seconds: Mapping[str, float],
    calendar_shift_days: int,
) -> None:
    """Leave the facts for others; the names are an interface. Only its owner can read it: it holds a password."""
    write_json(
        home.demo_file,
        {
            "workflow": verified.model_name,
            "airflow_url": f"http://127.0.0.1:{home.ports['airflow']}",
            "airflow_user": ADMIN_USER,
            "airflow_password": home.secrets["admin_password"],
            "endpoint_url": settings.endpoint_url_of(verified.model_name),
            "sample_request": verified.sample_request,
            "model_name": verified.model_name,
            "model_version": verified.model_version,
            "verdict": outcome.verdict,
            "rows": outcome.rows,
            "lake_uri": settings.lake_uri,
            "registry_uri": settings.registry_uri,
            "calendar_shift_days": calendar_shift_days,
            "seconds": dict(seconds),
        },
    )
    write_json(_sample_file(home, verified), verified.sample_request)


def describe(
    home: Home, settings: Settings, *, outcome: Outcome, verified: Verified, seconds: Mapping[str, float], item: str
) -> str:
    """Write the summary that the demo ends with; `item` is what a prediction is about."""
    rows = outcome.rows
    label, score = verified.sample_answer["label"], verified.sample_answer["score"]
    sample = shlex.quote(f"@{_sample_file(home, verified)}")
    url = settings.endpoint_url_of(verified.model_name)
    lines = [
        "",
        f"{verified.model_name} answers: version {verified.model_version}, verified on {verified.n_rows} rows "
        f"(greatest difference to the offline scores: {verified.max_difference:.1g})",
        "",
        f"  rows      {rows['in']:,} in = {rows['published']:,} published + {rows['quarantined']:,} quarantined "
        f"+ {rows['duplicate']:,} duplicate, in {outcome.n_partitions} partitions",
        f"  gate      {outcome.verdict}",
        *(f"            - {reason}" for reason in outcome.reasons),
        *([f"            (the newest candidate did not ship: {outcome.refused})"] if outcome.refused else []),
        *_leaderboard(outcome.trials),
        f"  seconds   {', '.join(f'{stage} {value:g}' for stage, value in seconds.items())}  (in all "
        f"{sum(seconds.values()):.0f})",
        "",
        f"  Airflow   http://127.0.0.1:{home.ports['airflow']}   user {ADMIN_USER}   password "
        f"{home.secrets['admin_password']}",
        f"  try it    curl -s {url}/invocations -H 'Content-Type: application/json' -d {sample}",
        f"            (this {item}: {label}, with probability {score:.3f})",
        *_upcoming(verified, item),
        "",
        "Everything stays up. `make status` shows it, `make down` stops it.",
    ]
    return "\n".join(lines)


def _upcoming(verified: Verified, item: str) -> list[str]:
    if verified.upcoming is None:
        return []
    known = ", ".join(
        f"{name} {value}" for name, value in list(verified.upcoming["request"].items())[:6] if value is not None
    )
    return [
        f"  next      a {item} to come ({known}): {verified.upcoming['label']}, with probability "
        f"{verified.upcoming['score']:.3f}"
    ]


def _sample_file(home: Home, verified: Verified) -> Path:
    # One a workflow: the line that an earlier demo printed goes on working.
    return home.folder / f"sample_request.{verified.model_name}.json"


def _leaderboard(trials: Iterable[Trial]) -> list[str]:
    ranked: list[Any] = list(trials)
    lines = [f"  search    {len(ranked)} trials by {ranked[0].metric}:"] if ranked else []
    for rank, trial in enumerate(ranked, start=1):
        if rank > _SHOWN_TRIALS and not trial.is_naive:
            continue
        score = "failed" if trial.score is None else f"{trial.score:.4f}"
        lines.append(f"            {rank:2}. {trial.family:10} {score}  ({trial.cpu_seconds:.1f} CPU s)")
    return lines
