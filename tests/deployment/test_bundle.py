"""The bundle: bytes that follow from the digest alone, uploaded once, by whoever is first."""

from __future__ import annotations

import io
import json
import shutil
import tarfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from include.deployment.aws import AwsAccess
from include.deployment.bundle import bundle_model, put_bundle
from include.deployment.release import Release, open_release
from include.errors import DeploymentError, EndpointUnavailableError, TamperedModelError
from include.modeling.model import load_model
from tests.containers import unpack_bundle
from tests.registry.house import House
from tests.seaweedfs import BUCKET, S3Server


@pytest.fixture
def release(house: House) -> Iterator[Release]:
    with open_release(house.registry, "parcels", house.register("monday3")) as found:
        yield found


@pytest.fixture
def client(s3: S3Server) -> Any:
    access = AwsAccess(access_key=s3.access_key, secret_key=s3.secret_key, endpoint_urls={"*": s3.endpoint_url})
    return access.client("s3", "us-east-1")


def test_the_same_digest_gives_the_same_bytes(release: Release, tmp_path: Path) -> None:
    """
    Another training of the same data differs in its ids, its folder and its times, and in nothing that
    is bundled.
    """
    first = bundle_model(release)
    again = tmp_path / "again"
    shutil.copytree(release.folder, again)
    manifest = json.loads((again / "manifest.json").read_text())
    (again / "manifest.json").write_text(
        json.dumps({**manifest, "training_id": "other", "created_by_run": "another run"})
    )
    for path in again.iterdir():
        path.touch()
    assert bundle_model(replace(release, folder=again)) == first
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert archive.getnames() == ["features.py", "golden.json", "manifest.json", "model.skops"]
    unpack_bundle(first, tmp_path / "unpacked")
    assert load_model(tmp_path / "unpacked", expected_digest=release.model_digest).manifest.workflow == "parcels"


def test_what_was_changed_is_not_bundled(release: Release, tmp_path: Path) -> None:
    changed = tmp_path / "changed"
    shutil.copytree(release.folder, changed)
    (changed / "features.py").write_text("import os\n")
    with pytest.raises(TamperedModelError, match=r"features\.py of version 1 was changed"):
        bundle_model(replace(release, folder=changed))


def test_a_bundle_is_written_once_whoever_is_first(client: Any) -> None:
    with ThreadPoolExecutor(8) as pool:
        put = [pool.submit(put_bundle, client, b"bundle", bucket=BUCKET, key="race/model.tar.gz") for _ in range(8)]
        assert {future.result() for future in put} == {f"s3://{BUCKET}/race/model.tar.gz"}
    assert client.get_object(Bucket=BUCKET, Key="race/model.tar.gz")["Body"].read() == b"bundle"


def test_another_file_in_its_place_is_no_bundle(client: Any) -> None:
    put_bundle(client, b"theirs", bucket=BUCKET, key="taken/model.tar.gz")
    with pytest.raises(TamperedModelError, match="is not the bundle of this model"):
        put_bundle(client, b"ours", bucket=BUCKET, key="taken/model.tar.gz")
    assert client.get_object(Bucket=BUCKET, Key="taken/model.tar.gz")["Body"].read() == b"theirs"


def test_a_store_that_refuses_or_is_away_is_told_without_keys(client: Any, s3: S3Server) -> None:
    wrong = AwsAccess(access_key=s3.access_key, secret_key="hunter2-wrong", endpoint_urls={"*": s3.endpoint_url})
    with pytest.raises(DeploymentError, match=r"AWS does not take the bundle .*SignatureDoesNotMatch") as caught:
        put_bundle(wrong.client("s3", "us-east-1"), b"x", bucket=BUCKET, key="x")
    assert not caught.value.is_retryable
    assert "hunter2" not in f"{caught.value} {wrong!r}"
    away = replace(wrong, endpoint_urls={"*": "http://127.0.0.1:9"})
    with pytest.raises(EndpointUnavailableError, match="is it reachable"):
        put_bundle(away.client("s3", "us-east-1"), b"x", bucket=BUCKET, key="x")
