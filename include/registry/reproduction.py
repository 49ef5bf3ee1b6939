"""
Rebuild a version from its manifest, and compare.

What a version was made of is named by digests: its rows by the snapshot, its declaration (kept in the lake), family,
params and seed by the manifest. The same rows, fitted in the same way, have to give the same bytes. If they do not,
what differs is named: a line of the record, the stored files, the seed, the rows, the code, the libraries.
"""

from __future__ import annotations

import json
import logging
import random
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa

from include.errors import (
    CorruptDataError,
    LakeError,
    PartitionNotFoundError,
    ReproductionError,
    TableNotFoundError,
    TamperedModelError,
)
from include.lake.digests import digest_table
from include.lake.ledger import RUNS, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.modeling.declarations import kept_declaration
from include.modeling.fitting import chosen_of_manifest, fit_chosen
from include.modeling.model import UNDIGESTED_FIELDS, ModelManifest, manifest_digest, verify_model
from include.modeling.snapshot import Snapshot, partitions_of
from include.registry.lookup import RegisteredVersion, list_versions, read_version, version_folder
from include.registry.record import changed_since, check_record
from include.registry.store import Registry
from include.workflow import Workflow

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Reproduction:
    """
    What came of rebuilding a version. `rebuilt_digest` is empty where it went no further than to see that something
    differs.
    """

    workflow: str
    version: str
    recorded_digest: str
    rebuilt_digest: str
    differences: tuple[str, ...]

    @property
    def is_equal(self) -> bool:
        """Whether record, stored files and rebuilt model all agree."""
        return not self.differences and self.rebuilt_digest == self.recorded_digest

    def require_equal(self) -> None:
        """
        Raise if anything differs.

        Raises
        ------
        ReproductionError
            Naming what does.

        """
        if not self.is_equal:
            raise ReproductionError(
                f"version {self.version} of {self.workflow!r} is not reproduced: {'; '.join(self.differences)}. Do not "
                "promote it before the cause is found: see docs/reproducibility.md"
            )


def reproduce_version(workflow: Workflow, version: str, *, lake: Lake, registry: Registry) -> Reproduction:
    """
    Fit a version again from what its manifest says, and compare digests; nothing is registered or changed.

    Parameters
    ----------
    workflow : Workflow
        As it is declared today; the version is rebuilt by the declaration that it was trained by.
    version : str
        Which one.
    lake, registry
        Where its rows and its files are.

    Returns
    -------
    Reproduction
        Equal, or what differs.

    Raises
    ------
    ModelVersionNotFoundError
        If there is no such version.
    ReproductionError
        If it can't be rebuilt: its rows' version of the table or its declaration is gone.

    """
    found = read_version(registry, workflow.name, version)
    try:
        manifest = _verified_manifest(registry, found)
    except TamperedModelError as error:
        differences = [f"the stored model: {error}", *check_record(found, None, lake=lake)]
        return _told(found, differences, rebuilt_digest="")
    differences = check_record(found, manifest, lake=lake)
    with tempfile.TemporaryDirectory(prefix="updraft-reproduce-") as name:
        (Path(name) / "declaration").mkdir()
        try:
            declared = _declaration(workflow, manifest, lake=lake, folder=Path(name) / "declaration")
        except CorruptDataError as error:
            return _told(found, [*differences, str(error)], rebuilt_digest="")
        try:
            rebuilt = _refit(declared, manifest, lake=lake, folder=Path(name) / "model")
        except CorruptDataError as error:
            differences += _changed_rows(declared, manifest, lake=lake, error=error)
            return _told(found, differences, rebuilt_digest="")
    if differing := _compare(manifest, rebuilt):
        differences += [*differing, *changed_since(found, lake=lake)]
    return _told(found, differences, rebuilt_digest=manifest_digest(rebuilt))


def choose_version(registry: Registry, workflow_name: str, *, seed: str) -> str | None:
    """
    Pick one of a workflow's versions (None, if it has none), the newest only where there is no other. The same seed
    picks the same.
    """
    versions = [version.version for version in list_versions(registry, workflow_name)]
    older = versions[:-1] or versions
    return random.Random(seed).choice(older) if older else None


