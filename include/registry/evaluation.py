"""Measure a version on its test rows, explain it, and store report, figures and model card with it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from include.evaluation.evaluate import UNKNOWN_NAME, Scoring, class_names, evaluate
from include.evaluation.explanation import ErrorExample, Probe, partial_dependence, permutation_importance
from include.evaluation.figures import draw_figures
from include.evaluation.json_numbers import to_json_number
from include.evaluation.mistakes import worst_rows
from include.evaluation.report import EvaluationReport
from include.evaluation.study import draw_study
from include.lake.store import Lake
from include.modeling.model import Model
from include.modeling.snapshot import Snapshot
from include.quality.masking import mask_rows
from include.registry.candidate import add_to_version, card_of, fetch_candidate
from include.registry.judged_rows import JudgedRows, read_judged_rows, require_trained_on
from include.registry.scoring import scoring_of
from include.registry.showcase import note_run
from include.registry.store import Registry
from include.registry.versions import log_metrics
from include.workflow import Workflow

N_EXAMPLES = 10
_N_FOLLOWED = 3  # columns whose partial dependence is drawn


@dataclass(frozen=True, kw_only=True)
class EvaluationSummary:
    """
    What passes between tasks of an evaluation: counts and points. The whole report and the card are stored with the
    version.
    """

    version: str
    n_rows: int
    n_positives: int | None
    metric: str
    metrics: Mapping[str, float | None]
    card_uri: str


def evaluate_version(
    workflow: Workflow, snapshot: Snapshot, version: str, *, lake: Lake, registry: Registry
) -> EvaluationSummary:
    """
    Measure a version on its test rows, and store report, figures and model card with it.

    Raises
    ------
    ModelVersionNotFoundError, TamperedModelError
        As `load_version`.
    EvidenceError
        If the version was not trained on this snapshot.

    """
    candidate = fetch_candidate(registry, workflow, version, lake=lake)
    require_trained_on(candidate.model.manifest, snapshot, version=version)
    rows = read_judged_rows(workflow, snapshot, lake=lake, models=[candidate.model])
    y_pred = candidate.model.predict(rows.table)
    scoring = scoring_of(workflow, candidate.model.manifest)
    report = evaluate(
        rows.y_true,
        y_pred,
        scoring=scoring,
        slices=rows.slices,
        random_state=workflow.training.random_state,
        times=rows.times,
        block=workflow.block,
    )
    report = explain(report, workflow, candidate.model, rows, y_pred)
    figures = draw_figures(report, rows.y_true, y_pred, metric=workflow.metric)
    figures |= draw_study(candidate.leaderboard, workflow.metric)
    card = card_of(workflow, candidate, report, figures=figures)
    contents = {"evaluation.json": report.to_dict(), "card.md": card.markdown, "card.html": card.html}
    add_to_version(registry, candidate.found, contents=contents, figures=figures)
    note_run(registry, candidate.found, candidate.model.manifest.created_by_run)
    points = {name: to_json_number(interval.value) for name, interval in report.metrics.items()}
    log_metrics(
        registry, candidate.found, {f"test_{name}": value for name, value in points.items() if value is not None}
    )
    return EvaluationSummary(
        version=version,
        n_rows=report.n_rows,
        n_positives=report.n_positives,
        metric=workflow.metric,
        metrics=points,
        card_uri=f"{candidate.found.uri}/card.html",
    )


def explain(
    report: EvaluationReport, workflow: Workflow, model: Model, rows: JudgedRows, y_pred: Any
) -> EvaluationReport:
    """Add to a report what the model answers by, and the rows where it is most wrong."""
    scoring = scoring_of(workflow, model.manifest)
    probe = Probe(
        predict=model.predict,
        table=rows.table,
        y_true=rows.y_true,
        score=scoring.rows,
        metric=workflow.metric,
        random_state=workflow.training.random_state,
    )
    columns = [column.name for column in model.manifest.input_columns if column.name in rows.table.schema.names]
    importance = permutation_importance(probe, columns=columns)
    followed = [item.column for item in importance if item.loss.value > 0][:_N_FOLLOWED]
    outputs = class_names(scoring.classes, n_classes=y_pred.shape[1]) if y_pred.ndim == 2 else [workflow.target.column]
    return replace(
        report,
        importance=importance,
        dependence=partial_dependence(probe, columns=followed, outputs=outputs),
        examples=_examples(workflow, rows, y_pred, columns=columns, scoring=scoring),
    )


def _examples(
    workflow: Workflow, rows: JudgedRows, y_pred: Any, *, columns: list[str], scoring: Scoring
) -> tuple[ErrorExample, ...]:
    chosen = worst_rows(scoring.task, np.asarray(rows.y_true), y_pred, n=N_EXAMPLES)
    found = rows.table.take(chosen)
    # Of a survey not even the shape of an answer is shown.
    masked = mask_rows(found.select(columns), n=N_EXAMPLES, hidden=columns if workflow.source.kind == "survey" else ())
    ids = found["row_id"].to_pylist()
    mistakes = [_tell_mistake(scoring, rows.y_true[i], y_pred[i]) for i in chosen]
    return tuple(
        ErrorExample(row_id=str(i), mistake=m, masked=values)
        for i, m, values in zip(ids, mistakes, masked, strict=True)
    )


def _tell_mistake(scoring: Scoring, truth: Any, predicted: Any) -> str:
    """Say by how much the answer was wrong; of a number not the value itself, which is the row's own."""
    if scoring.task == "classification":
        return f"{predicted:.3f} for positive, and it was {'positive' if truth else 'negative'}"
    if scoring.task == "multiclass":
        names = class_names(scoring.classes, n_classes=len(predicted))
        said = int(np.argmax(predicted))
        was = UNKNOWN_NAME if truth < 0 else f"{names[int(truth)]}, given {predicted[int(truth)]:.3f}"
        return f"{predicted[said]:.3f} for {names[said]}, and it was {was}"
    error = float(truth - predicted)
    return f"{abs(error):.4g} too {'low' if error > 0 else 'high'}"
