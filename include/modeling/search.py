"""
Choose a configuration: every trial is fitted on the train rows and scored on the rows held out.

Workers share one study, and it lies in the lake: trial i belongs to worker i % n_workers, and each finished trial is a
file that the others read before they choose their next. A worker that is killed and started again finds its finished
trials there and repeats none. The budget is CPU time, so that neighbours on the machine do not matter.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from include.errors import TrainingError
from include.lake.store import Lake
from include.modeling.features import builder_of_workflow
from include.modeling.frame import feature_columns_of, feature_frame
from include.modeling.labels import classes_of, labels_of, require_variety
from include.modeling.snapshot import Snapshot, read_snapshot, rows_between
from include.modeling.trials import Trial, leaderboard, read_trials, record_trial, trials_folder
from include.modeling.warm_start import earlier_trials
from include.selection.log_target import is_skewed
from include.selection.plan import Plan, Tried
from include.selection.problem import Problem
from include.selection.search import n_scaled_columns
from include.selection.splits import Fold, grouped_folds, k_folds
from include.selection.trial import Outcome, SearchData
from include.selection.worker import Budget, Worker
from include.workflow import Workflow

__all__ = ["Trial", "leaderboard", "load_search_data", "run_trials"]


def run_trials(  # noqa: PLR0913 - one call of a mapped task; each argument is its own
    workflow: Workflow,
    snapshot: Snapshot,
    *,
    lake: Lake,
    training_id: str,
    worker: int,
    n_workers: int,
    budget_seconds: float,
    max_trials: int | None = None,
    warm_from: str | None = None,
) -> list[str]:
    """
    Run one worker's share of the trials, within its share of the budget.

    Parameters
    ----------
    workflow, snapshot, lake
        What to train on which rows.
    training_id : str
        Names the search that the workers share; a segment of a path.
    worker, n_workers : int
        Which worker this is, counted from 0, and of how many.
    budget_seconds : float
        CPU seconds of all workers together. The baseline (worker 0) and each worker's first configuration always run.
    max_trials : int, optional
        Bound on the configurations beside the baseline, over all workers; without it, what the workflow declares. With
        a budget that does not end first, the same data and seed then give the same trials on any machine.
    warm_from : str, optional
        An earlier training, whose best configurations are tried first; the sampler learns from its other trials as far
        as they still hold.

    Returns
    -------
    list of str
        Paths of this worker's finished trials in the lake, in the order of their numbers.

    Raises
    ------
    TrainingError
        If the labels are unusable.

    """
    if not 0 <= worker < n_workers:
        raise TrainingError(f"worker={worker} of n_workers={n_workers}: number the workers from 0 to {n_workers - 1}")
    started = time.process_time()
    search, name = workflow.training.search, workflow.name

    seen: dict[str, Trial] = {}

    def known() -> list[Trial]:
        return [
            trial for trial in read_trials(name, lake, training_id, seen) if trial.snapshot_id == snapshot.snapshot_id
        ]

    own = [trial for trial in known() if trial.number % n_workers == worker]
    with threadpool_limits(1):
        data = load_search_data(workflow, snapshot, lake=lake)
        plan = Plan(
            problem=data.problem,
            families=search.families,
            n_rows=len(data.y),
            n_scaled=n_scaled_columns(data.problem, data.cardinality),
            before=earlier_trials(lake, workflow, warm_from),
        )
        budget = Budget(
            seconds=budget_seconds / n_workers, started=started, spent_before=sum(trial.cpu_seconds for trial in own)
        )
        outcomes = Worker(
            data,
            plan,
            budget,
            worker=worker,
            n_workers=n_workers,
            max_trials=search.max_trials if max_trials is None else max_trials,
            finished={trial.number: trial.outcome() for trial in own},
            record=lambda number, outcome: _record(lake, workflow, training_id, snapshot, number, outcome),
            others=lambda: [_tried(trial) for trial in known()],
        ).run()
    return [
        f"{trials_folder(name, training_id)}/{number:04d}-{snapshot.snapshot_id}.json" for number in sorted(outcomes)
    ]


def load_search_data(workflow: Workflow, snapshot: Snapshot, *, lake: Lake, with_features: bool = True) -> SearchData:
    """
    Rows to choose on, with the pairs of train and held-out rows that the workflow declares.

    By time there is one pair: the train and the validation part. Otherwise all rows to fit on are folded. Without
    features, which are most of the cost, there are no columns: enough for who only judges predictions.

    Raises
    ------
    TrainingError
        If the labels are unusable.

    """
    table = read_snapshot(workflow, snapshot, lake=lake, part="fit")
    train = rows_between(table, snapshot.train_start, snapshot.train_end)
    held = rows_between(table, snapshot.validation_start, snapshot.test_start)
    parts = {"train": train, "validation": held} if workflow.training.split == "time" else {"fit": table}
    builder, classes = builder_of_workflow(workflow, table.schema), classes_of(workflow, table)
    features = [builder.build_table(part) for part in parts.values()] if with_features else []
    columns = feature_columns_of(features[0]) if features else ()  # what the held-out rows hold must not decide
    labels = [labels_of(workflow, part, classes=classes) for part in parts.values()]
    for part, found in zip(parts, labels, strict=True):
        require_variety(workflow, found, part=part)
    problem = problem_of(workflow, columns, classes=classes, y=labels[0])
    y = np.concatenate(labels)
    sizes = [len(found) for found in labels]
    return SearchData(
        problem=problem,
        X=feature_frame([row for rows in features for row in rows], columns),
        y=y,
        folds=_folds(workflow, problem, y, table=table, sizes=sizes),
    )


def problem_of(workflow: Workflow, columns: Any, *, classes: Sequence[Any], y: Any) -> Problem:
    """What the workflow asks of a model; `y` are labels to fit on."""
    task = workflow.target.task
    is_number = task in ("regression", "forecasting")
    return Problem(
        task=task,
        metric=workflow.metric,
        columns=tuple(columns),
        n_classes=0 if is_number else len(classes) or 2,
        random_state=workflow.training.random_state,
        has_log=is_number and is_skewed(y),
        quantile=workflow.target.quantile,
    )


def _folds(workflow: Workflow, problem: Problem, y: Any, *, table: Any, sizes: Sequence[int]) -> Sequence[Fold]:
    training = workflow.training
    if training.split == "time":
        positions = np.arange(len(y))
        return [(positions[: sizes[0]], positions[sizes[0] :])]
    if training.split == "random":
        return k_folds(problem, y, n_folds=training.folds)
    groups = str(training.groups)
    if groups not in table.schema.names:
        raise TrainingError(
            f"training.groups={groups!r} is no column of the validated rows: select it in the query, or correct the "
            "name"
        )
    return grouped_folds(problem, y, table[groups].to_pylist(), n_folds=training.folds)


def _record(
    lake: Lake, workflow: Workflow, training_id: str, snapshot: Snapshot, number: int, outcome: Outcome
) -> Outcome:
    return record_trial(lake, workflow, training_id, snapshot, number=number, outcome=outcome).outcome()


def _tried(trial: Trial) -> Tried:
    return Tried(
        number=trial.number, configuration=trial.configuration, loss=trial.score if trial.score is None else trial.loss
    )
