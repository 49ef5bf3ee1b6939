"""The container program: SageMaker's contract, and a package that is verified before anything of it is loaded."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.errors import SettingsError, TamperedModelError
from include.modeling.model import manifest_digest, read_manifest
from include.serving.container import build_container_app, main
from include.serving.limits import Limits
from include.workflow import Workflow
from tests.containers import ThreadContainer
from tests.factories import parcel_rows
from tests.serving.endpoints import PARCEL
from tests.serving.models import train_package


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, parcels: Workflow) -> Path:
    folder = tmp_path_factory.mktemp("container") / "model"
    train_package(parcels, folder, table=parcel_rows(n_rows=300, seed=1), family="linear", training_id="t")
    return folder


def environment(package: Path, **changes: str) -> dict[str, str]:
    digest = manifest_digest(read_manifest(package))
    return {"UPDRAFT_MODEL_DIR": str(package), "UPDRAFT_MODEL_DIGEST": digest, "UPDRAFT_MODEL_VERSION": "7", **changes}


@pytest.fixture
def port(package: Path) -> Iterator[int]:
    container = ThreadContainer(package, environment(package))
    yield container.port
    container.stop()


def test_it_answers_as_sagemaker_asks(port: int) -> None:
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}/invocations", json.dumps(PARCEL).encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        answer = json.load(response)
    assert (answer["model_name"], answer["model_version"], len(answer["predictions"])) == ("parcels", "7", 1)
    # Nobody can change from outside what serves.
    admin = urllib.request.Request(f"http://127.0.0.1:{port}/admin/status", headers={"authorization": "Bearer x"})
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(admin, timeout=10)


def test_another_package_than_the_deployments_is_refused(package: Path) -> None:
    with pytest.raises(TamperedModelError, match="is recorded: register the model again"):
        build_container_app(environment(package, UPDRAFT_MODEL_DIGEST="0" * 64), limits=Limits())


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("UPDRAFT_MODEL_DIGEST", "", "UPDRAFT_MODEL_DIGEST='' is no digest"),
        ("UPDRAFT_MODEL_DIGEST", "abc", "UPDRAFT_MODEL_DIGEST='abc' is no digest"),
        ("UPDRAFT_MODEL_VERSION", "latest", "UPDRAFT_MODEL_VERSION='latest' is no version: the deployment sets it"),
    ],
)
def test_what_the_deployment_sets_must_be_set(package: Path, name: str, value: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        build_container_app(environment(package, **{name: value}), limits=Limits())


def test_it_does_not_start_without_a_model(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("UPDRAFT_MODEL_DIR", str(tmp_path))
    monkeypatch.setenv("UPDRAFT_MODEL_DIGEST", "0" * 64)
    monkeypatch.setenv("UPDRAFT_MODEL_VERSION", "7")
    assert main(["serve", "--host", "127.0.0.1", "--port", "1"]) == 2
