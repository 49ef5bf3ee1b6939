"""The registry's store: what it is, and what happens when it is down."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.exc import OperationalError

from embedded.postgres import PostgresServer, create_database
from include.errors import (
    ModelVersionNotFoundError,
    RegistryError,
    RegistryUnavailableError,
    SettingsError,
    TamperedModelError,
)
from include.registry import load_version, open_registry, register_version, set_alias, version_of_alias
from include.registry.store import store_errors
from include.settings import read_settings
from tests.registry.fixtures import Template
from tests.registry.house import House
from tests.seaweedfs import BUCKET, running_s3


@pytest.fixture
def closed_port() -> Iterator[int]:
    """A port that refuses connections: bound, but nobody listens."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield int(bound.getsockname()[1])


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg2", "http"])
def test_a_store_that_is_down_is_unavailable(tmp_path: Path, closed_port: int, scheme: str) -> None:
    uri = f"{scheme}://reader:hunter2@127.0.0.1:{closed_port}/mlflow"
    with pytest.raises(RegistryUnavailableError, match="does not answer") as caught:
        open_registry(read_settings({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_REGISTRY_URI": uri}))
    assert caught.value.is_retryable
    assert "hunter2" not in str(caught.value)


def test_a_folder_that_cannot_be_made_is_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    settings = read_settings(
        {"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_REGISTRY_URI": f"sqlite:///{tmp_path}/file/mlflow.db"}
    )
    with pytest.raises(RegistryUnavailableError, match="cannot be made"):
        open_registry(settings)


@pytest.mark.parametrize("uri", ["mysql://host/db", "mlflow.db", "file:///tmp/mlruns"])
def test_another_kind_of_store_is_refused(tmp_path: Path, uri: str) -> None:
    with pytest.raises(SettingsError, match="UPDRAFT_REGISTRY_URI starts with"):
        open_registry(read_settings({"UPDRAFT_HOME": str(tmp_path), "UPDRAFT_REGISTRY_URI": uri}))


@pytest.mark.parametrize(
    ("raised", "expected"),
    [
        ("INTERNAL_ERROR", RegistryUnavailableError),  # as MLflow tells a broken connection
        ("BAD_REQUEST", RegistryError),
        (OperationalError("SELECT secret", {}, Exception("locked")), RegistryUnavailableError),
        (ConnectionResetError(), RegistryUnavailableError),
        (PermissionError(13, "denied"), RegistryUnavailableError),
    ],
)
def test_errors_of_the_store_are_ours(raised: Exception | str, expected: type[RegistryError]) -> None:
    from mlflow.exceptions import ErrorCode, MlflowException  # after include.registry, which quiets it

    error = MlflowException("secret", error_code=ErrorCode.Value(raised)) if isinstance(raised, str) else raised
    with pytest.raises(RegistryError) as caught, store_errors("read"):
        raise error
    assert type(caught.value) is expected
    assert "secret" not in str(caught.value)


def test_what_is_absent_is_not_found(house: House) -> None:
    with pytest.raises(ModelVersionNotFoundError), store_errors("read"):
        house.registry.client.get_registered_model("nothing")


def test_a_database_that_goes_away_is_unavailable(house: House) -> None:
    house.register("monday3")
    database = house.settings.home / "mlflow.db"
    database.write_bytes(b"this was a database")
    with pytest.raises(RegistryError):
        version_of_alias(house.registry, "parcels", "champion")


def test_mlflow_sends_no_telemetry_and_draws_no_bars(house: House) -> None:
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert os.environ["MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR"] == "false"


def test_the_store_may_be_a_postgresql(
    house: House, template: Template, postgres: PostgresServer, tmp_path: Path
) -> None:
    """As the demo has it: MLflow's tables in PostgreSQL."""
    create_database(postgres, "registry_test")
    settings = read_settings(
        {"UPDRAFT_HOME": str(tmp_path / "pg"), "UPDRAFT_REGISTRY_URI": postgres.uri("registry_test")}
    )
    registry = open_registry(settings)
    folder = template.home / "packages" / "monday3"
    for _ in range(2):
        found = register_version(
            registry, house.workflow, folder, training_id="monday3", metrics={"a": 1}, params={"b": 2}
        )
    set_alias(registry, "parcels", "champion", found.version)
    assert (found.version, version_of_alias(registry, "parcels", "champion")) == ("1", "1")
    assert load_version(registry, "parcels", "1").manifest.training_id == "monday3"


@pytest.mark.claim("s3")
def test_model_files_may_lie_on_s3(
    house: House, template: Template, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloaded for the time of loading, verified there, and refused when tampered with."""
    folder = template.home / "packages" / "monday3"
    with running_s3(tmp_path / "s3") as server:
        environment = {
            **server.environment("x"),
            "UPDRAFT_HOME": str(house.settings.home),
            "UPDRAFT_ARTIFACTS_URI": f"s3://{BUCKET}/models",
        }
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            monkeypatch.setenv(name, environment[name])
        monkeypatch.setenv("AWS_MAX_ATTEMPTS", "1")
        monkeypatch.delenv("MLFLOW_S3_ENDPOINT_URL", raising=False)
        registry = open_registry(read_settings(environment))
        version = register_version(registry, house.workflow, folder, training_id="monday3", metrics={}, params={})
        assert version.uri.startswith(f"s3://{BUCKET}/models/parcels/")
        assert load_version(registry, "parcels", version.version).manifest.training_id == "monday3"
        registry.client.log_text(version.run_id, "{}", "model/golden.json")
        with pytest.raises(TamperedModelError):
            load_version(registry, "parcels", version.version)
    with pytest.raises(RegistryUnavailableError):
        load_version(registry, "parcels", version.version)
    monkeypatch.delenv("MLFLOW_S3_ENDPOINT_URL")
