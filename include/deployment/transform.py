"""
Batch transform: predictions for files on S3, by a SageMaker job that starts a version's container, and ends it.

The job's name follows from the version and the places, so that a task that is run again finds its job instead of paying
for a second.
"""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from include.deployment.aws import AwsAccess, aws_errors, code_of
from include.deployment.release import Release
from include.deployment.sagemaker_resources import Resources
from include.errors import DeploymentError, EndpointUnavailableError
from include.lake.crash_points import crash_point
from include.workflow.deployment import SageMakerEndpoint

_S3_URI = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]/\S+")
_MAX_PAYLOAD_MB = 1  # the serving program takes bodies of 1 MiB and 1,000 rows
ContentType = Literal["application/json", "text/csv"]


@dataclass(frozen=True, kw_only=True)
class TransformReport:
    """A finished job, and where its answers lie: one `<file>.out` for each file."""

    job_name: str
    output_uri: str


def transform_batch(  # noqa: PLR0913 - what, from where, to where
    declared: SageMakerEndpoint,
    access: AwsAccess,
    release: Release,
    *,
    input_uri: str,
    output_uri: str,
    content_type: ContentType = "application/json",
    poll_seconds: float = 10.0,
) -> TransformReport:
    """
    Let a version answer every file below a prefix, and wait for it.

    Parameters
    ----------
    declared, access
        Where and as whom.
    release : Release
        The version.
    input_uri, output_uri : str
        `s3://bucket/prefix` of files that are bodies of `POST /invocations`: at most 1 MiB and 1,000 rows each; and of
        the answers.
    content_type : str
        What the files hold.
    poll_seconds : float
        How often the job is asked for its state.

    Raises
    ------
    DeploymentError
        If an address is malformed, or the job fails: the message has SageMaker's reason.
    EndpointUnavailableError
        If the job is not over within `declared.ready_timeout`: run again, it goes on.

    """
    for name, uri in (("input_uri", input_uri), ("output_uri", output_uri)):
        if not _S3_URI.fullmatch(uri):
            raise DeploymentError(f"{name}={uri[:200]!r} is no address on S3: write s3://bucket/prefix")
    resources = Resources(declared=declared, access=access, poll_seconds=poll_seconds)
    model = resources.ensure_model(release)
    digest = hashlib.sha256(json.dumps([model, input_uri, output_uri, content_type]).encode()).hexdigest()
    name = f"{declared.endpoint_name}-v{release.version}-{digest[:12]}"
    client = resources.client("sagemaker")

    def describe() -> Mapping[str, Any]:
        found: Mapping[str, Any] = client.describe_transform_job(TransformJobName=name)
        return found

    source = {"S3DataSource": {"S3DataType": "S3Prefix", "S3Uri": input_uri}}
    job = {
        "TransformJobName": name,
        "ModelName": model,
        "MaxPayloadInMB": _MAX_PAYLOAD_MB,
        "TransformInput": {"DataSource": source, "ContentType": content_type, "SplitType": "None"},
        "TransformOutput": {"S3OutputPath": output_uri, "Accept": "application/json", "AssembleWith": "None"},
        "TransformResources": {"InstanceType": declared.instance_type, "InstanceCount": declared.instance_count},
    }
    crash_point("transform.before_job")
    _create(lambda: client.create_transform_job(**job), name)
    crash_point("transform.after_job")
    return _wait(
        describe, name, output_uri=output_uri, seconds=declared.ready_timeout.total_seconds(), poll_seconds=poll_seconds
    )


def _create(create: Callable[[], Any], name: str) -> None:
    from botocore.exceptions import ClientError

    with aws_errors(f"create transform job {name}"):
        try:
            create()
        except ClientError as error:
            # An earlier try has made it.
            if code_of(error) != "ResourceInUse":
                raise


def _wait(
    describe: Callable[[], Mapping[str, Any]], name: str, *, output_uri: str, seconds: float, poll_seconds: float
) -> TransformReport:
    give_up_at = time.monotonic() + seconds
    while True:
        with aws_errors(f"describe transform job {name}"):
            found = describe()
        if found["TransformJobStatus"] == "Completed":
            return TransformReport(job_name=name, output_uri=output_uri)
        if found["TransformJobStatus"] in ("Failed", "Stopped"):
            reason = found.get("FailureReason") or "no reason given"
            raise DeploymentError(
                f"transform job {name} is {found['TransformJobStatus']}: {reason}. SageMaker gives a name once: mend "
                "the cause, and name another output_uri"
            )
        if time.monotonic() >= give_up_at:
            raise EndpointUnavailableError(
                f"transform job {name} is still {found['TransformJobStatus']} after {seconds:.0f} s: run again"
            )
        time.sleep(poll_seconds)