def _verified_manifest(registry: Registry, found: RegisteredVersion) -> ModelManifest:
    # Verified, not loaded: what is rebuilt comes from lake and declaration, and the stored files may be hostile.
    with version_folder(registry, found) as folder:
        return verify_model(folder, expected_digest=found.model_digest)


def _declaration(workflow: Workflow, manifest: ModelManifest, *, lake: Lake, folder: Path) -> Workflow:
    if workflow.digest() == manifest.workflow_digest:
        return workflow
    kept = kept_declaration(lake, workflow.name, manifest.workflow_digest, folder=folder)
    if kept is None:
        raise ReproductionError(
            f"the declaration of {workflow.name!r} has changed (then {manifest.workflow_digest[:12]}…, today "
            f"{workflow.digest()[:12]}…), and the old one is not in the lake (trained before declarations were kept?): "
            "check out the code of that time, and run there"
        )
    return kept


def _refit(workflow: Workflow, manifest: ModelManifest, *, lake: Lake, folder: Path) -> ModelManifest:
    snapshot = Snapshot(**manifest.snapshot)
    try:
        rebuilt = fit_chosen(
            workflow,
            snapshot,
            chosen=chosen_of_manifest(manifest),
            lake=lake,
            folder=folder,
            training_id=manifest.training_id,
        )
    except LakeError as error:
        if not (
            isinstance(error, TableNotFoundError | PartitionNotFoundError)
            or isinstance(error.__cause__, FileNotFoundError)
        ):
            raise
        raise ReproductionError(
            f"the model was trained on version {snapshot.table_version} of {workflow.name}/validated, which is no "
            f"longer whole in the lake ({error}). A retention or a vacuum has removed it: the model can be rebuilt "
            "only from a backup of the lake"
        ) from error
    # Of an older software's declaration the digest is another one today, though it is the same declaration: it was
    # verified as it is.
    return replace(rebuilt, workflow_digest=manifest.workflow_digest)


def _compare(manifest: ModelManifest, rebuilt: ModelManifest) -> list[str]:
    """What differs between two manifests, by name; all fields of the model digest are looked at."""
    before, now = (_flat(json.loads(json.dumps(asdict(m)))) for m in (manifest, rebuilt))
    return [
        f"{name}: recorded {_shown(before.get(name))}, rebuilt {_shown(now.get(name))}"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
    ]


def _flat(values: dict[str, Any]) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in values.items():
        if name in UNDIGESTED_FIELDS:
            continue
        if isinstance(value, dict):
            flat |= {f"{name}.{key}": inner for key, inner in value.items()}
        else:
            flat[name] = value
    return flat


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 40 else f"{text[:12]}…"


def _changed_rows(workflow: Workflow, manifest: ModelManifest, *, lake: Lake, error: CorruptDataError) -> list[str]:
    """Which partitions are not what any line of the ledger says that was published: a digest each, no row is shown."""
    snapshot = Snapshot(**manifest.snapshot)
    runs = read_ledger(lake, RUNS, workflow=workflow.name)
    published = set(zip(runs["partition_key"].to_pylist(), runs["digest"].to_pylist(), strict=True))
    changed = []
    for key in partitions_of(workflow, snapshot):
        try:
            rows: pa.Table = read_partition(lake, f"{workflow.name}/validated", key, version=snapshot.table_version)
        except LakeError as reason:
            changed.append(f"the rows of partition {key}: {reason}")
            continue
        if (key, digest_table(rows)) not in published:
            changed.append(f"the rows of partition {key}: not those that were published")
    return changed or [f"the rows: {error}"]


def _told(found: RegisteredVersion, differences: list[str], *, rebuilt_digest: str) -> Reproduction:
    done = Reproduction(
        workflow=found.workflow,
        version=found.version,
        recorded_digest=found.model_digest,
        rebuilt_digest=rebuilt_digest,
        differences=tuple(differences),
    )
    _LOG.info(
        "version %s of %s: %s", found.version, found.workflow, "equal" if done.is_equal else "; ".join(differences)
    )
    return done
