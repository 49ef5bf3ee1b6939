"""The connection to MLflow's store: a database URI spoken to directly, or a server's address."""

from __future__ import annotations

import logging
import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from include.errors import ModelVersionNotFoundError, RegistryError, RegistryUnavailableError, SettingsError
from include.settings import Settings, read_settings

if TYPE_CHECKING:
    from mlflow import MlflowClient

_MODEL_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_VERSION = re.compile(r"[1-9][0-9]{0,8}")
_CONNECT_SECONDS = 5
_TRANSIENT = {"TEMPORARILY_UNAVAILABLE", "REQUEST_LIMIT_EXCEEDED", "INTERNAL_ERROR", "DEADLINE_EXCEEDED"}
_ABSENT = {"RESOURCE_DOES_NOT_EXIST"}
# MLflow reads these when it is imported, which is not before this module is. A value that the environment has already
# is left alone.
_QUIET = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "CRITICAL",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "GIT_PYTHON_REFRESH": "quiet",
}
for _name, _value in _QUIET.items():
    os.environ.setdefault(_name, _value)


@dataclass(frozen=True, kw_only=True)
class Registry:
    """An open registry: MLflow's client and where new versions' files go. Not for another process: open one there."""

    client: MlflowClient
    artifacts_uri: str


def open_registry(settings: Settings | None = None) -> Registry:
    """
    Open the registry that the settings name; the first call on an empty database creates MLflow's tables.

    Raises
    ------
    SettingsError
        If `UPDRAFT_REGISTRY_URI` is neither a database URI nor an http address.
    RegistryUnavailableError
        If the store does not answer.

    """
    settings = read_settings() if settings is None else settings
    uri = _driver_uri(settings.registry_uri)
    if endpoint := settings.storage_options.get("AWS_ENDPOINT_URL"):
        # MLflow's own name for the S3-compatible server that the settings name.
        os.environ.setdefault("MLFLOW_S3_ENDPOINT_URL", endpoint)
    _check_reachable(uri)
    with warnings.catch_warnings(), store_errors("open the registry"):
        # MLflow maps its tables with loaders that SQLAlchemy 2.1 deprecates.
        warnings.simplefilter("ignore")
        from mlflow import MlflowClient

        # Alembic tells each of the migrations that fill an empty database.
        logging.getLogger("alembic").setLevel(logging.WARNING)
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    return Registry(client=client, artifacts_uri=settings.artifacts_uri)


@contextmanager
def store_errors(action: str) -> Iterator[None]:
    """
    Turn what MLflow, SQLAlchemy and the file system raise into this project's errors.

    Raises
    ------
    RegistryUnavailableError
        If the store or the place of the files does not answer.
    ModelVersionNotFoundError
        If it answers that there is no such thing.
    RegistryError
        If it refuses.

    """
    from mlflow.exceptions import MlflowException
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except MlflowException as error:
        # Not the message: it may quote a connection string or rows.
        code = str(error.error_code)
        if code in _ABSENT:
            raise ModelVersionNotFoundError(f"cannot {action}: the registry has no such thing ({code})") from None
        if code in _TRANSIENT:
            raise RegistryUnavailableError(
                f"cannot {action}: the registry does not answer ({code}): is it up?"
            ) from error
        raise RegistryError(f"cannot {action}: the registry refuses it ({code})") from error
    except (SQLAlchemyError, ConnectionError) as error:
        raise RegistryUnavailableError(
            f"cannot {action}: the registry does not answer ({type(error).__name__}): is it up?"
        ) from None
    except OSError as error:
        reason = f"{type(error).__name__}: {error.strerror}"
        raise RegistryUnavailableError(
            f"cannot {action}: the place of the model files does not answer ({reason})"
        ) from error


def check_name(workflow_name: str) -> str:
    """
    Pass a workflow's name, and nothing else, on to the registry (MLflow itself accepts any text, NUL included).

    Raises
    ------
    RegistryError
        If it is no workflow's name.

    """
    if not isinstance(workflow_name, str) or not _MODEL_NAME.fullmatch(workflow_name):
        raise RegistryError(
            f"{str(workflow_name)[:60]!r} is no model name: give the workflow's name, like 'flight_delays'"
        )
    return workflow_name


def check_version(workflow_name: str, version: str) -> str:
    """
    Pass a version number on, as text.

    Raises
    ------
    ModelVersionNotFoundError
        If it is no positive number.

    """
    if not isinstance(version, str) or not _VERSION.fullmatch(version):
        raise ModelVersionNotFoundError(
            f"model {workflow_name!r} has no version {str(version)[:60]!r}: versions are numbers, like '3'"
        )
    return version


def _driver_uri(uri: str) -> str:
    """SQLAlchemy's own default driver for PostgreSQL changed with 2.1: name the one that is installed."""
    scheme, separator, rest = uri.partition("://")
    if scheme in {"postgres", "postgresql"}:
        return f"postgresql+psycopg2://{rest}"
    if not separator or scheme not in {"sqlite", "postgresql+psycopg2", "http", "https"}:
        raise SettingsError(
            f"UPDRAFT_REGISTRY_URI starts with {scheme[:20]!r}: write sqlite:////path.db, postgresql://… or http://host:port"
        )
    return uri


def _check_reachable(uri: str) -> None:
    """Ask once, for MLflow itself goes on asking for minutes: retries belong to the caller."""
    if uri.startswith("sqlite"):
        path = Path(uri.removeprefix("sqlite:///"))
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise RegistryUnavailableError(
                f"the registry's folder {path.parent} cannot be made ({error.strerror})"
            ) from None
    elif uri.startswith("http"):
        _ping_server(uri)
    else:
        _ping_database(uri)


def _ping_server(uri: str) -> None:
    import requests

    try:
        requests.get(f"{uri.rstrip('/')}/health", timeout=_CONNECT_SECONDS).raise_for_status()
    except requests.RequestException as error:
        raise RegistryUnavailableError(
            f"the MLflow server does not answer ({type(error).__name__}): is it up?"
        ) from None


def _ping_database(uri: str) -> None:
    from sqlalchemy import NullPool, create_engine
    from sqlalchemy.exc import SQLAlchemyError

    try:
        create_engine(uri, poolclass=NullPool, connect_args={"connect_timeout": _CONNECT_SECONDS}).connect().close()
    except SQLAlchemyError as error:
        raise RegistryUnavailableError(
            f"the registry's database does not answer ({type(error).__name__}): is it up?"
        ) from None
