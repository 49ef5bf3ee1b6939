"""A small registry with real, trained models, and a promotion of one of them."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.errors import StalePromotionError
from include.lake.digests import digest_bytes
from include.lake.ledger import PromotionRecord, append_promotion, current_champion
from include.lake.store import Lake
from include.modeling.features import builder_of_workflow
from include.modeling.frame import feature_columns_of, feature_frame
from include.modeling.labels import labels_of
from include.modeling.model import Golden, ModelManifest, save_model
from include.modeling.search import problem_of
from include.registry import open_registry, register_version
from include.selection.families import PORTFOLIO, with_rounds
from include.selection.trial import fit_whole
from include.settings import Settings
from include.workflow import Workflow
from include.workflow.tasks import Family
from tests.factories import parcel_rows


def train_package(workflow: Workflow, folder: Path, *, table: pa.Table, family: Family, training_id: str) -> None:
    """Fit the first configuration of a family on a table of the source's columns, and write its package."""
    builder = builder_of_workflow(workflow, table.schema)
    features = builder.build_table(table)
    columns = feature_columns_of(features)
    configuration = with_rounds(next(c for c in PORTFOLIO if c.family == family), 150)
    y = labels_of(workflow, table)
    pipeline = fit_whole(
        problem_of(workflow, columns, classes=(), y=y), feature_frame(features, columns), y, configuration
    )
    golden_rows = [{name: _as_json(value) for name, value in row.items()} for row in table.slice(0, 20).to_pylist()]
    predictions = pipeline.predict_proba(feature_frame(features[:20], columns))[:, 1].tolist()
    manifest = ModelManifest(
        workflow=workflow.name,
        training_id=training_id,
        as_of="2026-01-12T00:00:00+00:00",
        snapshot={},
        workflow_digest=workflow.digest(),
        family=family,
        params=dict(configuration.params),
        random_state=0,
        input_columns=builder.columns,
        hidden_columns=tuple(sorted(builder.hidden)),
        feature_names=tuple(c.name for c in columns),
        feature_kinds=tuple(c.kind for c in columns),
        builder=builder.function,
        target=workflow.target.column,
        positive=True,
        task="classification",
        libraries={},
        trained_rows={
            "n_rows": table.num_rows,
            "row_ids_digest": digest_bytes(b""),
            "train_start": "",
            "train_end": "",
        },
    )
    save_model(
        folder,
        manifest=manifest,
        pipeline=pipeline,
        builder=builder,
        golden=Golden(rows=tuple(golden_rows), predictions=tuple(predictions)),
    )


def _as_json(value: Any) -> Any:
    return value.isoformat() if isinstance(value, datetime) else value


def register_families(workflow: Workflow, settings: Settings, folder: Path) -> dict[str, str]:
    """Register a linear and a boosting model; their versions by family."""
    registry = open_registry(settings)
    table = parcel_rows(n_rows=600, seed=7)
    versions: dict[str, str] = {}
    families: tuple[Family, ...] = ("linear", "boosting")
    for family in families:
        train_package(workflow, folder / family, table=table, family=family, training_id=f"train-{family}")
        versions[family] = register_version(
            registry, workflow, folder / family, training_id=f"train-{family}", metrics={}, params={}
        ).version
    return versions


def promote(lake: Lake, workflow_name: str, version: str) -> None:
    """Append a promotion to the ledger, as `include.registry.promotion` does once the evidence is checked."""
    for _ in range(3):
        last = current_champion(lake, workflow_name)
        record = PromotionRecord(
            workflow=workflow_name,
            model_version=version,
            previous_version=None if last is None else last.model_version,
            as_of=datetime(2026, 1, 12, tzinfo=UTC),
            alias="champion",
            target="local",
            action="promote",
            epoch=1 if last is None else last.epoch + 1,
            decided_by="test",
            recorded_at=datetime.now(tz=UTC),
        )
        try:
            append_promotion(lake, record)
        except StalePromotionError:
            continue
        return
