"""A lake with published parcels, an empty MLflow store, trained packages: made once, and copied for each test."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from include.evaluation.gate import required_names
from include.lake.ledger import DecisionRecord, append_decision
from include.lake.store import Lake, open_lake
from include.modeling.fitting import fit_model
from include.modeling.search import run_trials
from include.modeling.snapshot import Snapshot, pin_snapshot
from include.registry import Registry, open_registry, read_version, register_version
from include.registry.evidence import gate_digest, write_evidence
from include.registry.judgement import judge_version
from include.settings import Settings, read_settings
from include.workflow import Search, Training, Workflow
from tests.factories import START, days, declare_workflow
from tests.modeling.published import publish_days

TOKEN = "t0ken-of-the-tests"
TRAINED: Mapping[str, tuple[int, str]] = {  # training: (days of history, family)
    "monday3": (21, "linear"),
    "monday3b": (21, "boosting"),
    "monday4": (28, "linear"),
}


@dataclass(frozen=True, kw_only=True)
class House:
    """The parts of one test, each its own."""

    workflow: Workflow
    settings: Settings
    lake: Lake
    registry: Registry
    packages: Path
    snapshots: Mapping[str, Snapshot]

    def register(self, training: str, *, is_backfilled: bool = False) -> str:
        """Register a trained package; its version."""
        work: dict[str, Any] = {
            "metrics": {"validation": 0.5},
            "params": {"family": "x"},
            "is_backfilled": is_backfilled,
        }
        return register_version(
            self.registry, self.workflow, self.packages / training, training_id=training, **work
        ).version

    def judge(self, version: str, *, workflow: Workflow | None = None) -> DecisionRecord:
        """Judge a version by the real gate, on its own snapshot."""
        training = read_version(self.registry, self.workflow.name, version).training_id
        return judge_version(
            workflow or self.workflow,
            self.snapshots[training],
            version,
            lake=self.lake,
            registry=self.registry,
            decided_by="test",
        )

    def required(self, champion: str | None) -> list[str]:
        """Names of the checks without which nothing ships."""
        return sorted(
            required_names(self.workflow.gate, metrics=(self.workflow.metric,), has_champion=champion is not None)
        )

    def decide(self, version: str, champion: str | None, **changes: Any) -> DecisionRecord:
        """
        Append a decision without the seconds of a judgement: for tests of what happens after it. `changes` go to the
        evidence.
        """
        found = read_version(self.registry, self.workflow.name, version)
        now = datetime.now(UTC)
        content = {
            "workflow": self.workflow.name,
            "model_version": version,
            "model_digest": found.model_digest,
            "champion_version": champion,
            "gate_digest": gate_digest(self.workflow),
            "verdict": "PROMOTE",
            "checks": [{"name": name, "passed": True} for name in self.required(champion)],
            "decided": now.isoformat(),
            **changes,
        }
        uri, digest = write_evidence(self.lake, self.workflow.name, content)
        record = DecisionRecord(
            workflow=self.workflow.name,
            model_version=version,
            champion_version=champion,
            as_of=datetime.fromisoformat(found.as_of),
            verdict=str(content["verdict"]),
            reasons=json.dumps(["because the test says so"]),
            evidence_digest=digest,
            evidence_uri=uri,
            model_digest=found.model_digest,
            decided_at=now,
            decided_by="test",
            is_backfilled=found.is_backfilled,
        )
        append_decision(self.lake, record)
        return record


def build_template(home: Path) -> dict[str, Snapshot]:
    """Publish four weeks, train three packages, create an empty MLflow store."""
    workflow = declare(home)
    lake = Lake(uri=str(home / "lake"), storage_options={})
    publish_days(workflow, lake, days(28), n_rows=60)
    open_registry(read_settings({"UPDRAFT_HOME": str(home)}))
    snapshots = {}
    for training, (n_days, family) in TRAINED.items():
        chosen = workflow.model_copy(
            update={"training": Training(**{**_training(workflow), "search": Search(families=(family,))})}
        )
        snapshots[training] = pin_snapshot(chosen, START + timedelta(days=n_days), lake=lake)
        arguments: dict[str, Any] = {"lake": lake, "training_id": training}
        run_trials(chosen, snapshots[training], worker=0, n_workers=1, budget_seconds=60, max_trials=1, **arguments)
        fit_model(chosen, snapshots[training], folder=home / "packages" / training, **arguments)
    return snapshots


def copy_house(template: Path, snapshots: Mapping[str, Snapshot], home: Path) -> House:
    """Copy the template's lake and store, and open them."""
    shutil.copytree(template / "lake", home / "lake")
    shutil.copy(template / "mlflow.db", home / "mlflow.db")
    return open_house(home, template / "packages", snapshots)


def open_house(home: Path, packages: Path, snapshots: Mapping[str, Snapshot]) -> House:
    """Open what lies in a folder: what another process of the same house does."""
    settings = replace(read_settings({"UPDRAFT_HOME": str(home)}), endpoint_token=TOKEN)
    return House(
        workflow=declare(home),
        settings=settings,
        lake=open_lake(settings),
        registry=open_registry(settings),
        packages=packages,
        snapshots=snapshots,
    )


def declare(home: Path) -> Workflow:
    """The workflow "parcels", declared in a folder of the house."""
    return declare_workflow(home / "parcels")


def with_gate(workflow: Workflow, **changes: Any) -> Workflow:
    """The workflow with another gate."""
    return workflow.model_copy(update={"gate": workflow.gate.model_copy(update=changes)})


def _training(workflow: Workflow) -> dict[str, Any]:
    return {name: getattr(workflow.training, name) for name in type(workflow.training).model_fields}
