"""Where a workflow's champion answers, and how a new one takes over."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from include.workflow.durations import Duration
from include.workflow.part import Part

# 63 characters are SageMaker's bound; each version appends `-v<number>-<12 of its digest>`.
ENDPOINT_NAME = r"^[a-zA-Z0-9](-?[a-zA-Z0-9]){0,35}$"
MAX_ENDPOINT_NAME = 36


class LocalEndpoint(Part):
    """A server process on this machine or another; its address is a setting unless given here."""

    kind: Literal["local"] = "local"
    url: str | None = Field(default=None, pattern=r"^https?://")


class SageMakerEndpoint(Part):
    """
    A real-time endpoint of Amazon SageMaker, which runs this project's serving program in a container.

    Nothing here is secret: keys come from the Airflow connection `conn_id`, or from boto3's own chain (environment,
    profile, role).
    """

    kind: Literal["sagemaker"] = "sagemaker"
    conn_id: str | None = Field(
        default=None, min_length=1, description="Airflow connection of type 'aws'; None: boto3's own chain"
    )
    region: str = Field(pattern=r"^[a-z]{2,4}(-[a-z]+)+-[0-9]$", description="for instance 'eu-central-1'")
    bucket: str = Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$", description="S3 bucket that model bundles go to")
    prefix: str = Field(
        default="updraft/models", pattern=r"^[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*$", description="folder in that bucket"
    )
    role_arn: str = Field(
        pattern=r"^arn:aws[a-z-]*:iam::[0-9]{12}:role/[A-Za-z0-9+=,.@_/-]+$",
        description="role that SageMaker runs the container with",
    )
    endpoint_name: str = Field(pattern=ENDPOINT_NAME, max_length=MAX_ENDPOINT_NAME)
    image_uri: str = Field(
        pattern=r"^\S+[:@]\S+$", max_length=255, description="the image of Dockerfile's target `serving`, with its tag"
    )
    instance_type: str = Field(default="ml.m5.large", pattern=r"^ml\.[a-z0-9-]+\.[a-z0-9]+$")
    instance_count: int = Field(default=1, ge=1, le=100)
    ready_timeout: Duration = Field(
        default=timedelta(minutes=30), description="how long an endpoint may take to start or to change"
    )
    max_latency_ms: float = Field(
        default=1000, gt=0, le=60_000, description="a mean model latency above it rolls a canary back"
    )
    alarms: tuple[str, ...] = Field(
        default=(), max_length=7, description="CloudWatch alarms of yours that roll a canary back as well"
    )

    @field_validator("endpoint_name")
    @classmethod
    def _check_endpoint_name(cls, value: str) -> str:
        if re.search(r"-v[0-9]+-[0-9a-f]{12}$", value):
            raise ValueError("looks like the name of one version, of which Updraft removes old ones: choose another")
        return value

    @field_validator("image_uri")
    @classmethod
    def _check_tag(cls, value: str) -> str:
        tag = value.rpartition("/")[2].partition("@")[0].partition(":")[2]
        if tag == "latest":
            raise ValueError("the tag 'latest' may be another image tomorrow: name a release or a digest")
        return value


class Canary(Part):
    """
    A share of requests that the new version answers before it takes over.

    The new version is watched meanwhile, and withdrawn for an error, a slow answer, a score that is no number, or
    scores that are distributed otherwise than the champion's on the same traffic.
    """

    share: float = Field(default=0.1, gt=0, le=0.5)
    requests: int = Field(
        default=200, ge=1, le=1_000_000, description="how many the new version answers before it takes over"
    )
    at_most: Duration = Field(
        default=timedelta(minutes=10), description="and how long that may take: then what was seen decides"
    )
    max_distance: float = Field(
        default=0.5,
        gt=0,
        le=1,
        description="largest distance (Kolmogorov-Smirnov) between the new scores' distribution and the champion's",
    )

    @field_validator("at_most")
    @classmethod
    def _check_at_most(cls, value: timedelta) -> timedelta:
        if not timedelta(seconds=1) <= value <= timedelta(minutes=50):
            raise ValueError(
                "the task that waits for a canary may take an hour: give between '1 minute' and '50 minutes'"
            )
        return value


Target = Annotated[LocalEndpoint | SageMakerEndpoint, Field(discriminator="kind")]


class Deployment(Part):
    """Where the champion answers."""

    targets: tuple[Target, ...] = Field(default_factory=lambda: (LocalEndpoint(),), min_length=1)
    canary: Canary | None = Field(
        default=None, description="without it a version takes over at once, after its smoke test"
    )

    @field_validator("targets", mode="before")
    @classmethod
    def _check_targets(cls, value: Any) -> Any:
        for target in value if isinstance(value, tuple | list) else ():
            # A dict is how a declaration that was kept with a version says it.
            if not isinstance(target, LocalEndpoint | SageMakerEndpoint | dict):
                raise ValueError("a target is declared by its class: LocalEndpoint() or SageMakerEndpoint(...)")
        return value

    @model_validator(mode="after")
    def _check_clouds(self) -> Deployment:
        clouds = [target for target in self.targets if isinstance(target, SageMakerEndpoint)]
        names = [(target.region, target.endpoint_name.lower()) for target in clouds]
        if len(set(names)) < len(names):
            raise ValueError(
                "targets names one SageMaker endpoint twice: each target needs an endpoint_name of its own"
            )
        for target in clouds:
            # SageMaker: "Value must be less than or equal to 50% of the variant's total instance count".
            if self.canary is not None and target.instance_count < 2:
                raise ValueError(
                    f"instance_count={target.instance_count} of endpoint {target.endpoint_name!r} can't give a canary "
                    "its share: SageMaker's canary is at most half of the instances, declare at least 2 or leave the "
                    "canary out"
                )
        return self


def version_pattern(endpoint_name: str) -> re.Pattern[str]:
    """What SageMaker's resources of the versions of one endpoint are called."""
    return re.compile(re.escape(endpoint_name) + r"-v([0-9]{1,9})-[0-9a-f]{12}")
