"""Search within a budget of CPU time, in one process and without Airflow: for a notebook, and for the benchmark."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from threadpoolctl import threadpool_limits

from include.selection.columns import as_frame, read_frame
from include.selection.ensemble import greedy_weights, reach_of, within_reach
from include.selection.families import predict_with, with_rounds
from include.selection.log_target import is_skewed
from include.selection.plan import Plan
from include.selection.problem import FloatArray, Problem
from include.selection.splits import holdout, k_folds
from include.selection.trial import Outcome, SearchData, fit_whole, rounds_for_all, run_trial
from include.selection.worker import Budget, Worker
from include.workflow.tasks import FAMILIES, Task

N_FOLDS = 5
_SMALL, _LARGE = 3_000, 15_000  # rows, between which folds lose their worth
_DEAR = 0.3  # share of the budget: boosting that would take more of it waits until cheaper families are through
_RESERVE = 0.04  # of the budget, for the ensemble
_MAX_POOL = 25  # trials that may enter the ensemble
_MANY_COLUMNS = 10_000  # what a column of text becomes


@dataclass(frozen=True, kw_only=True)
class Member:
    """A part of the found model: its pipelines' mean counts by its weight."""

    weight: float
    outcome: Outcome
    pipelines: tuple[Any, ...]


@dataclass(frozen=True, kw_only=True)
class Found:
    """
    What a search found. `bounds` are those of the numbers seen: no prediction leaves them by more than a tenth of their
    range; `reach` is how far a member may leave the first, which is then the best trial's.
    """

    problem: Problem
    classes: tuple[Any, ...]
    members: tuple[Member, ...]
    outcomes: tuple[Outcome, ...]
    cpu_seconds: float
    n_folds: int
    bounds: tuple[float, float] | None
    reach: float | None

    def predict(self, X: pd.DataFrame) -> FloatArray:
        """Probabilities of shape (n_rows, n_classes) in the order of `classes`, or numbers of shape (n_rows,)."""
        frame = as_frame(X, self.problem.columns)
        found = [
            np.mean(
                [
                    _bounded(predict_with(pipeline, frame, n_classes=self.problem.n_classes), self.bounds)
                    for pipeline in member.pipelines
                ],
                axis=0,
            )
            for member in self.members
        ]
        weights = [member.weight for member in self.members]
        total = np.tensordot(weights, np.stack(within_reach(found, self.reach)), axes=1)
        return np.stack([1 - total, total], axis=1) if self.problem.n_classes == 2 else total

    def tell(self) -> str:
        """One line: what was tried and chosen."""
        chosen = ", ".join(f"{m.weight:.2f} {m.outcome.configuration.family}" for m in self.members)
        n_whole, best = sum(o.predictions is not None for o in self.outcomes), min(self.outcomes, key=lambda o: o.loss)
        tried = (
            f"{len(self.outcomes)} trials ({n_whole} on all of {self.n_folds} folds) in {self.cpu_seconds:.1f} CPU "
            "seconds"
        )
        return f"{tried}; best alone: {best.configuration.family}, loss {best.loss:.4f}; chosen: {chosen}"


def search(  # noqa: PLR0913 - a notebook's call: each argument is its own
    X: pd.DataFrame,
    y: npt.NDArray[Any],
    *,
    task: Task,
    metric: str,
    budget_seconds: float,
    random_state: int = 0,
    families: Collection[str] = FAMILIES,
    max_trials: int | None = None,
) -> Found:
    """
    Find a model for a table whose rows have no order in time.

    Parameters
    ----------
    X : DataFrame of shape (n_rows, n_columns)
        Numbers, booleans, times, text.
    y : ndarray of shape (n_rows,)
        Labels of classes, or numbers.
    task, metric : str
        What is predicted, and what a model is chosen by (`include.workflow.tasks`).
    budget_seconds : float
        CPU seconds in all.
    random_state : int
        Seed of folds, models and sampler.
    families : collection of str
        Which to try.
    max_trials : int, optional
        Bound on the configurations beside the baseline: with a budget that does not end first, the same call finds the
        same model.

    """
    started = time.process_time()
    columns, frame = read_frame(X)
    classes = () if task in ("regression", "forecasting") else tuple(np.unique(y).tolist())
    codes = np.searchsorted(np.asarray(classes), y) if classes else np.asarray(y, dtype=np.float64)
    problem = Problem(
        task=task,
        metric=metric,
        columns=columns,
        n_classes=len(classes),
        random_state=random_state,
        has_log=not classes and is_skewed(codes),
    )
    bounds = None if classes else (float(codes.min()), float(codes.max()))
    with threadpool_limits(1):
        data, worker = _start(
            problem,
            frame,
            codes,
            families=families,
            started=started,
            budget_seconds=budget_seconds,
            max_trials=max_trials,
        )
        outcomes = tuple(worker.run().values())
        members, reach = _members(
            data, outcomes, bounds, seconds_left=lambda: budget_seconds - (time.process_time() - started)
        )
    return Found(
        problem=problem,
        classes=classes,
        members=members,
        outcomes=outcomes,
        cpu_seconds=time.process_time() - started,
        n_folds=len(data.folds),
        bounds=bounds,
        reach=reach,
    )


