"""
The target `SageMakerEndpoint`.

A version is staged as an endpoint of its own, which nobody but the smoke test asks. Then the endpoint that users ask is
updated: SageMaker starts the new instances beside the old ones (blue/green), gives them the canary's share, and goes
back by itself when an alarm is raised: by errors or latency of anybody's requests, by an alarm of yours, or by this
module, which sends golden rows meanwhile and compares.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from include.deployment.aws import AwsAccess, aws_errors, code_of
from include.deployment.release import Release, check_answer
from include.deployment.sagemaker_resources import BROKEN, Resources
from include.deployment.target import CanaryReport
from include.errors import CanaryError, DeploymentError, EndpointUnavailableError, SmokeTestError
from include.evaluation.distance import score_distance
from include.lake.crash_points import crash_point
from include.workflow.deployment import Canary, SageMakerEndpoint

_LOG = logging.getLogger(__name__)
_PROBE_ROWS = 5
_PROBE_SECONDS = 2.0  # a slow version must not keep us from seeing what SageMaker does about it
_PROBES_A_POLL = 20  # at the least share of 1 %, a fifth of the polls meets the new version
# the old instances stay so long after the last step, and are gone back to if an alarm is raised
_TERMINATION_SECONDS = 60
_MIN_EXECUTION_SECONDS, _MAX_EXECUTION_SECONDS = 600, 28_800


class SageMakerTarget:
    """
    One declared endpoint.

    Parameters
    ----------
    declared : SageMakerEndpoint
        What and where.
    access : AwsAccess
        Credentials.
    poll_seconds : float, optional
        How often SageMaker is asked for a state.

    """

    def __init__(self, declared: SageMakerEndpoint, access: AwsAccess, *, poll_seconds: float = 5.0) -> None:
        self.declared = declared
        self.resources = Resources(declared=declared, access=access, poll_seconds=poll_seconds)
        self._seconds = declared.ready_timeout.total_seconds()

    @property
    def name(self) -> str:
        """Region and endpoint."""
        return f"sagemaker:{self.declared.region}/{self.declared.endpoint_name}"

    def served_version(self) -> str | None:
        """
        Version in the environment of the model that the endpoint's configuration names; None if there is
        no endpoint.
        """
        found = self.resources.describe(self.declared.endpoint_name)
        if found is None:
            return None
        client = self.resources.client("sagemaker")
        with aws_errors(f"describe what {self.declared.endpoint_name} serves"):
            config = client.describe_endpoint_config(EndpointConfigName=found["EndpointConfigName"])
            model = client.describe_model(ModelName=config["ProductionVariants"][0]["ModelName"])
        version = model["PrimaryContainer"].get("Environment", {}).get("UPDRAFT_MODEL_VERSION")
        return None if version is None else str(version)

    def stage(self, release: Release) -> None:
        """Upload the bundle, create model and configuration, and an endpoint for the smoke test; each if absent."""
        serving = self._settled()
        config = self._ensure(release)
        if serving is not None and serving["EndpointConfigName"] == config:
            return
        crash_point("sagemaker.before_staging")
        self.resources.create_endpoint(config, config)
        crash_point("sagemaker.after_staging")
        found = self.resources.wait(config, seconds=self._seconds)
        if found is None or found["EndpointStatus"] != "InService":
            reason = "it was deleted meanwhile" if found is None else _state_of(found)
            self.resources.remove_others(keep=None if serving is None else serving["EndpointConfigName"])
            raise DeploymentError(
                f"version {release.version} does not start on SageMaker ({reason}): see the container's log. It was "
                "removed"
            )

    def ask_staged(self, release: Release, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Answer of the staging endpoint; of the users' one, if the version serves there already."""
        name = self.resources.name_of(release)
        serving = self.resources.describe(self.declared.endpoint_name)
        is_served = serving is not None and serving["EndpointConfigName"] == name
        return self._invoke(self.declared.endpoint_name if is_served else name, rows)

    def shift(self, release: Release, canary: Canary) -> CanaryReport | None:
        """Update the endpoint with a canary, watch it, and let SageMaker go back for any fault."""
        serving = self.resources.describe(self.declared.endpoint_name)
        if serving is None:
            return None
        watch = _Watch(release=release, max_distance=canary.max_distance)
        self._update(release, canary=canary, watch=watch)
        return CanaryReport(target=self.name, n_requests=watch.n_answers, distance=watch.distance)

    def finalise(self, release: Release) -> None:
        """
        Create or update the endpoint, unless it serves the version already; compare golden rows; remove all that is not
        needed.
        """
        config = self._ensure(release)
        serving = self._settled()
        if serving is None:
            crash_point("sagemaker.before_endpoint")
            self.resources.create_endpoint(self.declared.endpoint_name, config)
            self._require_config(config, release, "")
        elif serving["EndpointConfigName"] != config:
            self._update(release, canary=None, watch=_Watch(release=release))
        crash_point("sagemaker.before_verification")
        rows = release.golden.rows[:_PROBE_ROWS]
        try:
            check_answer(
                self._invoke(self.declared.endpoint_name, rows),
                release.golden.predictions[:_PROBE_ROWS],
                version=release.version,
            )
        except SmokeTestError as error:
            raise DeploymentError(f"{self.name} was told to serve version {release.version}, but: {error}") from None
        crash_point("sagemaker.before_removal")
        self.resources.remove_others(keep=config)

    def drop(self, release: Release, champion: Release | None) -> None:
        """Go back to the champion, if the version was shifted to, and remove what it left."""
        serving = self.resources.wait(self.declared.endpoint_name, seconds=self._seconds)
        name = self.resources.name_of(release)
        if serving is not None and serving["EndpointConfigName"] == name and champion is not None:
            self.finalise(champion)
        else:
            self.resources.remove_others(keep=None if serving is None else serving["EndpointConfigName"])

    def _ensure(self, release: Release) -> str:
        self.resources.ensure_model(release)
        return self.resources.ensure_config(release)

    def _settled(self) -> Mapping[str, Any] | None:
        """The users' endpoint, once nothing changes it; what SageMaker could not mend stops every deployment."""
        found = self.resources.wait(self.declared.endpoint_name, seconds=self._seconds)
        if found is not None and found["EndpointStatus"] in BROKEN:
            raise DeploymentError(
                f"SageMaker's endpoint {self.declared.endpoint_name} is broken ({_state_of(found)}): nothing is "
                "deployed to it until somebody has mended or deleted it, see docs/deployment.md"
            )
        return found

    def _update(self, release: Release, *, canary: Canary | None, watch: _Watch) -> None:
        config = self.resources.name_of(release)
        client = self.resources.client("sagemaker")
        found = self.resources.describe(self.declared.endpoint_name)
        pending = {} if found is None else found.get("PendingDeploymentSummary") or {}
        if pending.get("EndpointConfigName") != config:  # else a killed try has begun it: go on watching
            found = self._settled()
            if found is not None and found["EndpointConfigName"] == config:
                return
            deployment = _deployment(self.declared, canary, alarms=self.resources.ensure_alarms() if canary else [])
            crash_point("sagemaker.before_update")
            with aws_errors(f"update endpoint {self.declared.endpoint_name}"):
                client.update_endpoint(
                    EndpointName=self.declared.endpoint_name, EndpointConfigName=config, DeploymentConfig=deployment
                )
            crash_point("sagemaker.after_update")

        def look() -> None:
            if canary is not None:
                self._probe(watch)

        seconds = self._seconds + (canary.at_most.total_seconds() + _TERMINATION_SECONDS if canary else 0)
        self.resources.wait(self.declared.endpoint_name, seconds=seconds, on_poll=look)
        self._require_config(config, release, watch.fault)

    def _require_config(self, config: str, release: Release, fault: str) -> None:
        found = self.resources.wait(self.declared.endpoint_name, seconds=self._seconds)
        if found is None or found["EndpointStatus"] in BROKEN:
            self._settled()
            raise DeploymentError(
                f"SageMaker's endpoint {self.declared.endpoint_name} was deleted meanwhile: deploy again"
            )
        if found["EndpointConfigName"] != config:
            reason = fault or found.get("FailureReason") or "SageMaker gives no reason"
            raise CanaryError(
                f"version {release.version} was withdrawn from {self.name}: {reason}. SageMaker went back, the "
                "champion answers everything"
            )

    def _probe(self, watch: _Watch) -> None:
        """
        Send golden rows as users do; what the new version answers must be the offline scores, and like
        the champion's.
        """
        started = time.monotonic()
        for _ in range(_PROBES_A_POLL):
            if watch.fault or time.monotonic() - started > _PROBE_SECONDS:
                break
            part = watch.next_part()
            try:
                watch.take(self._invoke(self.declared.endpoint_name, watch.release.golden.rows[part]), part)
            except EndpointUnavailableError:
                return
            except DeploymentError as error:
                watch.fault = str(error)
                _LOG.warning("the canary of version %s is withdrawn: %s", watch.release.version, error)
                break
        if watch.fault:
            # Until SageMaker has seen it: the alarm's own metric would soon call it off again.
            self.resources.trip(watch.fault)

    def _invoke(self, endpoint: str, rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        from botocore.exceptions import ClientError

        body = json.dumps({"instances": list(rows)}).encode()
        with aws_errors(f"answer for endpoint {endpoint}"):
            try:
                answer = self.resources.client("sagemaker-runtime").invoke_endpoint(
                    EndpointName=endpoint, ContentType="application/json", Accept="application/json", Body=body
                )
            except ClientError as error:
                if code_of(error) == "ModelError":
                    status = error.response.get("OriginalStatusCode")
                    raise SmokeTestError(
                        f"the model's container answers with {status}, not with predictions: see its log"
                    ) from None
                raise
            content = answer["Body"].read()
        try:
            found = json.loads(content)
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise SmokeTestError("the model's container answers something else than a JSON object")
        return found


@dataclass(kw_only=True)
class _Watch:
    """What was seen of a new version while it took over."""

    release: Release
    max_distance: float = 1.0
    n_answers: int = 0
    distance: float | None = None
    fault: str = ""
    n_probes: int = 0
    champion: dict[int, list[float]] = field(default_factory=dict)

    def next_part(self) -> slice:
        """Which golden rows to send next: a few at a time, one after the other."""
        start = self.n_probes * _PROBE_ROWS % len(self.release.golden.rows)
        self.n_probes += 1
        return slice(start, start + _PROBE_ROWS)

    def take(self, answer: Mapping[str, Any], part: slice) -> None:
        """Look at an answer to golden rows; raises DeploymentError for a fault of the new version."""
        offline = self.release.golden.predictions
        if str(answer.get("model_version")) == self.release.version:
            check_answer(answer, offline[part], version=self.release.version)
            self.n_answers += 1
        else:
            # The champion's. That it may answer in a form of its own is not the new version's fault.
            predictions = answer.get("predictions")
            scores = (
                [row.get("score") for row in predictions if isinstance(row, dict)]
                if isinstance(predictions, list)
                else []
            )
            self.champion[part.start] = [float(score) for score in scores if isinstance(score, int | float)]
        if self.n_answers:
            # It answers as it did offline: so what it says of all those rows is known.
            ours = [score for start in self.champion for score in offline[start : start + _PROBE_ROWS]]
            self.distance = score_distance(ours, [score for scores in self.champion.values() for score in scores])
        if self.distance is not None and self.distance > self.max_distance:
            raise CanaryError(
                "its scores are distributed otherwise than the champion's on the same rows: distance "
                f"{self.distance:.2f}, {self.max_distance:g} is allowed"
            )


def _state_of(found: Mapping[str, Any]) -> str:
    return f"{found['EndpointStatus']}: {found.get('FailureReason') or 'no reason given'}"


def _deployment(declared: SageMakerEndpoint, canary: Canary | None, *, alarms: list[str]) -> dict[str, Any]:
    """SageMaker's DeploymentConfig: a canary of the declared share, or all at once."""
    if canary is None:
        routing: dict[str, Any] = {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0}
        waits = 0.0
    else:
        share = max(1, round(canary.share * 100))
        waits = canary.at_most.total_seconds()
        routing = {
            "Type": "CANARY",
            "CanarySize": {"Type": "CAPACITY_PERCENT", "Value": share},
            "WaitIntervalInSeconds": int(waits),
        }
    longest = declared.ready_timeout.total_seconds() + waits + _TERMINATION_SECONDS
    policy = {
        "TrafficRoutingConfiguration": routing,
        "TerminationWaitInSeconds": _TERMINATION_SECONDS if canary else 0,
        "MaximumExecutionTimeoutInSeconds": int(min(max(longest, _MIN_EXECUTION_SECONDS), _MAX_EXECUTION_SECONDS)),
    }
    deployment: dict[str, Any] = {"BlueGreenUpdatePolicy": policy}
    if alarms:
        names = [*alarms, *declared.alarms]
        deployment["AutoRollbackConfiguration"] = {"Alarms": [{"AlarmName": name} for name in names]}
    return deployment
