"""What is known of a version that answered: its feature function, its profile, and what it did on its test rows."""

from __future__ import annotations

import json
from dataclasses import dataclass

import numpy as np

from include.errors import DataError, DeclarationError, RegistryError
from include.evaluation.report import EvaluationReport
from include.lake.store import Lake
from include.modeling.features import FeatureBuilder
from include.modeling.model import ModelManifest, load_builder
from include.modeling.profile import TrainingProfile, read_profile
from include.registry.lookup import read_version, version_folder
from include.registry.showcase import read_file
from include.registry.store import Registry
from include.registry.versions import require_as_judged
from include.workflow import Workflow


@dataclass(frozen=True, kw_only=True)
class VersionFacts:
    """What is known of the version that answered. `trouble` says why there is nothing, where there is nothing."""

    manifest: ModelManifest | None = None
    builder: FeatureBuilder | None = None
    profile: TrainingProfile | None = None
    report: EvaluationReport | None = None
    trouble: str = ""

    def reference(self, metric: str) -> float | None:
        """A metric's value on the version's test rows."""
        found = None if self.report is None else self.report.metrics.get(metric)
        return None if found is None or not np.isfinite(found.value) else found.value


def read_facts(workflow: Workflow, version: str, *, lake: Lake, registry: Registry) -> VersionFacts:
    """
    Fetch a version's feature function, profile and evaluation, verified; what is wrong with it is told,
    not raised.
    """
    try:
        found = read_version(registry, workflow.name, version)
        require_as_judged(found, lake=lake)
        with version_folder(registry, found) as folder:
            manifest, builder = load_builder(folder, expected_digest=found.model_digest)
            profile = read_profile(folder)
        evaluation = read_file(registry, found, "evaluation.json")
        report = None if evaluation is None else EvaluationReport.from_dict(json.loads(evaluation))
    except (RegistryError, DeclarationError, DataError, ValueError) as error:
        if getattr(error, "is_retryable", False):
            raise
        return VersionFacts(trouble=str(error))
    return VersionFacts(manifest=manifest, builder=builder, profile=profile, report=report)


class FactsOnce:
    """Facts about versions, each looked up once a judgement."""

    def __init__(self, workflow: Workflow, lake: Lake, registry: Registry) -> None:
        self._workflow, self._lake, self._registry = workflow, lake, registry
        self._found: dict[str, VersionFacts] = {}

    def __call__(self, version: str) -> VersionFacts:
        """Facts about one version (see `read_facts`)."""
        if version not in self._found:
            self._found[version] = read_facts(self._workflow, version, lake=self._lake, registry=self._registry)
        return self._found[version]
