"""
What a deployment makes on SageMaker and CloudWatch, each created if absent and compared if there.

| what | its name |
|---|---|
| endpoint that users ask | the declared `endpoint_name` |
| model, endpoint configuration, and the endpoint of the smoke test | `<endpoint_name>-v<version>-<12 of a digest>` |
| alarms of a canary | `<endpoint_name>-updraft-errors`, `-latency`, `-answers` |

The digest is taken of the model's digest and of all that is declared, so that a name always means the same thing:
whoever finds one in its place goes on with it, and a killed task that is run again makes nothing twice.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from include.deployment.aws import AwsAccess, aws_errors, code_of, reason_of
from include.deployment.bundle import BUNDLE_FILE, bundle_model, put_bundle
from include.deployment.release import Release
from include.errors import DeploymentError, EndpointUnavailableError
from include.lake.crash_points import crash_point
from include.workflow.deployment import SageMakerEndpoint, version_pattern

# Blue/green deployments ask that old and new configuration name their variant alike.
VARIANT = "champion"
ALARMS = ("errors", "latency", "answers")
BROKEN = frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"})
_ABSENT = ("could not find", "does not exist", "not found")
_EXISTS = ("already existing", "already exist")


@dataclass(frozen=True, kw_only=True)
class Resources:
    """One declared endpoint's resources."""

    declared: SageMakerEndpoint
    access: AwsAccess = field(repr=False)
    poll_seconds: float = 5.0
    _clients: dict[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def client(self, service: str) -> Any:
        """A boto3 client in the declared region; each is made once, for that takes a tenth of a second."""
        if service not in self._clients:
            self._clients[service] = self.access.client(service, self.declared.region)
        return self._clients[service]

    def key_of(self, release: Release) -> str:
        """Where a version's bundle lies in the bucket."""
        return f"{self.declared.prefix}/{release.workflow}/{release.model_digest}/{BUNDLE_FILE}"

    def name_of(self, release: Release) -> str:
        """Name of a version's model, configuration and staging endpoint."""
        declared = self.declared
        parts = [release.model_digest, declared.image_uri, declared.role_arn, declared.bucket, self.key_of(release)]
        parts += [declared.instance_type, str(declared.instance_count)]
        digest = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
        return f"{declared.endpoint_name}-v{release.version}-{digest[:12]}"

    def ensure_model(self, release: Release) -> str:
        """Upload the bundle and create the model, where they are absent; the model's name."""
        bundle = bundle_model(release)
        uri = put_bundle(self.client("s3"), bundle, bucket=self.declared.bucket, key=self.key_of(release))
        crash_point("sagemaker.before_model")
        name = self.name_of(release)
        container = {
            "Image": self.declared.image_uri,
            "ModelDataUrl": uri,
            "Environment": {"UPDRAFT_MODEL_DIGEST": release.model_digest, "UPDRAFT_MODEL_VERSION": release.version},
        }
        client = self.client("sagemaker")
        found = _ensure(
            f"create model {name}",
            lambda: client.describe_model(ModelName=name),
            lambda: client.create_model(
                ModelName=name,
                PrimaryContainer=container,
                ExecutionRoleArn=self.declared.role_arn,
                EnableNetworkIsolation=True,  # the serving program needs no network: what SageMaker unpacked is all
                Tags=_tags(release),
            ),
        )
        same = {key: found.get("PrimaryContainer", {}).get(key) for key in container}
        if same != container or found.get("ExecutionRoleArn") != self.declared.role_arn:
            raise DeploymentError(
                f"SageMaker's model {name} is not what Updraft makes under this name: remove it and deploy again"
            )
        return name

    def ensure_config(self, release: Release) -> str:
        """Create the configuration, where it is absent; its name. The model must be there."""
        crash_point("sagemaker.before_config")
        name, declared, client = self.name_of(release), self.declared, self.client("sagemaker")
        variant = {
            "VariantName": VARIANT,
            "ModelName": name,
            "InstanceType": declared.instance_type,
            "InitialInstanceCount": declared.instance_count,
        }
        found = _ensure(
            f"create endpoint configuration {name}",
            lambda: client.describe_endpoint_config(EndpointConfigName=name),
            lambda: client.create_endpoint_config(
                EndpointConfigName=name,
                ProductionVariants=[{**variant, "InitialVariantWeight": 1.0}],
                Tags=_tags(release),
            ),
        )
        variants = [{key: found_variant.get(key) for key in variant} for found_variant in found["ProductionVariants"]]
        if variants != [variant]:
            raise DeploymentError(
                f"SageMaker's endpoint configuration {name} is not what Updraft makes: remove it and deploy again"
            )
        return name

    def describe(self, endpoint: str) -> Mapping[str, Any] | None:
        """An endpoint as SageMaker describes it; None, if there is none."""
        client = self.client("sagemaker")
        return _describe(f"describe endpoint {endpoint}", lambda: client.describe_endpoint(EndpointName=endpoint))

    def create_endpoint(self, endpoint: str, config: str) -> None:
        """Create an endpoint, unless another try has."""
        client = self.client("sagemaker")
        _ensure(
            f"create endpoint {endpoint}",
            lambda: client.describe_endpoint(EndpointName=endpoint),
            lambda: client.create_endpoint(EndpointName=endpoint, EndpointConfigName=config),
        )

    def wait(
        self, endpoint: str, *, seconds: float, on_poll: Callable[[], None] | None = None
    ) -> Mapping[str, Any] | None:
        """
        Wait until an endpoint is no longer about to change; None, if it is gone then.

        Raises
        ------
        EndpointUnavailableError
            If that takes longer than `seconds`: another try goes on waiting.

        """
        give_up_at = time.monotonic() + seconds
        while True:
            found = self.describe(endpoint)
            if found is None or found["EndpointStatus"] == "InService" or found["EndpointStatus"] in BROKEN:
                return found
            if time.monotonic() >= give_up_at:
                raise EndpointUnavailableError(
                    f"SageMaker's endpoint {endpoint} is still {found['EndpointStatus']} after {seconds:.0f} s: look "
                    "at its events, try again"
                )
            if on_poll is not None:
                on_poll()
            time.sleep(self.poll_seconds)

    def remove_others(self, *, keep: str | None) -> None:
        """Remove staging endpoints, configurations and models of all versions but one, and the canary's alarms."""
        client = self.client("sagemaker")
        for name in self._names("list_endpoints", "Endpoints", "EndpointName"):
            # One that is being created can't be deleted yet.
            self.wait(name, seconds=self.declared.ready_timeout.total_seconds())
            _delete(f"delete endpoint {name}", partial(client.delete_endpoint, EndpointName=name))
            self.wait(name, seconds=self.declared.ready_timeout.total_seconds())
            crash_point("sagemaker.in_removal")
        for name in self._names("list_endpoint_configs", "EndpointConfigs", "EndpointConfigName"):
            if name != keep:
                _delete(f"delete configuration {name}", partial(client.delete_endpoint_config, EndpointConfigName=name))
        for name in self._names("list_models", "Models", "ModelName"):
            if name != keep:
                _delete(f"delete model {name}", partial(client.delete_model, ModelName=name))
        with aws_errors("delete alarms"):
            self.client("cloudwatch").delete_alarms(AlarmNames=[self.alarm(which) for which in ALARMS])

    def alarm(self, which: str) -> str:
        """Name of an alarm."""
        return f"{self.declared.endpoint_name}-updraft-{which}"

    def ensure_alarms(self) -> list[str]:
        """
        Create the alarms that roll a canary back: errors, latency, and one that the deployment itself trips; their
        names.
        """
        cloudwatch = self.client("cloudwatch")
        dimensions = [
            {"Name": "EndpointName", "Value": self.declared.endpoint_name},
            {"Name": "VariantName", "Value": VARIANT},
        ]
        # ModelLatency is in microseconds.
        latency = {
            "MetricName": "ModelLatency",
            "Statistic": "Average",
            "Threshold": self.declared.max_latency_ms * 1000.0,
        }
        metrics: dict[str, dict[str, Any]] = {
            "errors": {
                "Namespace": "AWS/SageMaker",
                "MetricName": "Invocation5XXErrors",
                "Statistic": "Sum",
                "Threshold": 0.0,
            },
            "latency": {"Namespace": "AWS/SageMaker", **latency},
            "answers": {
                "Namespace": "Updraft",
                "MetricName": "UnexpectedAnswers",
                "Statistic": "Sum",
                "Threshold": 0.0,
            },
        }
        with aws_errors("create the canary's alarms"):
            for which in ALARMS:
                cloudwatch.put_metric_alarm(
                    AlarmName=self.alarm(which),
                    Dimensions=dimensions,
                    Period=60,
                    EvaluationPeriods=1,
                    ComparisonOperator="GreaterThanThreshold",
                    TreatMissingData="notBreaching",
                    **metrics[which],
                )
            cloudwatch.set_alarm_state(
                AlarmName=self.alarm("answers"), StateValue="OK", StateReason="a deployment starts"
            )
        return [self.alarm(which) for which in ALARMS]

    def trip(self, reason: str) -> None:
        """Raise the alarm that makes SageMaker roll a canary back."""
        with aws_errors("raise the canary's alarm"):
            self.client("cloudwatch").set_alarm_state(
                AlarmName=self.alarm("answers"), StateValue="ALARM", StateReason=reason[:1000]
            )

    def _names(self, operation: str, items: str, key: str) -> Iterator[str]:
        """Names of what belongs to a version of this very endpoint: SageMaker's own filter takes more."""
        pattern = version_pattern(self.declared.endpoint_name)
        with aws_errors(operation.replace("_", " ")):
            pages = (
                self.client("sagemaker")
                .get_paginator(operation)
                .paginate(NameContains=f"{self.declared.endpoint_name}-v")
            )
            names = [item[key] for page in pages for item in page[items]]
        yield from sorted(name for name in names if pattern.fullmatch(name))


def _tags(release: Release) -> list[dict[str, str]]:
    tags = {
        "updraft:workflow": release.workflow,
        "updraft:version": release.version,
        "updraft:model_digest": release.model_digest,
    }
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def _ensure(action: str, describe: Callable[[], Mapping[str, Any]], create: Callable[[], Any]) -> Mapping[str, Any]:
    from botocore.exceptions import ClientError

    found = _describe(action, describe)
    if found is not None:
        return found
    with aws_errors(action):
        try:
            create()
        except ClientError as error:
            # Two tries at once: the other was quicker.
            if not _says(error, _EXISTS):
                raise
        return describe()


def _describe(action: str, describe: Callable[[], Mapping[str, Any]]) -> Mapping[str, Any] | None:
    from botocore.exceptions import ClientError

    with aws_errors(action):
        try:
            return describe()
        except ClientError as error:
            if not _says(error, _ABSENT):
                raise
    return None


def _delete(action: str, delete: Callable[[], Any]) -> None:
    from botocore.exceptions import ClientError

    with aws_errors(action):
        try:
            delete()
        except ClientError as error:
            if not _says(error, _ABSENT):
                raise


def _says(error: Any, words: tuple[str, ...]) -> bool:
    # SageMaker has no codes of its own for "not there" and "there already": both are a ValidationException.
    reason = reason_of(error).lower()
    return code_of(error) in ("ValidationException", "ResourceNotFound", "ResourceInUse") and any(
        word in reason for word in words
    )
