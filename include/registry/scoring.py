"""How a version's predictions are scored: by its task, and by the classes and the threshold of its model."""

from __future__ import annotations

from include.evaluation.evaluate import Scoring
from include.evaluation.metrics import THRESHOLD
from include.modeling.model import ModelManifest
from include.workflow import Workflow


def scoring_of(workflow: Workflow, manifest: ModelManifest | None = None) -> Scoring:
    """How a workflow's predictions are scored; with a manifest, by the classes and the threshold of its model."""
    return Scoring(
        task=workflow.target.task,
        quantile=workflow.target.quantile,
        threshold=THRESHOLD if manifest is None else manifest.threshold,
        classes=() if manifest is None else tuple(map(str, manifest.classes)),
    )
