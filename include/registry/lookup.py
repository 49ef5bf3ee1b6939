"""Look model versions and aliases up, and reach a version's files."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from include.errors import ModelVersionNotFoundError, RegistryError, RegistryUnavailableError, TamperedModelError
from include.registry.store import Registry, check_name, check_version, store_errors

TRAINING_TAG, DIGEST_TAG, AS_OF_TAG = "updraft.training_id", "updraft.model_digest", "updraft.as_of"
BACKFILLED_TAG = "updraft.backfilled"
FILES = "model"  # the run's artifact folder that holds the package
_ALIAS = re.compile(r"[a-z][a-z0-9_]{0,39}")


@dataclass(frozen=True, kw_only=True)
class RegisteredVersion:
    """
    One version: where its files are, and the digest that they must have; `is_backfilled`, if it was trained as of a
    past date.
    """

    workflow: str
    version: str
    model_digest: str
    uri: str
    as_of: str
    training_id: str
    run_id: str
    is_backfilled: bool = False


def version_of_training(registry: Registry, name: str, training_id: str) -> RegisteredVersion | None:
    """Oldest version that a training made, or None. Call it within `store_errors`, with checked names."""
    found = registry.client.search_model_versions(f"name = '{name}' and tags.`{TRAINING_TAG}` = '{training_id}'")
    return min((_version_of(v) for v in found), key=lambda v: int(v.version), default=None)


def read_version(registry: Registry, workflow_name: str, version: str) -> RegisteredVersion:
    """
    Look a version up.

    Raises
    ------
    ModelVersionNotFoundError
        If there is none.
    TamperedModelError
        If it has no recorded digest: something else than `register_version` made it.

    """
    check_version(check_name(workflow_name), version)
    with store_errors(f"read version {version} of model {workflow_name!r}"):
        return _version_of(registry.client.get_model_version(workflow_name, version))


def list_versions(registry: Registry, workflow_name: str) -> list[RegisteredVersion]:
    """All versions of a workflow that Updraft registered, the oldest first; none, if it never trained."""
    with store_errors(f"list the versions of model {check_name(workflow_name)!r}"):
        found = registry.client.search_model_versions(f"name = '{workflow_name}'")
    return sorted(
        (_version_of(v) for v in found if DIGEST_TAG in (v.tags or {})), key=lambda version: int(version.version)
    )


@contextmanager
def version_folder(registry: Registry, found: RegisteredVersion) -> Iterator[Path]:
    """
    Give the version's files as a local folder: in place where they are local, else downloaded for the time of the
    `with`.
    """
    local = local_path(found.uri)
    if local is not None:
        if not local.is_dir():
            raise TamperedModelError(
                f"the files of version {found.version} of {found.workflow!r} are gone from {local}: restore them"
            )
        yield local
        return
    with tempfile.TemporaryDirectory(prefix="updraft-model-") as folder:
        action = f"download version {found.version} of model {found.workflow!r}"
        try:
            with store_errors(action):
                path = registry.client.download_artifacts(found.run_id, FILES, folder)
        except ModelVersionNotFoundError:
            # MLflow says so of a store of files that is down as well; the version itself was just found.
            raise RegistryUnavailableError(
                f"cannot {action}: the place of its files does not answer, or lacks them: is it up?"
            ) from None
        yield Path(path)


def version_of_alias(registry: Registry, workflow_name: str, alias: str) -> str | None:
    """Version that an alias names, or None if it names none."""
    try:
        with store_errors(f"read the aliases of model {check_name(workflow_name)!r}"):
            version = registry.client.get_registered_model(workflow_name).aliases.get(alias)
    except ModelVersionNotFoundError:
        return None
    return None if version is None else str(version)


def set_alias(registry: Registry, workflow_name: str, alias: str, version: str | None) -> None:
    """
    Let an alias name a version, or with None no version. It checks nothing else: see `promotion.set_challenger` and
    `promotion.promote`.

    Raises
    ------
    ModelVersionNotFoundError
        If there is no such version.

    """
    check_name(workflow_name)
    if not _ALIAS.fullmatch(alias):
        raise RegistryError(f"alias {alias[:60]!r} is malformed: use lower-case letters, digits and _")
    if version is not None:
        check_version(workflow_name, version)
    with store_errors(f"set alias {alias!r} of model {workflow_name!r}"):
        if version is None:
            registry.client.delete_registered_model_alias(workflow_name, alias)
        else:
            registry.client.set_registered_model_alias(workflow_name, alias, version)


def _version_of(found: Any) -> RegisteredVersion:
    tags = found.tags or {}
    if not all(tags.get(name) for name in (TRAINING_TAG, DIGEST_TAG, AS_OF_TAG)):
        raise TamperedModelError(
            f"version {found.version} of {found.name!r} lacks Updraft's tags: register it by a training"
        )
    return RegisteredVersion(
        workflow=found.name,
        version=str(found.version),
        model_digest=tags[DIGEST_TAG],
        uri=found.source,
        as_of=tags[AS_OF_TAG],
        training_id=tags[TRAINING_TAG],
        run_id=found.run_id,
        is_backfilled=tags.get(BACKFILLED_TAG) == "true",
    )


def local_path(uri: str) -> Path | None:
    """Folder that an address of files names; None if they are elsewhere."""
    parsed = urlparse(uri)
    if parsed.scheme == "file":
        return Path(unquote(parsed.path))
    return Path(uri) if not parsed.scheme else None
