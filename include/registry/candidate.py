"""A version as it is evaluated and judged: fetched, verified, measured; and the card that is kept with it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from include.evaluation.card import Card, CardFacts, write_card
from include.evaluation.gate import Check, Verdict
from include.evaluation.report import EvaluationReport
from include.evaluation.thresholds import ThresholdChoice
from include.lake.store import Lake
from include.modeling.model import Model, load_model, read_golden
from include.registry.judged_rows import measure_latency_ms, measure_size_mb
from include.registry.lookup import RegisteredVersion, read_version, version_folder
from include.registry.store import Registry
from include.registry.versions import add_files, require_as_judged
from include.workflow import Workflow


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A version that was fetched and verified, and what was found in its package."""

    found: RegisteredVersion
    model: Model
    leaderboard: tuple[Mapping[str, Any], ...]
    report: EvaluationReport | None
    verdict: Verdict | None
    figures: Mapping[str, bytes]
    threshold: ThresholdChoice | None
    latency_ms: float
    size_mb: float


def fetch_candidate(registry: Registry, workflow: Workflow, version: str, *, lake: Lake) -> Candidate:
    """Fetch a version, verify and load it, and measure it (raises as `load_version`)."""
    found = read_version(registry, workflow.name, version)
    require_as_judged(found, lake=lake)
    with version_folder(registry, found) as folder:
        model = load_model(folder, expected_digest=found.model_digest)
        training, evaluation, decision = (
            _read_json(folder / f"{name}.json") for name in ("training", "evaluation", "decision")
        )
        return Candidate(
            found=found,
            model=model,
            leaderboard=tuple(training.get("leaderboard", ())),
            report=EvaluationReport.from_dict(evaluation) if evaluation else None,
            verdict=_read_verdict(decision) if decision else None,
            figures={path.name: path.read_bytes() for path in sorted((folder / "figures").glob("*.png"))},
            threshold=ThresholdChoice(**training["threshold"]) if training.get("threshold") else None,
            latency_ms=measure_latency_ms(model, read_golden(folder)),
            size_mb=measure_size_mb(folder, model.manifest),
        )


def card_of(
    workflow: Workflow,
    candidate: Candidate,
    report: EvaluationReport,
    *,
    figures: Mapping[str, bytes],
    verdict: Verdict | None = None,
) -> Card:
    """Write the model card; a verdict and figures that are with the version already are told of as well."""
    facts = CardFacts(
        workflow=workflow,
        version=candidate.found.version,
        model_digest=candidate.found.model_digest,
        manifest=asdict(candidate.model.manifest),
        report=report,
        leaderboard=candidate.leaderboard,
        verdict=verdict or candidate.verdict,
        figures={**candidate.figures, **figures},
        threshold=candidate.threshold,
        measured={"latency_ms": candidate.latency_ms, "size_mb": candidate.size_mb},
    )
    return write_card(facts)


def add_to_version(
    registry: Registry, found: RegisteredVersion, *, contents: Mapping[str, Any], figures: Mapping[str, bytes]
) -> None:
    """Store texts, JSON contents and figures with a version."""
    with tempfile.TemporaryDirectory(prefix="updraft-card-") as name:
        folder = Path(name)
        for file, content in contents.items():
            text = (
                content if isinstance(content, str) else json.dumps(content, indent=1, sort_keys=True, allow_nan=False)
            )
            (folder / file).write_text(text, encoding="utf-8")
        if figures:
            (folder / "figures").mkdir()
        for file, data in figures.items():
            (folder / "figures" / file).write_bytes(data)
        add_files(registry, found.workflow, found.version, folder)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content: dict[str, Any] = json.loads(path.read_bytes())
    return content


def _read_verdict(content: Mapping[str, Any]) -> Verdict:
    checks = tuple(Check(**check) for check in content["checks"])
    return Verdict(verdict=content["verdict"], reasons=tuple(content["reasons"]), checks=checks)
