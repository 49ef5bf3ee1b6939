"""Fit the winner of a search on all rows to fit on, and write its package."""

from __future__ import annotations

import json
import logging
import platform
import time
from dataclasses import asdict, replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from threadpoolctl import threadpool_limits

from include.errors import TrainingError
from include.evaluation.thresholds import ThresholdChoice
from include.lake.digests import digest_table
from include.lake.store import Lake
from include.modeling.choice import ENSEMBLE, Chosen, choose, threshold_for
from include.modeling.declarations import keep_declaration
from include.modeling.features import FeatureBuilder, builder_of_workflow
from include.modeling.frame import FeatureColumn, feature_columns_of, feature_frame
from include.modeling.labels import Labels, classes_of, labels_of, require_variety
from include.modeling.model import Golden, Model, ModelManifest, load_model, manifest_digest, save_model
from include.modeling.profile import (
    PROFILE_FILE,
    FeatureProfile,
    TrainingProfile,
    profile_rows,
    profile_values,
    with_usual_distances,
)
from include.modeling.schema import coerce_row, iterate_rows
from include.modeling.search import load_search_data, problem_of
from include.modeling.snapshot import Snapshot, read_parts
from include.modeling.trials import Trial, leaderboard
from include.modeling.warm_start import keep_for_next
from include.selection.ensemble import WeightedEnsemble
from include.selection.families import Configuration, predict_with
from include.selection.problem import Problem
from include.selection.trial import fit_whole
from include.workflow import Workflow

N_GOLDEN_ROWS = 50
_LIBRARIES = ("numpy", "pandas", "pyarrow", "scikit-learn", "scipy", "skops", "lightgbm")
_LOG = logging.getLogger(__name__)


def fit_model(
    workflow: Workflow,
    snapshot: Snapshot,
    *,
    lake: Lake,
    training_id: str,
    folder: Path,
    created_by_run: str | None = None,
) -> ModelManifest:
    """
    Refit the best trial on the fit rows (train and validation) and write the model package.

    Beside the package, `training.json` holds the leaderboard and the costs; it varies between runs and is no part of
    the model digest.

    Parameters
    ----------
    workflow, snapshot, lake
        What to train on which rows.
    training_id : str
        The search whose trials to choose from.
    folder : Path
        Where to write; created, and overwritten if it holds a package.
    created_by_run : str, optional
        The Airflow run.

    Returns
    -------
    ModelManifest
        Its `manifest_digest` is the model's.

    Raises
    ------
    TrainingError
        If no trial but the baseline succeeded, or the stored model does not predict what the fitted one does.

    """
    started = time.process_time()
    trials = [trial for trial in leaderboard(workflow, lake, training_id) if trial.snapshot_id == snapshot.snapshot_id]
    data = load_search_data(workflow, snapshot, lake=lake, with_features=False)
    with threadpool_limits(1):
        chosen, predictions = choose(workflow, trials, data, lake=lake, training_id=training_id)
        threshold = threshold_for(workflow, data.y[data.held_out], predictions)
    if threshold is not None:
        chosen = replace(chosen, threshold=threshold.threshold)
    saved = fit_chosen(
        workflow,
        snapshot,
        chosen=chosen,
        lake=lake,
        folder=folder,
        training_id=training_id,
        created_by_run=created_by_run,
    )
    keep_declaration(workflow, lake=lake)
    keep_for_next(lake, workflow, snapshot, training_id=training_id, trials=trials)
    _write_training(
        folder,
        trials,
        chosen=chosen,
        threshold=threshold,
        training_id=training_id,
        cpu_seconds=time.process_time() - started,
    )
    return saved


def chosen_of_manifest(manifest: ModelManifest) -> Chosen:
    """What an existing model was fitted with: fitted again on the same rows, it is the same model."""
    return Chosen(
        family=manifest.family,
        params=dict(manifest.params),
        random_state=manifest.random_state,
        threshold=manifest.threshold,
    )


def fit_chosen(  # noqa: PLR0913 - what, on which rows, where to, and two names for the record
    workflow: Workflow,
    snapshot: Snapshot,
    *,
    chosen: Chosen,
    lake: Lake,
    folder: Path,
    training_id: str,
    created_by_run: str | None = None,
) -> ModelManifest:
    """
    Fit what was chosen on the fit rows (train and validation) and write the model package; nothing is searched.

    Everything that decides a model's bytes comes in by these arguments: the search and `reproduce_model` both end here.

    Raises
    ------
    TrainingError
        If the stored model does not predict what the fitted one does.
    CorruptDataError
        If the rows are not those that were pinned.

    """
    table, test = read_parts(workflow, snapshot, lake=lake)
    classes = classes_of(workflow, table)
    labels = labels_of(workflow, table, classes=classes)
    require_variety(workflow, labels, part="fit")
    builder = builder_of_workflow(workflow, table.schema)
    features = builder.build_table(table)
    columns = feature_columns_of(features)
    problem = replace(problem_of(workflow, columns, classes=classes, y=labels), random_state=chosen.random_state)
    frame = feature_frame(features, columns)
    pipeline = _fit(chosen, problem, frame, labels)
    manifest = _manifest(workflow, snapshot, chosen=chosen, builder=builder, columns=columns, table=table)
    manifest = replace(
        manifest, classes=classes, threshold=chosen.threshold, training_id=training_id, created_by_run=created_by_run
    )
    model = Model(manifest=manifest, pipeline=pipeline, builder=builder)
    golden = _golden(model, test)
    saved = save_model(folder, manifest=manifest, pipeline=pipeline, builder=builder, golden=golden)
    _require_same_predictions(folder, saved, golden)
    answers = _profile_answers(model, test)
    if answers is not None:
        fitted = predict_with(pipeline, frame, n_classes=manifest.n_classes)
        stretch = datetime.fromisoformat(snapshot.test_end) - datetime.fromisoformat(snapshot.test_start)
        answers = with_usual_distances(answers, fitted, _times(table), stretch=stretch)
    profile = TrainingProfile(
        n_rows=table.num_rows,
        start=snapshot.train_start,
        end=snapshot.test_start,
        features=profile_rows(features, columns, _times(table)),
        prediction=answers,
    )
    (folder / PROFILE_FILE).write_bytes(profile.to_json())
    _LOG.info("fitted %s on %d rows: model %s", chosen.family, table.num_rows, manifest_digest(saved)[:12])
    return saved


