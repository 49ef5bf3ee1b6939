"""An Airflow connection of type aws becomes credentials; nothing of it is shown."""

from __future__ import annotations

import json
from typing import Any

import pytest

from include.errors import DeploymentError
from updraft.hooks.aws import aws_access

SECRET = "hunter2-of-the-tests"


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Set `AIRFLOW_CONN_CLOUD`, and ask the hook."""

    def ask(**connection: Any) -> Any:
        monkeypatch.setenv("AIRFLOW_CONN_CLOUD", json.dumps({"conn_type": "aws", **connection}))
        return aws_access("cloud")

    return ask


def test_keys_reach_boto3_and_no_repr(connect: Any) -> None:
    access = connect(
        login="AKIAEXAMPLE",
        password=SECRET,
        extra={"aws_session_token": SECRET, "service_config": {"s3": {"endpoint_url": "http://s3"}}},
    )
    client = access.client("s3", "eu-central-1")
    credentials = client._request_signer._credentials
    assert (credentials.access_key, credentials.secret_key, credentials.token) == ("AKIAEXAMPLE", SECRET, SECRET)
    assert (client.meta.region_name, client.meta.endpoint_url) == ("eu-central-1", "http://s3")
    assert SECRET not in repr(access)


def test_without_a_connection_boto3_looks_for_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENVIRONMENT")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    assert aws_access(None).client("s3", "us-east-1")._request_signer._credentials.access_key == "AKIAENVIRONMENT"


@pytest.mark.parametrize(
    ("connection", "told"),
    [
        (
            {"conn_type": "postgres", "password": SECRET},
            "is of type 'postgres': SageMakerEndpoint needs one of type 'aws'",
        ),
        ({"login": "AKIAEXAMPLE"}, "only one of access key"),
        (
            {"password": SECRET, "extra": {"role_arn": "arn:x"}},
            "has the extra role_arn, which Updraft does not act upon",
        ),
    ],
)
def test_a_connection_that_cannot_be_used_is_told(connect: Any, connection: dict[str, Any], told: str) -> None:
    with pytest.raises(DeploymentError, match=told) as caught:
        connect(**connection)
    assert SECRET not in str(caught.value)


def test_a_missing_connection_is_told() -> None:
    with pytest.raises(DeploymentError, match=r"no Airflow connection 'nowhere'.*AIRFLOW_CONN_NOWHERE"):
        aws_access("nowhere")
