"""
Records of finished trials, in the lake: what was tried, how it scored, and its predictions on the rows held out.

Each is written once, under its number: whoever is killed on the way repeats at most the trial that was running.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from include.errors import CorruptDataError, LakeError, TrainingError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.files import get_file, list_files, put_file
from include.lake.store import Lake
from include.modeling.snapshot import Snapshot
from include.selection.families import NAIVE, Configuration
from include.selection.problem import FloatArray
from include.selection.trial import Outcome
from include.workflow import Workflow
from include.workflow.tasks import LOWER_IS_BETTER


@dataclass(frozen=True, kw_only=True)
class Trial:
    """
    One configuration that was tried.

    `score` is on the rows held out, None where the trial failed with `error` or was given up after its first fold;
    `n_rounds` is how many rounds of boosting the folds found best; `latency_ms` is the time a row when predicted alone;
    `predictions` is the digest of the predictions' file.
    """

    number: int
    family: str
    params: Mapping[str, Any]
    seed: int
    metric: str
    score: float | None
    cpu_seconds: float
    snapshot_id: str
    error: str | None = None
    n_rounds: int | None = None
    n_train: int = 0
    first_score: float | None = None
    first_seconds: float = 0.0
    latency_ms: float | None = None
    size_mb: float | None = None
    predictions: str | None = None

    @property
    def is_naive(self) -> bool:
        """Whether this is the baseline that knows the labels' mean or shares only."""
        return self.family == NAIVE.family

    @property
    def configuration(self) -> Configuration:
        """What was tried."""
        return Configuration(family=self.family, params=dict(self.params))  # type: ignore[arg-type]  # read back from JSON

    @property
    def loss(self) -> float:
        """Lower is better; infinite without a score."""
        return _loss(self.metric, self.score)

    def outcome(self) -> Outcome:
        """What the search knows of a trial that an earlier life of its worker has finished."""
        return Outcome(
            configuration=self.configuration,
            loss=self.loss,
            first_loss=_loss(self.metric, self.first_score),
            cpu_seconds=self.cpu_seconds,
            first_seconds=self.first_seconds,
            n_rounds=self.n_rounds,
            error=self.error,
        )


def trials_folder(workflow_name: str, training_id: str) -> str:
    """Where a search keeps its records."""
    return f"{workflow_name}/_training/{training_id}/trials"


def leaderboard(workflow: Workflow, lake: Lake, training_id: str) -> list[Trial]:
    """Trials of a search, best first, those without a score last; of equal ones, the one that was numbered earlier."""
    return sorted(read_trials(workflow.name, lake, training_id), key=lambda trial: (trial.loss, trial.number))


def record_trial(
    lake: Lake, workflow: Workflow, training_id: str, snapshot: Snapshot, *, number: int, outcome: Outcome
) -> Trial:
    """Write a trial's record, its predictions first; gives the record that stands."""
    trial = _trial_of(
        workflow,
        snapshot,
        number=number,
        outcome=outcome,
        predictions=_put_predictions(lake, workflow, training_id, outcome),
    )
    path = f"{trials_folder(workflow.name, training_id)}/{number:04d}-{snapshot.snapshot_id}.json"
    crash_point("trial.before_record")
    try:
        put_file(lake, path, json.dumps(asdict(trial), sort_keys=True, allow_nan=False).encode())
    except LakeError:
        # A try of this worker that was thought dead has finished the same trial: its result stands.
        return _parse(get_file(lake, path), path)
    crash_point("trial.after_record")
    return trial


def read_trials(workflow_name: str, lake: Lake, training_id: str, seen: dict[str, Trial] | None = None) -> list[Trial]:
    """
    All records of a search, in the order of their numbers. Those in `seen` are not read again, for a record never
    changes.
    """
    seen = {} if seen is None else seen
    for path in list_files(lake, trials_folder(workflow_name, training_id)):
        if path not in seen and path.endswith(".json"):
            seen[path] = _parse(get_file(lake, path), path)
    return sorted(seen.values(), key=lambda trial: trial.number)


def read_predictions(lake: Lake, workflow_name: str, training_id: str, trial: Trial) -> FloatArray:
    """
    Predictions of a trial for the rows held out, in the order of the folds.

    Raises
    ------
    CorruptDataError
        If the file is missing, or is not what the record says.

    """
    path = _predictions_path(workflow_name, training_id, str(trial.predictions))
    try:
        data = get_file(lake, path)
    except LakeError:
        raise CorruptDataError(
            f"{path}, the predictions of trial {trial.number}, is gone: delete the trial's record and tune again"
        ) from None
    if digest_bytes(data) != trial.predictions:
        raise CorruptDataError(f"{path} is not what trial {trial.number} has recorded: delete both and tune again")
    found: FloatArray = np.load(io.BytesIO(data), allow_pickle=False)
    return found


def _put_predictions(lake: Lake, workflow: Workflow, training_id: str, outcome: Outcome) -> str | None:
    if outcome.predictions is None:
        return None
    buffer = io.BytesIO()
    np.save(buffer, outcome.predictions, allow_pickle=False)
    digest = digest_bytes(buffer.getvalue())
    path = _predictions_path(workflow.name, training_id, digest)
    if path not in list_files(lake, path.rsplit("/", 1)[0]):
        put_file(lake, path, buffer.getvalue())
    return digest


def _predictions_path(workflow_name: str, training_id: str, digest: str) -> str:
    return f"{workflow_name}/_training/{training_id}/predictions/{digest}.npy"


def _trial_of(
    workflow: Workflow, snapshot: Snapshot, *, number: int, outcome: Outcome, predictions: str | None
) -> Trial:
    metric = workflow.metric
    return Trial(
        number=number,
        family=outcome.configuration.family,
        params=dict(outcome.configuration.params),
        seed=workflow.training.random_state,
        metric=metric,
        score=_score(metric, outcome.loss),
        cpu_seconds=round(outcome.cpu_seconds, 4),
        snapshot_id=snapshot.snapshot_id,
        error=outcome.error or (None if math.isfinite(outcome.loss) else "given up after its first fold"),
        n_rounds=outcome.n_rounds,
        n_train=outcome.n_train,
        first_score=_score(metric, outcome.first_loss),
        first_seconds=round(outcome.first_seconds, 4),
        latency_ms=outcome.latency_ms,
        size_mb=outcome.size_mb,
        predictions=predictions,
    )


def _score(metric: str, loss: float) -> float | None:
    if not math.isfinite(loss):
        return None
    return loss if metric in LOWER_IS_BETTER else -loss


def _loss(metric: str, score: float | None) -> float:
    if score is None:
        return math.inf
    return score if metric in LOWER_IS_BETTER else -score


def _parse(data: bytes, path: str) -> Trial:
    try:
        return Trial(**json.loads(data))
    except (ValueError, TypeError):
        raise TrainingError(
            f"{path} (sha256 {digest_bytes(data)[:12]}…) is no record of a trial: delete it and run the search again"
        ) from None
