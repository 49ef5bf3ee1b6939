"""
Model versions: a package of files and what is known of it, under the workflow's name.

A version is a run in the experiment of the workflow's name (params, metrics, and the package's files under `model/`)
and, last of all, the registered version that points to them. Whoever is killed on the way leaves a run without a
version: the next try completes it.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from include.errors import RegistryError, TamperedModelError
from include.lake.crash_points import crash_point
from include.lake.ledger import latest_decision
from include.lake.store import Lake
from include.modeling.model import LATER_FILES, LATER_FOLDERS, Model, load_model, manifest_digest, read_manifest
from include.registry.lookup import (
    AS_OF_TAG,
    BACKFILLED_TAG,
    DIGEST_TAG,
    FILES,
    TRAINING_TAG,
    RegisteredVersion,
    read_version,
    set_alias,
    version_folder,
    version_of_alias,
    version_of_training,
)
from include.registry.store import Registry, check_name, open_registry, store_errors
from include.workflow import Workflow

__all__ = [
    "RegisteredVersion",
    "Registry",
    "add_files",
    "load_version",
    "log_metrics",
    "open_registry",
    "read_version",
    "register_version",
    "set_alias",
    "version_folder",
    "version_of_alias",
]

_TRAINING_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:+=-]{0,199}")
_MAX_PARAM = 500  # characters; MLflow's database refuses more than 6,000


def register_version(  # noqa: PLR0913 - what, and what is told of it
    registry: Registry,
    workflow: Workflow,
    folder: Path,
    *,
    training_id: str,
    metrics: Mapping[str, float],
    params: Mapping[str, Any],
    is_backfilled: bool = False,
) -> RegisteredVersion:
    """
    Register a model package, once per training: a second call returns the first one's version, and completes what was
    cut short.

    With `is_backfilled` the version is marked as trained as of a past date (see `include.registry.backfilled`).

    Raises
    ------
    RegistryError
        If the package is another workflow's or another training's, or a name is malformed.
    RegistryUnavailableError
        If the registry does not answer.

    """
    name = check_name(workflow.name)
    manifest = read_manifest(folder)
    if not _TRAINING_ID.fullmatch(training_id):
        raise RegistryError(f"training id {training_id[:60]!r} is malformed: use letters, digits and . _ : + = -")
    if (manifest.workflow, manifest.training_id) != (name, training_id):
        raise RegistryError(
            f"the package is of training {manifest.training_id!r} of {manifest.workflow!r}, not of {training_id!r} of "
            f"{name!r}: register it under its own"
        )
    tags = {TRAINING_TAG: training_id, DIGEST_TAG: manifest_digest(manifest), AS_OF_TAG: str(manifest.as_of)}
    tags[BACKFILLED_TAG] = "true" if is_backfilled else "false"
    with store_errors(f"register a version of {name!r}"):
        if found := version_of_training(registry, name, training_id):
            return found
        _ensure_model(registry, name)
        run = _ensure_run(registry, name, tags)
        crash_point("register.before_files")
        _log_numbers(registry, run, metrics=metrics, params=params)
        registry.client.log_artifacts(run.info.run_id, str(folder), FILES)
        registry.client.set_terminated(run.info.run_id)
        crash_point("register.before_version")
        registry.client.create_model_version(
            name, source=f"{run.info.artifact_uri}/{FILES}", run_id=run.info.run_id, tags=tags
        )
        crash_point("register.after_version")
        # Of two tries at once, both made a version: both go on with the older one.
        created = version_of_training(registry, name, training_id)
    if created is None:
        raise RegistryError(
            f"the version just made for training {training_id!r} of {name!r} is gone: register it again"
        )
    return created


def load_version(registry: Registry, workflow_name: str, version: str, *, lake: Lake | None = None) -> Model:
    """
    Fetch a version's package, verify it, and load it.

    Parameters
    ----------
    registry, workflow_name, version
        Which one.
    lake : Lake, optional
        With it, the digest of the gate's last decision on the version must agree as well: the registry's own tag can be
        written by whoever can write the files, the ledger needs other rights.

    Raises
    ------
    ModelVersionNotFoundError
        If there is no such version.
    TamperedModelError
        If a byte of it differs from what was registered or judged; nothing of it was loaded.

    """
    found = read_version(registry, workflow_name, version)
    if lake is not None:
        require_as_judged(found, lake=lake)
    with version_folder(registry, found) as folder:
        return load_model(folder, expected_digest=found.model_digest)


def require_as_judged(found: RegisteredVersion, *, lake: Lake) -> None:
    """
    Ask the ledger whether a version is still the one that was judged, before anything of it is loaded; one never judged
    passes.

    Raises
    ------
    TamperedModelError
        If the registry names another digest than the last decision.

    """
    decision = latest_decision(lake, found.workflow, found.version)
    if decision is not None and decision.model_digest != found.model_digest:
        raise TamperedModelError(
            f"version {found.version} of {found.workflow!r} is registered with digest {found.model_digest[:12]}…, but "
            f"was judged as {decision.model_digest[:12]}…: its record was changed"
        )


def add_files(registry: Registry, workflow_name: str, version: str, folder: Path) -> None:
    """
    Add files about a version (card, figures, evaluation) to its package; the same names are replaced.

    Raises
    ------
    RegistryError
        If a file would be part of the model itself.

    """
    names = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    refused = [
        str(name)
        for name in names
        if str(name) not in LATER_FILES and (len(name.parts) == 1 or name.parts[0] not in LATER_FOLDERS)
    ]
    if refused:
        raise RegistryError(
            f"{', '.join(refused[:5])} cannot be added: known are {', '.join(sorted(LATER_FILES))} and figures/"
        )
    found = read_version(registry, workflow_name, version)
    with store_errors(f"add files to version {version} of model {workflow_name!r}"):
        registry.client.log_artifacts(found.run_id, str(folder), FILES)


def log_metrics(registry: Registry, found: RegisteredVersion, metrics: Mapping[str, float]) -> None:
    """Log numbers to the version's run, for comparison in MLflow's own pages; the same again adds no point."""
    with store_errors(f"log metrics of version {found.version} of model {found.workflow!r}"):
        _log_numbers(registry, registry.client.get_run(found.run_id), metrics=metrics, params={})


def _ensure_model(registry: Registry, name: str) -> None:
    _create_if_absent(lambda: registry.client.create_registered_model(name))


def _ensure_run(registry: Registry, name: str, tags: Mapping[str, str]) -> Any:
    client = registry.client
    experiment = client.get_experiment_by_name(name)
    if experiment is None:
        _create_if_absent(lambda: client.create_experiment(name, artifact_location=f"{registry.artifacts_uri}/{name}"))
        experiment = client.get_experiment_by_name(name)
    # By the digest as well: another fit of the same training must not mix its files with these.
    same = " and ".join(f"tags.`{tag}` = '{tags[tag]}'" for tag in (TRAINING_TAG, DIGEST_TAG))
    runs = client.search_runs([experiment.experiment_id], same, max_results=1)
    return (
        runs[0] if runs else client.create_run(experiment.experiment_id, run_name=tags[TRAINING_TAG], tags=dict(tags))
    )


def _create_if_absent(create: Callable[[], object]) -> None:
    from mlflow.exceptions import MlflowException

    try:
        create()
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _log_numbers(registry: Registry, run: Any, *, metrics: Mapping[str, float], params: Mapping[str, Any]) -> None:
    from mlflow.entities import Metric, Param

    # The run's own time, so that a second try logs the same points, not more.
    moment = run.info.start_time
    registry.client.log_batch(
        run.info.run_id,
        metrics=[Metric(key, float(value), moment, 0) for key, value in metrics.items() if math.isfinite(value)],
        params=[Param(key, str(value)[:_MAX_PARAM]) for key, value in params.items()],
    )
