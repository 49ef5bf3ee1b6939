"""
A workflow's stages as plain functions, one after the other: for a notebook, a test, or a first look before Airflow runs
it.

The Dags call the same functions; only scheduling, retries and deployment are missing here.
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

from include.lake.fencing import new_token
from include.lake.ledger import DecisionRecord, RunRecord

if TYPE_CHECKING:
    from include.lake.store import Lake
    from include.modeling.search import Trial
    from include.registry.versions import Registry
    from include.workflow import Workflow

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class TrainingResult:
    """What one training came to; `seconds` is wall time by stage."""

    version: str
    decision: DecisionRecord
    leaderboard: Sequence[Trial]
    seconds: dict[str, float] = field(default_factory=dict)


def ingest(
    workflow: Workflow, partition_key: str, *, connection_uri: str | None, lake: Lake, run_id: str = "rehearsal"
) -> RunRecord:
    """
    Extract, validate and publish one partition.

    Returns
    -------
    RunRecord
        The ledger's line: rows in, published, quarantined and duplicate.

    """
    from include.quality.publication import publish_partition
    from include.quality.validation import validate_partition
    from include.sources.extraction import extract_partition

    token = new_token()
    extracted = extract_partition(workflow, partition_key, connection_uri=connection_uri, lake=lake, token=token)
    report = validate_partition(
        workflow, partition_key, lake=lake, raw_version=extracted.version, run_id=run_id, try_id=str(token)
    )
    return publish_partition(workflow, report, lake=lake, token=token, run_id=run_id, try_id=str(token))


def train(
    workflow: Workflow, as_of: datetime, *, lake: Lake, registry: Registry, max_trials: int | None = None
) -> TrainingResult:
    """
    Pin, search, fit, register, evaluate and judge; nothing is promoted or deployed.

    Raises
    ------
    HistoryTooShortError
        If too few partitions before `as_of` are published.

    """
    from include.modeling.fitting import fit_model
    from include.modeling.identity import training_id_of
    from include.modeling.search import leaderboard, run_trials
    from include.modeling.snapshot import pin_snapshot
    from include.modeling.warm_start import latest_study
    from include.registry.backfilled import is_backfilled
    from include.registry.evaluation import evaluate_version
    from include.registry.judgement import judge_version
    from include.registry.versions import register_version

    watch = _Stopwatch()
    search = workflow.training.search
    snapshot = pin_snapshot(workflow, as_of, lake=lake)
    watch.lap("pin_snapshot")
    warm_from = latest_study(lake, workflow, before=as_of)
    training_id = training_id_of(workflow, snapshot, budget_seconds=search.budget_seconds, warm_from=warm_from)
    run_trials(
        workflow,
        snapshot,
        lake=lake,
        training_id=training_id,
        worker=0,
        n_workers=1,
        budget_seconds=search.budget_seconds,
        max_trials=max_trials,
        warm_from=warm_from,
    )
    watch.lap("tune")
    trials = leaderboard(workflow, lake, training_id)
    with tempfile.TemporaryDirectory() as folder:
        manifest = fit_model(workflow, snapshot, lake=lake, training_id=training_id, folder=Path(folder))
        registered = register_version(
            registry,
            workflow,
            Path(folder),
            training_id=training_id,
            metrics={},
            params={"family": manifest.family, **manifest.params},
            is_backfilled=is_backfilled(workflow, as_of, lake=lake),
        )
    watch.lap("fit")
    evaluate_version(workflow, snapshot, registered.version, lake=lake, registry=registry)
    watch.lap("evaluate")
    decision = judge_version(
        workflow, snapshot, registered.version, lake=lake, registry=registry, decided_by="rehearsal"
    )
    watch.lap("gate")
    return TrainingResult(version=registered.version, decision=decision, leaderboard=trials, seconds=watch.seconds)


class _Stopwatch:
    """Wall seconds between laps."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = monotonic()

    def lap(self, stage: str) -> None:
        now = monotonic()
        self.seconds[stage] = now - self._last
        self._last = now
        log.info("%s took %.1f s", stage, self.seconds[stage])
