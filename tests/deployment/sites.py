"""Where the conformance suite deploys to: a real local endpoint, and the emulated SageMaker over a real S3."""

from __future__ import annotations

import contextlib
import itertools
import json
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from include.deployment.aws import AwsAccess
from include.deployment.endpoint_client import EndpointClient
from include.deployment.local import LocalTarget
from include.deployment.rollout import promote_version, shift_traffic, smoke_test, stage_version, verify_evidence
from include.deployment.sagemaker import SageMakerTarget
from include.deployment.sagemaker_resources import Resources
from include.deployment.target import CanaryReport, Target
from include.lake.ledger import PROMOTIONS, current_champion, read_ledger
from include.registry import register_version, version_of_alias
from include.workflow import Canary, Deployment, LocalEndpoint, SageMakerEndpoint, Workflow
from tests.containers import StartContainer, ThreadContainer
from tests.deployment.spoiled import sign_of, spoil
from tests.factories import parcel_rows
from tests.registry.house import House
from tests.sagemaker_api import SageMakerApi
from tests.seaweedfs import BUCKET, S3Server
from tests.serving.endpoints import ThreadEndpoint

DECLARED = SageMakerEndpoint(
    region="us-east-1",
    bucket=BUCKET,
    role_arn="arn:aws:iam::123456789012:role/updraft-serving",
    endpoint_name="parcels",
    image_uri="123456789012.dkr.ecr.us-east-1.amazonaws.com/updraft-serving:0.1.0",
    instance_count=2,
    max_latency_ms=300,
)
POLL_SECONDS = 0.02
TIME_SCALE = 0.01


@dataclass(kw_only=True)
class Site:
    """A house, one target, and somebody who asks it."""

    house: House
    workflow: Workflow
    place: Mapping[str, Any]  # what another process needs to reach the target
    target: Target = field(init=False)
    _rows: Iterator[dict[str, Any]] = field(init=False)

    def __post_init__(self) -> None:
        self.target = target_at(self.place, self.workflow)
        rows = parcel_rows(n_rows=200, seed=3).drop_columns(["is_late", "recorded_at"]).to_pylist()
        self._rows = itertools.cycle({**row, "sent_at": row["sent_at"].isoformat()} for row in rows)

    @property
    def targets(self) -> list[Target]:
        return [self.target]

    def ask(self) -> tuple[int, str | None]:
        """Ask as a user does: the status, and the version that answered."""
        raise NotImplementedError

    def hang_up(self) -> None:
        """Close this thread's connection."""

    def leftovers(self) -> Any:
        """What is there beside what serves; empty, if nothing is."""
        raise NotImplementedError

    def register(self, training: str) -> str:
        """Register a trained package, or a spoiled one (`spoiled-<kind>`)."""
        if not training.startswith("spoiled-"):
            return self.house.register(training)
        folder = self.house.settings.home / training
        spoil(self.house.packages / "monday3", folder, kind=training.removeprefix("spoiled-"))
        return register_version(
            self.house.registry, self.workflow, folder, training_id=training, metrics={}, params={}
        ).version

    def go_wrong(self, kind: str) -> None:
        """Give the sign to a spoiled package, if it waits for one."""
        sign_of(self.house.settings.home / f"spoiled-{kind}").touch()

    def wait_for_canary(self) -> None:
        """Wait until the new version answers a share."""
        raise NotImplementedError

    def stage(self, version: str) -> None:
        stage_version(self.workflow, version, registry=self.house.registry, targets=self.targets)

    def smoke(self, version: str) -> None:
        smoke_test(self.workflow, version, registry=self.house.registry, targets=self.targets)

    def shift(self, version: str) -> list[CanaryReport]:
        return shift_traffic(
            self.workflow, version, lake=self.house.lake, registry=self.house.registry, targets=self.targets
        )

    def promote(self, version: str) -> int:
        parts: dict[str, Any] = {"lake": self.house.lake, "registry": self.house.registry, "targets": self.targets}
        return promote_version(self.workflow, version, decided_by="test", **parts).epoch

    def deploy(self, version: str) -> list[CanaryReport]:
        """All steps of the Dag."""
        verify_evidence(self.workflow, version, lake=self.house.lake, registry=self.house.registry)
        self.stage(version)
        self.smoke(version)
        reports = self.shift(version)
        self.promote(version)
        return reports

    def state(self) -> tuple[str | None, str | None, str | None, int]:
        """Champion of the ledger, of the alias, of the target; and the number of promotions."""
        record = current_champion(self.house.lake, "parcels")
        alias = version_of_alias(self.house.registry, "parcels", "champion")
        n_promotions = read_ledger(self.house.lake, PROMOTIONS).num_rows
        return (record.model_version if record else None, alias, self.target.served_version(), n_promotions)


@dataclass(kw_only=True)
class LocalSite(Site):
    """A real endpoint that follows the ledger only when it is told to, so that what the deployment does is seen."""

    endpoint: ThreadEndpoint

    def ask(self) -> tuple[int, str | None]:
        reply = self.endpoint.post("/invocations", next(self._rows))
        return reply.status, reply.content.get("model_version") if isinstance(reply.content, dict) else None

    def wait_for_canary(self) -> None:
        while self.endpoint.app.endpoint.slots.canary is None:
            time.sleep(POLL_SECONDS)

    def hang_up(self) -> None:
        self.endpoint.close()

    def leftovers(self) -> Any:
        status = self.endpoint.admin("status").content
        return {key: status[key] for key in ("staged", "canary") if status[key] is not None}


