"""
A registered version with all that pages show of one, and hostile text wherever text can be: no fit is
needed for that.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from include.evaluation.card import CardFacts, write_card
from include.evaluation.evaluate import Scoring, evaluate
from include.evaluation.study import draw_study
from include.lake.ledger import DecisionRecord, append_decision
from include.lake.store import open_lake
from include.modeling.model import ModelManifest
from include.registry.candidate import add_to_version
from include.registry.showcase import note_run
from include.registry.versions import open_registry, register_version
from include.workflow import Workflow

RUN = "manual__2026-02-02T00:00:00+00:00"


def manifest_of(workflow: Workflow, training_id: str, text: str) -> dict[str, Any]:
    """A manifest whose texts are one text."""
    snapshot = {
        "snapshot_id": "s" * 16,
        "train_start": "2026-01-05",
        "test_start": "2026-01-26",
        "test_end": "2026-02-02",
    }
    manifest = ModelManifest(
        workflow=workflow.name,
        training_id=training_id,
        as_of="2026-02-02T00:00:00+00:00",
        snapshot=snapshot,
        workflow_digest="d" * 64,
        family=text,
        params={text: text},
        random_state=0,
        input_columns=(),
        hidden_columns=(),
        feature_names=(text,),
        feature_kinds=("number",),
        builder=None,
        target="is_late",
        positive=True,
        task="classification",
        libraries={},
        trained_rows={},
        created_by_run=RUN,
    )
    return dict(vars(manifest))


def show_version(workflow: Workflow, folder: Path, *, training_id: str, text: str, verdict: str | None) -> str:
    """Register a version with its card and leaderboard, and let the ledger say what the gate said; its number."""
    lake, registry = open_lake(), open_registry()
    folder.mkdir()
    manifest = manifest_of(workflow, training_id, text)
    common = {"family": text, "params": {text: text}, "error": text}
    trials = [{**common, "number": n, "score": 0.6 + 0.01 * n, "cpu_seconds": 0.5 + n} for n in range(3)]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "training.json").write_text(json.dumps({"leaderboard": trials, "fit_cpu_seconds": 1.25}))
    found = register_version(registry, workflow, folder, training_id=training_id, metrics={}, params={})
    if verdict is None:
        return found.version
    rng = np.random.default_rng(0)
    report = evaluate(
        rng.integers(0, 2, 80), rng.random(80), scoring=Scoring(), slices={}, random_state=0, n_bootstrap=20
    )
    figures = draw_study(trials, workflow.metric)
    card = write_card(
        CardFacts(
            workflow=workflow,
            version=found.version,
            model_digest=found.model_digest,
            manifest=manifest,
            report=report,
            leaderboard=trials,
            figures=figures,
        )
    )
    add_to_version(
        registry, found, contents={"evaluation.json": report.to_dict(), "card.html": card.html}, figures=figures
    )
    note_run(registry, found, RUN)
    record = DecisionRecord(
        workflow=workflow.name,
        model_version=found.version,
        champion_version=None,
        as_of=datetime(2026, 2, 2, tzinfo=UTC),
        verdict=verdict,
        reasons=json.dumps([text, "second reason"]),
        evidence_digest="e" * 64,
        evidence_uri="lake",
        model_digest=found.model_digest,
        decided_at=datetime(2026, 2, 2, 1, tzinfo=UTC),
        decided_by=text,
    )
    append_decision(lake, record)
    return found.version
