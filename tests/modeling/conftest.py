"""Fixtures of the modeling tests: a lake with six days of published parcels, a snapshot, a trained package."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest

from include.lake.store import Lake
from include.modeling.fitting import fit_model
from include.modeling.model import Model, ModelManifest, load_model, manifest_digest
from include.modeling.search import run_trials
from include.modeling.snapshot import Snapshot, pin_snapshot
from include.workflow import Workflow
from tests.modeling.published import AS_OF, declare_short, publish_days


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A workflow with published rows, a finished search and a package."""

    workflow: Workflow
    lake: Lake
    snapshot: Snapshot
    folder: Path
    manifest: ModelManifest

    @property
    def digest(self) -> str:
        return manifest_digest(self.manifest)

    def load(self) -> Model:
        return load_model(self.folder, expected_digest=self.digest)


@pytest.fixture(scope="session")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Trained:
    """One small training, shared by the tests that only read it."""
    home = tmp_path_factory.mktemp("trained")
    workflow = declare_short(home / "parcels")
    lake = Lake(uri=str(home / "lake"), storage_options={})
    publish_days(workflow, lake, n_rows=400)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    for worker in range(2):
        run_trials(
            workflow, snapshot, lake=lake, training_id="t1", worker=worker, n_workers=2, budget_seconds=60, max_trials=3
        )
    manifest = fit_model(
        workflow, snapshot, lake=lake, training_id="t1", folder=home / "package", created_by_run="run-1"
    )
    return Trained(workflow=workflow, lake=lake, snapshot=snapshot, folder=home / "package", manifest=manifest)


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder."""
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """Parcels with a short window."""
    return declare_short(tmp_path / "parcels")