@dataclass(kw_only=True)
class CloudSite(Site):
    """The emulated SageMaker."""

    api: SageMakerApi
    runtime: Any

    @property
    def resources(self) -> Resources:
        """What the target calls."""
        assert isinstance(self.target, SageMakerTarget)
        return self.target.resources

    def wait_for_canary(self) -> None:
        while self.api.endpoints["parcels"].green is None:
            time.sleep(POLL_SECONDS)

    def ask(self) -> tuple[int, str | None]:
        try:
            reply = self.runtime.invoke_endpoint(
                EndpointName="parcels", ContentType="application/json", Body=json.dumps(next(self._rows))
            )
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"]), None
        return 200, json.loads(reply["Body"].read())["model_version"]

    def leftovers(self) -> Any:
        endpoints, configs, models, alarms = self.api.names()
        serving = self.api.endpoints["parcels"].config if "parcels" in endpoints else None
        found = {
            "endpoints": [name for name in endpoints if name != "parcels"],
            "configs": [name for name in configs if name != serving],
            "models": [name for name in models if name != serving],
            "alarms": alarms,
        }
        return {key: names for key, names in found.items() if names}


def target_at(place: Mapping[str, Any], workflow: Workflow) -> Target:
    """The target of a site, from plain values: in this process or in another."""
    if place["kind"] == "local":
        return LocalTarget(client=EndpointClient(url=place["url"], token=place["token"]), poll_seconds=POLL_SECONDS)
    declared = next(target for target in workflow.deployment.targets if isinstance(target, SageMakerEndpoint))
    access = AwsAccess(access_key=place["key"], secret_key=place["secret"], endpoint_urls=place["urls"])
    return SageMakerTarget(declared, access, poll_seconds=POLL_SECONDS)


def with_deployment(workflow: Workflow, kind: str, **canary: Any) -> Workflow:
    """The workflow with one target, and a canary."""
    targets = (LocalEndpoint(),) if kind == "local" else (DECLARED,)
    terms = {"share": 0.5, "requests": 40, "at_most": timedelta(seconds=20), **canary}
    return workflow.model_copy(update={"deployment": Deployment(targets=targets, canary=Canary(**terms))})


@contextlib.contextmanager
def local_site(house: House, **canary: Any) -> Iterator[LocalSite]:
    """A site with a real endpoint in a thread."""
    with ThreadEndpoint(house.workflow, house.settings, follow_seconds=3600) as endpoint:
        place = {"kind": "local", "url": f"http://127.0.0.1:{endpoint.port}", "token": house.settings.endpoint_token}
        yield LocalSite(
            house=house, workflow=with_deployment(house.workflow, "local", **canary), place=place, endpoint=endpoint
        )


@contextlib.contextmanager
def cloud_site(
    house: House,
    s3: S3Server,
    folder: Path,
    *,
    start: StartContainer = ThreadContainer,
    time_scale: float = TIME_SCALE,
    **canary: Any,
) -> Iterator[CloudSite]:
    """A site with the emulated SageMaker, whose bundles lie under a prefix of this house's own."""
    access = AwsAccess(access_key=s3.access_key, secret_key=s3.secret_key, endpoint_urls={"*": s3.endpoint_url})
    folder.mkdir(parents=True, exist_ok=True)
    with SageMakerApi(folder, access.client("s3", "us-east-1"), start, time_scale=time_scale) as api:
        urls = {"s3": s3.endpoint_url, "*": api.url}
        workflow = with_deployment(house.workflow, "cloud", **canary)
        declared = DECLARED.model_copy(update={"prefix": f"models/{house.settings.home.name}-{time.monotonic_ns()}"})
        deployment = workflow.deployment.model_copy(update={"targets": (declared,)})
        yield CloudSite(
            house=house,
            workflow=workflow.model_copy(update={"deployment": deployment}),
            place={
                "kind": "cloud",
                "key": s3.access_key,
                "secret": s3.secret_key,
                "urls": urls,
                "prefix": declared.prefix,
            },
            api=api,
            runtime=replace(access, endpoint_urls=urls).client("sagemaker-runtime", "us-east-1"),
        )


def deploy_at(house: House, version: str, place: Mapping[str, Any]) -> None:
    """Deploy from another process than the site's."""
    workflow = with_deployment(house.workflow, place["kind"])
    if place["kind"] == "cloud":
        declared = DECLARED.model_copy(update={"prefix": place["prefix"]})
        workflow = workflow.model_copy(
            update={"deployment": workflow.deployment.model_copy(update={"targets": (declared,)})}
        )
    Site(house=house, workflow=workflow, place=place).deploy(version)


class Traffic:
    """Users who ask at a steady pace while a `with` block lasts; what they got."""

    def __init__(self, site: Site, *, per_second: float = 20) -> None:
        self._site, self._pause = site, 1 / per_second
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self.replies: list[tuple[int, str | None]] = []

    def __enter__(self) -> Traffic:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    @property
    def n_failed(self) -> int:
        """Requests without an answer of 200."""
        return sum(1 for status, _ in self.replies if status != 200)

    def answered_by(self, version: str) -> int:
        """How many a version answered."""
        return sum(1 for _, found in self.replies if found == version)

    def _ask(self) -> None:
        due = time.monotonic()
        try:
            self._ask_until_over(due)
        finally:
            self._site.hang_up()

    def _ask_until_over(self, due: float) -> None:
        while not self._is_over.is_set():
            self.replies.append(self._site.ask())
            due += self._pause
            self._is_over.wait(max(0.0, due - time.monotonic()))
