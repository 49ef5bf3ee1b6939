"""Which of the finished trials to fit: one configuration, or a weighted ensemble of several where it pays."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from include.errors import TrainingError
from include.evaluation.metrics import THRESHOLD
from include.evaluation.paired import PairedDifference, compare_paired
from include.evaluation.thresholds import ThresholdChoice, choose_threshold
from include.lake.store import Lake
from include.modeling.trials import Trial, read_predictions
from include.selection.ensemble import greedy_weights, reach_of, within_reach
from include.selection.families import with_rounds
from include.selection.problem import FloatArray, Problem
from include.selection.trial import SearchData, rounds_for_all
from include.workflow import Workflow
from include.workflow.tasks import Preference

ENSEMBLE = "ensemble"
_MAX_POOL = 25  # trials that may enter an ensemble, best first
_PAYS = 0.2  # chance of being no better than the best single trial, above which an ensemble is not worth its cost
_TIED = 0.2  # chance of being no worse than the best, above which a trial counts as equally good
# From what a person can read off a page to what nobody can.
_EXPLAINABLE = ("linear", "boosting", "hist_boosting", "neighbors", "extra_trees", "forest", "svm", ENSEMBLE)
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """
    What to fit: a family with its parameters, and the seed. Those of an ensemble are its `members`, each with its
    `weight`, and of numbers its `reach`.

    From `threshold` on a probability counts as positive.
    """

    family: str
    params: Mapping[str, Any]
    random_state: int
    threshold: float = THRESHOLD


def choose(
    workflow: Workflow, trials: Sequence[Trial], data: SearchData, *, lake: Lake, training_id: str
) -> tuple[Chosen, FloatArray]:
    """
    Choose what to fit from a leaderboard.

    Returns
    -------
    chosen : Chosen
        With the number of boosting rounds fixed for a fit on all rows.
    predictions : ndarray
        Its predictions for the rows held out: what a threshold is chosen on.

    Raises
    ------
    TrainingError
        If no trial but the baseline succeeded.

    """
    pool = _pool(trials, training_id)
    predictions = [read_predictions(lake, workflow.name, training_id, trial) for trial in pool]
    y_held, problem, seed = data.y[data.held_out], data.problem, workflow.training.random_state
    search = workflow.training.search
    single = _preferred(pool, predictions, y_held, problem, prefer=search.prefer)
    chosen, found = _single(pool[single], data, seed), predictions[single]
    if search.max_members > 1 and len(pool) > 1 and search.prefer == "quality":
        reach = reach_of(problem, y_held, best=predictions[0], family=pool[0].family)
        predictions = within_reach(predictions, reach)
        weights = greedy_weights(
            problem, y_held, predictions, max_members=search.max_members, starts_with_first=reach is not None
        )
        mean = np.tensordot(weights, np.stack(predictions), axes=1)
        against = _compare(problem, y_held, mean, found)
        if np.count_nonzero(weights) > 1 and against.p_better <= _PAYS:
            _LOG.info("an ensemble of %d beats the best single trial by %s", np.count_nonzero(weights), against)
            return _ensemble(pool, weights, data, seed, reach=reach), mean
    return chosen, found


def threshold_for(workflow: Workflow, y_true: npt.NDArray[Any], predictions: FloatArray) -> ThresholdChoice | None:
    """Threshold for the declared goal or costs, on rows held out; None where neither is declared."""
    goal = workflow.target.goal or workflow.target.costs
    return None if goal is None else choose_threshold(y_true, predictions, goal)


def _pool(trials: Sequence[Trial], training_id: str) -> list[Trial]:
    usable = [
        trial for trial in trials if not trial.is_naive and trial.score is not None and trial.predictions is not None
    ]
    if not usable:
        failures = sorted({f"{trial.family}: {trial.error}" for trial in trials if trial.error})
        said = "; ".join(failures[:4]) if failures else "none was tried on this snapshot"
        raise TrainingError(
            f"search {training_id!r} has no model beside the naive baseline ({said}): correct the cause and train again"
        )
    return usable[:_MAX_POOL]


def _preferred(
    pool: Sequence[Trial],
    predictions: Sequence[FloatArray],
    y: npt.NDArray[Any],
    problem: Problem,
    *,
    prefer: Preference,
) -> int:
    """
    Position of the trial to take: the best, or among those that cannot be told from it the one that a preference asks
    for.
    """
    if prefer == "quality":
        return 0
    tied = [
        i for i in range(len(pool)) if i == 0 or _compare(problem, y, predictions[i], predictions[0]).p_worse > _TIED
    ]
    ranks: dict[str, Callable[[Trial], tuple[float, ...]]] = {
        "explainable": lambda t: (_EXPLAINABLE.index(t.family), t.params.get("num_leaves", 0)),
        "cheap": lambda t: (t.cpu_seconds,),
        "fast": lambda t: (t.latency_ms or 0.0,),
        "small": lambda t: (t.size_mb or 0.0,),
    }
    return min(tied, key=lambda i: (*ranks[prefer](pool[i]), i))


def _compare(problem: Problem, y: npt.NDArray[Any], a: FloatArray, b: FloatArray) -> PairedDifference:
    return compare_paired(
        problem.metric, y, a, b, random_state=problem.random_state, task=problem.task, quantile=problem.quantile
    )


def _single(trial: Trial, data: SearchData, seed: int) -> Chosen:
    return Chosen(family=trial.family, params=_params(trial, data), random_state=seed)


def _ensemble(
    pool: Sequence[Trial], weights: FloatArray, data: SearchData, seed: int, *, reach: float | None
) -> Chosen:
    pairs = [(trial, float(weight)) for trial, weight in zip(pool, weights, strict=True) if weight > 0]
    members = [{"family": trial.family, "params": _params(trial, data), "weight": weight} for trial, weight in pairs]
    # Where the best trial bounds the others it has a weight, and so is the first member.
    params = {"members": members} if reach is None else {"members": members, "reach": reach}
    return Chosen(family=ENSEMBLE, params=params, random_state=seed)


def _params(trial: Trial, data: SearchData) -> dict[str, Any]:
    n_rounds = rounds_for_all(trial.n_rounds, n_train=trial.n_train, n_all=len(data.y))
    return dict(with_rounds(trial.configuration, n_rounds).params)
