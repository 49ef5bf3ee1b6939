"""Batch transform on the emulated SageMaker: files in, answers out, one job however often it is asked for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from include.deployment.aws import AwsAccess
from include.deployment.release import Release, open_release
from include.deployment.transform import TransformReport, transform_batch
from include.errors import DeploymentError
from include.registry.promotion import promote
from include.workflow import Deployment
from tests.deployment.sites import DECLARED, POLL_SECONDS, CloudSite, cloud_site
from tests.registry.house import House
from tests.seaweedfs import BUCKET, S3Server
from tests.serving.endpoints import PARCEL
from updraft.operators.transform import TransformOperator

pytestmark = pytest.mark.claim("deployment")


@pytest.fixture
def site(house: House, s3: S3Server, tmp_path: Path) -> Iterator[CloudSite]:
    with cloud_site(house, s3, tmp_path / "sagemaker") as found:
        yield found


def transform(site: CloudSite, release: Release, source: str) -> TransformReport:
    access = AwsAccess(access_key=site.place["key"], secret_key=site.place["secret"], endpoint_urls=site.place["urls"])
    places: dict[str, Any] = {"input_uri": source, "output_uri": f"s3://{BUCKET}/answers/{release.version}"}
    return transform_batch(DECLARED, access, release, poll_seconds=POLL_SECONDS, **places)


def test_files_are_answered_once(site: CloudSite, house: House) -> None:
    for name in ("a", "b"):
        site.api.s3.put_object(Bucket=BUCKET, Key=f"batch/{name}.json", Body=json.dumps([PARCEL, PARCEL]))
    with open_release(house.registry, "parcels", house.register("monday3")) as release:
        report = transform(site, release, f"s3://{BUCKET}/batch")
        assert transform(site, release, f"s3://{BUCKET}/batch") == report
    assert site.api.count("CreateTransformJob") == 1
    for name in ("a", "b"):
        answer = json.loads(site.api.s3.get_object(Bucket=BUCKET, Key=f"answers/1/{name}.json.out")["Body"].read())
        assert (answer["model_version"], len(answer["predictions"])) == ("1", 2)


def test_a_file_that_is_no_request_fails_the_job_and_says_why(site: CloudSite, house: House) -> None:
    site.api.s3.put_object(Bucket=BUCKET, Key="bad/a.json", Body=b"{")
    with (
        open_release(house.registry, "parcels", house.register("monday3")) as release,
        pytest.raises(DeploymentError, match=r"is Failed: ClientError: 400 .*not JSON.*name another output_uri"),
    ):
        transform(site, release, f"s3://{BUCKET}/bad")


def test_the_task_of_the_dag_asks_the_champion(site: CloudSite, house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the declaration's connection; the second try of the task finds its job, and a version that is named is it."""
    monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
    services = {name: {"endpoint_url": url} for name, url in site.place["urls"].items()}
    connection = {"conn_type": "aws", "login": site.place["key"], "password": site.place["secret"]}
    monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps({**connection, "extra": {"service_config": services}}))
    site.api.s3.put_object(Bucket=BUCKET, Key="nightly/a.json", Body=json.dumps([PARCEL]))
    version = house.register("monday3")
    house.decide(version, None)
    promote(house.workflow, version, lake=house.lake, registry=house.registry, target="sagemaker", decided_by="test")
    deployment = Deployment(targets=(DECLARED.model_copy(update={"conn_id": "cloud"}),))
    operator = TransformOperator(
        task_id="transform", workflows=[house.workflow.model_copy(update={"deployment": deployment})]
    )

    def run(**changes: Any) -> dict[str, Any]:
        places = {"input_uri": f"s3://{BUCKET}/nightly", "output_uri": f"s3://{BUCKET}/answered"}
        form = {"workflow": "parcels", "model_version": None, "content_type": "application/json", **places, **changes}
        return operator.execute(
            {"params": form, "dag_run": SimpleNamespace(conf={}), "dag": SimpleNamespace(params=form)}
        )

    first = run()
    assert (first["version"], first["output_uri"]) == ("1", f"s3://{BUCKET}/answered")
    assert run() == run(model_version="1") == first
    assert site.api.count("CreateTransformJob") == 1
    answer = json.loads(site.api.s3.get_object(Bucket=BUCKET, Key="answered/a.json.out")["Body"].read())
    assert answer["model_version"] == "1"
    with pytest.raises(DeploymentError, match=r"'others' declares no SageMakerEndpoint .* these have one: parcels"):
        run(workflow="others")


def test_an_address_elsewhere_is_refused(site: CloudSite, house: House) -> None:
    with (
        open_release(house.registry, "parcels", house.register("monday3")) as release,
        pytest.raises(DeploymentError, match="input_uri='/tmp/x' is no address on S3"),
    ):
        transform(site, release, "/tmp/x")