def n_scaled_columns(problem: Problem, cardinality: dict[str, int]) -> int:
    """About how many columns scaling and one-hot encoding give."""
    return sum(_MANY_COLUMNS if c.kind == "text" else min(cardinality.get(c.name, 1), 50) for c in problem.columns)


def _start(  # noqa: PLR0913 - what `search` was asked
    problem: Problem, X: Any, y: Any, *, families: Any, started: float, budget_seconds: float, max_trials: int | None
) -> Any:
    folds = k_folds(problem, y, n_folds=N_FOLDS)
    data = SearchData(problem=problem, X=X, y=y, folds=folds)
    n_scaled = n_scaled_columns(problem, data.cardinality)
    plan = Plan(problem=problem, families=tuple(families), n_rows=len(y), n_scaled=n_scaled)
    # The first configuration's first fold tells whether five folds pay.
    probe = SearchData(problem=problem, X=X, y=y, folds=folds[:1])
    seconds = run_trial(probe, plan.fixed[1], deadline=time.process_time() + 0.25 * budget_seconds).cpu_seconds
    left = budget_seconds - (time.process_time() - started)
    if seconds * N_FOLDS > _DEAR * left:
        plan = replace(plan, boosting_last=True)
    if seconds * N_FOLDS * _trials_worth_folds(len(y)) > left:
        data = SearchData(problem=problem, X=X, y=y, folds=holdout(problem, y))
    budget = Budget(seconds=(1 - _RESERVE) * budget_seconds, started=started)
    worker = Worker(data, plan, budget, max_trials=max_trials)
    if len(data.folds) == 1:
        budget.reserve = lambda: _refit_seconds(worker.outcomes.values())
    return data, worker


def _trials_worth_folds(n_rows: int) -> float:
    """
    Five folds pay when at least so many boosting trials fit into the budget: the fewer rows, the more a single split
    would mislead.
    """
    return float(0.8 + 5.2 * np.clip((n_rows - _SMALL) / (_LARGE - _SMALL), 0, 1))


def _refit_seconds(outcomes: Collection[Outcome]) -> float:
    return 1.3 * sum(o.cpu_seconds for o in sorted(outcomes, key=lambda o: o.loss)[:3])


def _members(
    data: SearchData, outcomes: Collection[Outcome], bounds: Any, *, seconds_left: Any
) -> tuple[tuple[Member, ...], float | None]:
    pool = sorted((o for o in outcomes if o.predictions is not None), key=lambda o: o.loss)[:_MAX_POOL]
    y = data.y[data.held_out]
    predictions = [_bounded(o.predictions, bounds) for o in pool if o.predictions is not None]
    reach = reach_of(data.problem, y, best=predictions[0], family=pool[0].configuration.family)
    weights = greedy_weights(data.problem, y, within_reach(predictions, reach), starts_with_first=reach is not None)
    members = []
    for weight, outcome in zip(weights, pool, strict=True):
        pipelines = outcome.models
        if weight > 0 and len(data.folds) == 1 and 1.25 * outcome.cpu_seconds < seconds_left():
            n_rounds = rounds_for_all(outcome.n_rounds, n_train=len(data.folds[0][0]), n_all=len(data.y))
            pipelines = (fit_whole(data.problem, data.X, data.y, with_rounds(outcome.configuration, n_rounds)),)
        if weight > 0:
            members.append(Member(weight=float(weight), outcome=outcome, pipelines=pipelines))
    return tuple(members), reach


def _bounded(predicted: FloatArray, bounds: tuple[float, float] | None) -> FloatArray:
    if bounds is None:
        return predicted
    margin = 0.1 * (bounds[1] - bounds[0])
    return np.clip(predicted, bounds[0] - margin, bounds[1] + margin)