def _fit(chosen: Chosen, problem: Problem, X: pd.DataFrame, y: Labels) -> Any:
    """Fitted pipeline, or a weighted ensemble of several."""
    with threadpool_limits(1):
        if chosen.family != ENSEMBLE:
            return fit_whole(problem, X, y, Configuration(family=chosen.family, params=chosen.params))  # type: ignore[arg-type]  # from JSON
        members = chosen.params["members"]
        pipelines = [fit_whole(problem, X, y, Configuration(family=m["family"], params=m["params"])) for m in members]
        weights = [m["weight"] for m in members]
        return WeightedEnsemble(members=pipelines, weights=weights, reach=chosen.params.get("reach"))


def _manifest(
    workflow: Workflow,
    snapshot: Snapshot,
    *,
    chosen: Chosen,
    builder: FeatureBuilder,
    columns: tuple[FeatureColumn, ...],
    table: pa.Table,
) -> ModelManifest:
    return ModelManifest(
        workflow=workflow.name,
        training_id="",
        as_of=snapshot.as_of,
        snapshot={**asdict(snapshot), "missing_partitions": list(snapshot.missing_partitions)},
        workflow_digest=workflow.digest(),
        family=chosen.family,
        params=dict(chosen.params),
        random_state=chosen.random_state,
        input_columns=builder.columns,
        hidden_columns=tuple(sorted(builder.hidden)),
        feature_names=tuple(column.name for column in columns),
        feature_kinds=tuple(column.kind for column in columns),
        builder=builder.function,
        target=workflow.target.column,
        positive=workflow.target.positive,
        task=workflow.target.task,
        libraries={"python": platform.python_version(), **{name: version(name) for name in _LIBRARIES}},
        trained_rows={
            "n_rows": table.num_rows,
            "row_ids_digest": digest_table(table.select(["row_id"])),
            "train_start": snapshot.train_start,
            "train_end": snapshot.test_start,
        },
    )


def _golden(model: Model, test: pa.Table) -> Golden:
    chosen = test.take(np.unique(np.linspace(0, test.num_rows - 1, N_GOLDEN_ROWS).astype(int)))
    columns = model.manifest.input_columns
    names = [column.name for column in columns]
    rows = [
        {name: _to_json(value) for name, value in zip(names, values, strict=True)}
        for values in iterate_rows(chosen, columns)
    ]
    return Golden(rows=tuple(rows), predictions=tuple(model.predict(chosen).tolist()))


def _profile_answers(model: Model, test: pa.Table) -> FeatureProfile | None:
    """Profile what the model says of rows that it was not fitted on; of several classes there is no one number."""
    predicted = model.predict(test)
    return profile_values("prediction", "number", predicted, _times(test)) if predicted.ndim == 1 else None


def _times(table: pa.Table) -> npt.NDArray[np.datetime64]:
    return np.asarray(table["event_time"].to_numpy(), dtype="datetime64[us]")


def _to_json(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.isoformat()
    return None if isinstance(value, float) and not np.isfinite(value) else value


def _require_same_predictions(folder: Path, manifest: ModelManifest, golden: Golden) -> None:
    # By the road that a request takes: stored, loaded, from JSON. What differs here would differ in production.
    model = load_model(folder, expected_digest=manifest_digest(manifest))
    served = model.predict([coerce_row(manifest.input_columns, row) for row in golden.rows])
    if not np.array_equal(served, np.array(golden.predictions)):
        raise TrainingError(
            "the stored model does not predict from JSON what the fitted one predicts from the table: "
            "let the feature function depend on nothing but its row"
        )


def _write_training(
    folder: Path,
    trials: list[Trial],
    *,
    chosen: Chosen,
    threshold: ThresholdChoice | None,
    training_id: str,
    cpu_seconds: float,
) -> None:
    content = {
        "training_id": training_id,
        "fit_cpu_seconds": round(cpu_seconds, 3),
        "chosen": asdict(chosen),
        "threshold": None if threshold is None else asdict(threshold),
        "leaderboard": [asdict(trial) for trial in trials],
    }
    (folder / "training.json").write_text(
        json.dumps(content, indent=1, sort_keys=True, allow_nan=False), encoding="utf-8"
    )
