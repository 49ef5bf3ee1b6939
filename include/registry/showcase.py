"""What pages show of a workflow's versions: read from ledger and files, nothing of a model is loaded."""

from __future__ import annotations

import json
import tempfile
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from include.errors import DataError
from include.evaluation.report import EvaluationReport
from include.lake.ledger import DECISIONS, current_champion, read_ledger
from include.lake.store import Lake
from include.registry.lookup import FILES, RegisteredVersion, list_versions, local_path
from include.registry.store import Registry, store_errors
from include.workflow import Workflow

RUN_TAG = "updraft.run_id"
MAX_VERSIONS = 50


@dataclass(frozen=True, kw_only=True)
class VersionLine:
    """One version in a list; `verdict` is None until the gate has judged it."""

    version: str
    as_of: str
    training_id: str
    verdict: str | None
    reasons: tuple[str, ...]
    decided_by: str
    is_champion: bool

    @property
    def why(self) -> str:
        """The deciding reason; a PROMOTE has none but that every check passed, unless a person gave it."""
        if self.verdict == "PROMOTE" and len(self.reasons) > 1:
            return f"all {len(self.reasons)} checks passed"
        return self.reasons[0] if self.reasons else ""


@dataclass(frozen=True, kw_only=True)
class VersionPage:
    """What is known of one version; the parts that were not made yet are None or empty."""

    line: VersionLine
    report: EvaluationReport | None
    leaderboard: tuple[Mapping[str, Any], ...]
    fit_cpu_seconds: float | None
    study: str | None  # a figure as a data address
    has_card: bool


def list_lines(workflow: Workflow, *, lake: Lake, registry: Registry, version: str | None = None) -> list[VersionLine]:
    """Versions of a workflow, the newest first, at most 50; or one of them alone."""
    decisions = {
        str(row["model_version"]): row for row in read_ledger(lake, DECISIONS, workflow=workflow.name).to_pylist()
    }
    champion = current_champion(lake, workflow.name)
    champion_version = None if champion is None else champion.model_version
    newest = [found for found in list_versions(registry, workflow.name)[::-1] if version in (None, found.version)][
        :MAX_VERSIONS
    ]
    return [
        _line(found, decisions.get(found.version), is_champion=found.version == champion_version) for found in newest
    ]


def read_page(found: RegisteredVersion, line: VersionLine, *, registry: Registry) -> VersionPage:
    """Read what stands beside a version's package."""
    training, evaluation = (
        json.loads(read_file(registry, found, f"{name}.json") or b"{}") for name in ("training", "evaluation")
    )
    study = read_file(registry, found, "figures/search.png")
    return VersionPage(
        line=line,
        report=_report(evaluation),
        leaderboard=tuple(training.get("leaderboard") or ()),
        fit_cpu_seconds=training.get("fit_cpu_seconds"),
        study=None if study is None else f"data:image/png;base64,{b64encode(study).decode()}",
        has_card=read_file(registry, found, "card.html") is not None,
    )


def read_file(registry: Registry, found: RegisteredVersion, name: str) -> bytes | None:
    """
    Read one file of a version; None if it is not there.

    Raises
    ------
    RegistryUnavailableError
        If the place of the files does not answer.

    """
    local = local_path(found.uri)
    if local is not None:
        return (local / name).read_bytes() if (local / name).is_file() else None
    parent = f"{FILES}/{name}".rpartition("/")[0]
    with (
        tempfile.TemporaryDirectory(prefix="updraft-page-") as folder,
        store_errors(f"read {name} of version {found.version}"),
    ):
        if f"{FILES}/{name}" not in {item.path for item in registry.client.list_artifacts(found.run_id, parent)}:
            return None
        return Path(registry.client.download_artifacts(found.run_id, f"{FILES}/{name}", folder)).read_bytes()


def note_run(registry: Registry, found: RegisteredVersion, run_id: str | None) -> None:
    """Note which of Airflow's runs made a version, so that the run's page finds it."""
    if run_id:
        with store_errors(f"note the run of version {found.version} of {found.workflow!r}"):
            registry.client.set_model_version_tag(found.workflow, found.version, RUN_TAG, run_id)


def version_of_run(registry: Registry, workflow_name: str, run_id: str) -> str | None:
    """Newest version that a run made, or None."""
    with store_errors(f"list the versions of model {workflow_name!r}"):
        found = registry.client.search_model_versions(f"name = '{workflow_name}'")
    made = [str(item.version) for item in found if (item.tags or {}).get(RUN_TAG) == run_id]
    return max(made, key=int, default=None)


def _line(found: RegisteredVersion, decision: Mapping[str, Any] | None, *, is_champion: bool) -> VersionLine:
    return VersionLine(
        version=found.version,
        as_of=found.as_of,
        training_id=found.training_id,
        verdict=None if decision is None else str(decision["verdict"]),
        reasons=() if decision is None else tuple(map(str, json.loads(decision["reasons"]))),
        decided_by="" if decision is None else str(decision["decided_by"]),
        is_champion=is_champion,
    )


def _report(content: Mapping[str, Any]) -> EvaluationReport | None:
    if not content:
        return None
    try:
        return EvaluationReport.from_dict(content)
    except DataError:
        # Another release wrote it: the card beside it tells the same.
        return None
