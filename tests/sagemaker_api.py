"""
A small SageMaker on loopback, for tests: it checks every request against botocore's own service model, takes
`model.tar.gz` from S3, and starts our real serving program for it, behind `InvokeEndpoint`.

What it does as the documentation says: names are unique; an endpoint is Creating, then InService or Failed; an update
starts new instances beside the old ones, gives them the canary's share for the wait interval, goes back when a
CloudWatch alarm of the deployment is in ALARM, and keeps the old ones for the termination wait; what is being changed
refuses changes. Seconds are shortened by `time_scale`. Everything else is refused. It can't show what AWS's own timing,
quotas, rights and networks do.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.validate import ParamValidator

from tests.containers import Container, StartContainer, unpack_bundle

ARN = "arn:aws:sagemaker:us-east-1:123456789012"
OPERATIONS: dict[str, str] = {"SageMaker": "sagemaker", "GraniteServiceVersion20100801": "cloudwatch"}
_INVOKE = re.compile(r"/endpoints/([^/]+)/invocations")
_POLL_SECONDS = 0.01


class Refused(Exception):
    """An error as AWS answers it."""

    def __init__(self, message: str, *, code: str = "ValidationException", status: int = 400, **extra: Any) -> None:
        super().__init__(message)
        self.code, self.status, self.extra = code, status, extra


@dataclass
class Fleet:
    """Running instances of one configuration: one process stands for all of them."""

    config: str
    container: Container


@dataclass
class EndpointState:
    """One endpoint."""

    config: str
    status: str = "Creating"
    reason: str = ""
    fleet: Fleet | None = None
    green: Fleet | None = None
    share: float = 0.0  # of the green fleet
    pending: str = ""
    created: float = field(default_factory=time.time)
    n_green: int = 0
    alarms: tuple[str, ...] = ()


class SageMakerApi:
    """
    The server: SageMaker, its runtime and CloudWatch's alarms at one address.

    `faults` maps an operation to errors that it answers first.
    """

    def __init__(self, folder: Path, s3: Any, start: StartContainer, *, time_scale: float = 0.01) -> None:
        self.folder, self.s3, self.start = folder, s3, start
        self.time_scale = time_scale
        self.models: dict[str, dict[str, Any]] = {}
        self.configs: dict[str, dict[str, Any]] = {}
        self.endpoints: dict[str, EndpointState] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.alarms: dict[str, dict[str, Any]] = {}
        self.calls: list[tuple[str, str]] = []  # operation and name, of what was not refused
        self.faults: dict[str, list[Refused]] = {}
        self.breaks_rollbacks = False
        self._lock = threading.RLock()
        self._threads: list[threading.Thread] = []
        self._shapes = {
            name: ServiceModel(Loader().load_service_model(name, "service-2")) for name in ("sagemaker", "cloudwatch")
        }
        self._random = random.Random(7)
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> SageMakerApi:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        for thread in self._threads:
            thread.join(60)
        for state in self.endpoints.values():
            for fleet in (state.fleet, state.green):
                if fleet is not None:
                    fleet.container.stop()

    def names(self) -> tuple[list[str], list[str], list[str], list[str]]:
        """Endpoints, configurations, models and alarms that exist."""
        with self._lock:
            return sorted(self.endpoints), sorted(self.configs), sorted(self.models), sorted(self.alarms)

    def count(self, operation: str) -> int:
        """How often an operation was carried out."""
        return sum(1 for name, _ in self.calls if name == operation)

    # SageMaker's operations, by their name

    def CreateModel(self, given: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self.models, given["ModelName"], "model")
        container = given["PrimaryContainer"]
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        try:
            self.s3.head_object(Bucket=bucket, Key=key)
        except ClientError:
            raise Refused(f"Could not find model data at {container['ModelDataUrl']}.") from None
        self.models[name] = given
        return {"ModelArn": f"{ARN}:model/{name}"}

    def DescribeModel(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["ModelName"]
        found = self._get(self.models, name, "model")
        return {**{k: v for k, v in found.items() if k != "Tags"}, "ModelArn": f"{ARN}:model/{name}", "CreationTime": 0}

    def DeleteModel(self, given: dict[str, Any]) -> dict[str, Any]:
        self._get(self.models, given["ModelName"], "model")
        del self.models[given["ModelName"]]
        return {}

    def CreateEndpointConfig(self, given: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self.configs, given["EndpointConfigName"], "endpoint configuration")
        for variant in given["ProductionVariants"]:
            self._get(self.models, variant["ModelName"], "model")
        self.configs[name] = given
        return {"EndpointConfigArn": f"{ARN}:endpoint-config/{name}"}

    def DescribeEndpointConfig(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["EndpointConfigName"]
        found = self._get(self.configs, name, "endpoint configuration")
        return {
            "EndpointConfigName": name,
            "EndpointConfigArn": f"{ARN}:endpoint-config/{name}",
            "ProductionVariants": found["ProductionVariants"],
            "CreationTime": 0,
        }

    def DeleteEndpointConfig(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["EndpointConfigName"]
        self._get(self.configs, name, "endpoint configuration")
        # AWS says "you must not"; here it is refused, so that a test sees it.
        for endpoint, state in self.endpoints.items():
            if name in (state.config, state.pending):
                raise Refused(f"Configuration {name} is in use by endpoint {endpoint}.")
        del self.configs[name]
        return {}

    def CreateEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        name = self._new(self.endpoints, given["EndpointName"], "endpoint")
        config = given["EndpointConfigName"]
        self._get(self.configs, config, "endpoint configuration")
        state = self.endpoints[name] = EndpointState(config=config)
        self._in_background(lambda: self._create(state, config))
        return {"EndpointArn": f"{ARN}:endpoint/{name}"}

    def UpdateEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        name, config = given["EndpointName"], given["EndpointConfigName"]
        state = self._get(self.endpoints, name, "endpoint")
        self._get(self.configs, config, "endpoint configuration")
        if state.status != "InService":
            raise Refused(f"Cannot update in-progress endpoint: its status is {state.status}.")
        if config == state.config:
            raise Refused("Cannot update endpoint with the configuration that it has already.")
        deployment = given.get("DeploymentConfig") or {}
        self._check_deployment(config, deployment, state)
        state.status, state.pending, state.n_green = "Updating", config, 0
        self._in_background(lambda: self._update(state, config, deployment))
        return {"EndpointArn": f"{ARN}:endpoint/{name}"}

    def DescribeEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["EndpointName"]
        state = self._get(self.endpoints, name, "endpoint")
        found: dict[str, Any] = {
            "EndpointName": name,
            "EndpointArn": f"{ARN}:endpoint/{name}",
            "EndpointConfigName": state.config,
            "EndpointStatus": state.status,
            "CreationTime": state.created,
            "LastModifiedTime": state.created,
        }
        if state.reason:
            found["FailureReason"] = state.reason
        if state.pending:
            found["PendingDeploymentSummary"] = {"EndpointConfigName": state.pending}
        return found

    def DeleteEndpoint(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["EndpointName"]
        state = self._get(self.endpoints, name, "endpoint")
        if state.status in ("Creating", "Updating", "RollingBack"):
            raise Refused(f"Cannot delete endpoint {name} while it is {state.status}.")
        if state.status != "Deleting":
            state.status = "Deleting"
            self._in_background(lambda: self._delete(name, state))
        return {}

    def ListEndpoints(self, given: dict[str, Any]) -> dict[str, Any]:
        names = self._matching(self.endpoints, given)
        summary = {"EndpointArn": ARN, "CreationTime": 0, "LastModifiedTime": 0}
        return {
            "Endpoints": [{"EndpointName": n, "EndpointStatus": self.endpoints[n].status, **summary} for n in names]
        }

    def ListEndpointConfigs(self, given: dict[str, Any]) -> dict[str, Any]:
        names = self._matching(self.configs, given)
        return {
            "EndpointConfigs": [{"EndpointConfigName": n, "EndpointConfigArn": ARN, "CreationTime": 0} for n in names]
        }

    def ListModels(self, given: dict[str, Any]) -> dict[str, Any]:
        return {
            "Models": [{"ModelName": n, "ModelArn": ARN, "CreationTime": 0} for n in self._matching(self.models, given)]
        }

    def CreateTransformJob(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["TransformJobName"]
        if name in self.jobs:
            raise Refused(f"Job name {name} is already in use: already exists.", code="ResourceInUse")
        self._get(self.models, given["ModelName"], "model")
        job = self.jobs[name] = {**given, "TransformJobStatus": "InProgress"}
        self._in_background(lambda: self._transform(job))
        return {"TransformJobArn": f"{ARN}:transform-job/{name}"}

    def DescribeTransformJob(self, given: dict[str, Any]) -> dict[str, Any]:
        name = given["TransformJobName"]
        if name not in self.jobs:
            raise Refused(f"Could not find requested job with name: {name}", code="ResourceNotFound")
        return {**self.jobs[name], "TransformJobArn": f"{ARN}:transform-job/{name}", "CreationTime": 0}

    # CloudWatch's

    def PutMetricAlarm(self, given: dict[str, Any]) -> dict[str, Any]:
        state = self.alarms.get(given["AlarmName"], {}).get("state", "INSUFFICIENT_DATA")
        self.alarms[given["AlarmName"]] = {**given, "state": state, "values": []}
        return {}

    def SetAlarmState(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["AlarmName"] not in self.alarms:
            raise Refused("there is no such alarm", code="ResourceNotFound", status=404)
        self.alarms[given["AlarmName"]]["state"] = given["StateValue"]
        return {}

    def DeleteAlarms(self, given: dict[str, Any]) -> dict[str, Any]:
        for name in given["AlarmNames"]:
            self.alarms.pop(name, None)
        return {}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                if "Credential=" not in self.headers.get("authorization", ""):
                    self._send(
                        403, json.dumps({"__type": "MissingAuthenticationToken", "message": "unsigned"}).encode()
                    )
                    return
                try:
                    if found := _INVOKE.fullmatch(self.path):
                        status, content = api.invoke(found[1], body, self.headers)
                        self._send(status, content)
                    else:
                        content = api.call(self.headers["x-amz-target"], json.loads(body or b"{}"))
                        self._send(200, json.dumps(content).encode())
                except Refused as error:
                    fault = {"__type": error.code, "message": str(error), "Message": str(error), **error.extra}
                    self._send(error.status, json.dumps(fault).encode(), code=error.code)

            def _send(self, status: int, body: bytes, *, code: str = "") -> None:
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(body)))
                if code:
                    self.send_header("x-amzn-errortype", code)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """Say nothing."""

        return Handler

    def call(self, target: str, given: dict[str, Any]) -> dict[str, Any]:
        """Carry one operation out, if botocore's model says that it is well formed."""
        prefix, _, operation = target.partition(".")
        work: Callable[[dict[str, Any]], dict[str, Any]] | None = getattr(self, operation, None)
        if prefix not in OPERATIONS or work is None:
            raise Refused(f"{target} is not part of this emulation", code="UnknownOperationException")
        model = self._shapes[OPERATIONS[prefix]].operation_model(operation)
        check_shape(given, model.input_shape)
        with self._lock:
            if faults := self.faults.get(operation):
                raise faults.pop(0)
            answer = work(given)
            self.calls.append((operation, str(next(iter(given.values()), ""))))
        return answer

    def invoke(self, name: str, body: bytes, headers: Any) -> tuple[int, bytes]:
        """Hand a request on to a container, of the new fleet for its share."""
        with self._lock:
            state = self.endpoints.get(name)
            if state is None or state.fleet is None:
                raise Refused(f"Endpoint {name} of account 123456789012 not found.")
            is_green = state.green is not None and self._random.random() < state.share
            fleet = state.green if is_green and state.green is not None else state.fleet
        started = time.monotonic()
        status, content = ask(fleet.container.port, body, headers.get("content-type", ""))
        if is_green:
            state.n_green += 1
            self._observe(state, seconds=time.monotonic() - started, is_error=status >= 500)
        if status != 200:
            message = f"Received error ({status}) from champion with message {content[:200].decode(errors='replace')!r}"
            raise Refused(
                message,
                code="ModelError",
                status=424,
                OriginalStatusCode=status,
                OriginalMessage=content[:200].decode(errors="replace"),
            )
        return 200, content

    def _create(self, state: EndpointState, config: str) -> None:
        try:
            fleet = self._launch(config)
        except RuntimeError as error:
            with self._lock:
                state.status, state.reason = (
                    "Failed",
                    f"The container for production variant champion did not pass the ping check: {error}",
                )
            return
        with self._lock:
            state.fleet, state.status = fleet, "InService"

    def _update(self, state: EndpointState, config: str, deployment: dict[str, Any]) -> None:
        policy = deployment.get("BlueGreenUpdatePolicy", {})
        routing = policy.get("TrafficRoutingConfiguration", {"Type": "ALL_AT_ONCE", "WaitIntervalInSeconds": 0})
        alarms = [alarm["AlarmName"] for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", [])]
        try:
            green = self._launch(config)
        except RuntimeError as error:
            with self._lock:
                state.status, state.pending, state.reason = "InService", "", f"the new instances did not start: {error}"
            return
        with self._lock:
            state.green, state.alarms = green, tuple(alarms)
            state.share = routing["CanarySize"]["Value"] / 100 if routing["Type"] == "CANARY" else 1.0
        is_well = self._bake(routing["WaitIntervalInSeconds"], alarms) if routing["Type"] == "CANARY" else True
        if is_well:
            state.share = 1.0
            is_well = self._bake(policy.get("TerminationWaitInSeconds", 0), alarms)
        with self._lock:
            old = state.fleet
            if is_well:
                state.fleet, state.config, state.reason, gone = green, config, "", old
            else:
                state.status, gone = "RollingBack", green
                state.reason = "One or more alarms went into ALARM: the endpoint was rolled back"
            state.green, state.share, state.pending, state.alarms = None, 0.0, "", ()
        # Requests that have begun are answered first.
        time.sleep(0.1)
        if gone is not None:
            gone.container.stop()
        with self._lock:
            state.status = "UpdateRollbackFailed" if self.breaks_rollbacks and not is_well else "InService"

    def _bake(self, seconds: float, alarms: list[str]) -> bool:
        end = time.monotonic() + seconds * self.time_scale
        while True:
            with self._lock:
                if any(self.alarms[name]["state"] == "ALARM" for name in alarms):
                    return False
            if time.monotonic() >= end:
                return True
            time.sleep(_POLL_SECONDS)

    def _observe(self, state: EndpointState, *, seconds: float, is_error: bool) -> None:
        values = {"Invocation5XXErrors": float(is_error), "ModelLatency": seconds * 1e6}
        with self._lock:
            for name in state.alarms:
                alarm = self.alarms[name]
                if alarm.get("MetricName") in values:
                    alarm["values"].append(values[alarm["MetricName"]])
                    total = sum(alarm["values"])
                    value = total / len(alarm["values"]) if alarm["Statistic"] == "Average" else total
                    alarm["state"] = "ALARM" if value > alarm["Threshold"] else "OK"

    def _delete(self, name: str, state: EndpointState) -> None:
        if state.fleet is not None:
            state.fleet.container.stop()
        with self._lock:
            del self.endpoints[name]

    def _transform(self, job: dict[str, Any]) -> None:
        model = self.models[job["ModelName"]]
        try:
            container = self._launch_model(model)
        except RuntimeError as error:
            job.update(TransformJobStatus="Failed", FailureReason=str(error))
            return
        try:
            source = job["TransformInput"]["DataSource"]["S3DataSource"]["S3Uri"].removeprefix("s3://")
            bucket, _, prefix = source.partition("/")
            to_bucket, _, to = job["TransformOutput"]["S3OutputPath"].removeprefix("s3://").partition("/")
            for item in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
                body = self.s3.get_object(Bucket=bucket, Key=item["Key"])["Body"].read()
                status, content = ask(container.port, body, job["TransformInput"].get("ContentType", ""))
                if status != 200:
                    job.update(
                        TransformJobStatus="Failed", FailureReason=f"ClientError: {status} {content[:200].decode()}"
                    )
                    return
                self.s3.put_object(
                    Bucket=to_bucket, Key=f"{to.rstrip('/')}/{item['Key'].rpartition('/')[2]}.out", Body=content
                )
            job["TransformJobStatus"] = "Completed"
        finally:
            container.stop()

    def _launch(self, config: str) -> Fleet:
        with self._lock:
            model = self.models[self.configs[config]["ProductionVariants"][0]["ModelName"]]
        return Fleet(config=config, container=self._launch_model(model))

    def _launch_model(self, model: dict[str, Any]) -> Container:
        container = model["PrimaryContainer"]
        bucket, _, key = container["ModelDataUrl"].removeprefix("s3://").partition("/")
        bundle = self.s3.get_object(Bucket=bucket, Key=key)["Body"].read()
        folder = self.folder / f"{model['ModelName']}-{time.monotonic_ns()}"
        unpack_bundle(bundle, folder)
        return self.start(folder, container.get("Environment", {}))

    def _check_deployment(self, config: str, deployment: dict[str, Any], state: EndpointState) -> None:
        old, new = (self.configs[name]["ProductionVariants"] for name in (state.config, config))
        if [variant["VariantName"] for variant in old] != [variant["VariantName"] for variant in new]:
            raise Refused("the new endpoint configuration must have the same variant names as the old one")
        routing = deployment.get("BlueGreenUpdatePolicy", {}).get("TrafficRoutingConfiguration")
        if routing and routing["Type"] == "CANARY":
            size = routing.get("CanarySize")
            if size is None or size["Value"] > 50:
                raise Refused("CanarySize must be less than or equal to 50% of the variant's total instance count")
            if new[0]["InitialInstanceCount"] < 2:
                raise Refused("a canary needs two instances at least")
        for alarm in deployment.get("AutoRollbackConfiguration", {}).get("Alarms", []):
            if alarm["AlarmName"] not in self.alarms:
                raise Refused(f"Alarm {alarm['AlarmName']} does not exist")

    def _in_background(self, work: Callable[[], None]) -> None:
        thread = threading.Thread(target=work)
        self._threads.append(thread)
        thread.start()

    def _new(self, where: dict[str, Any], name: str, what: str) -> str:
        if name in where:
            raise Refused(f'Cannot create already existing {what} "{ARN}:{what.replace(" ", "-")}/{name}".')
        return name

    def _get(self, where: dict[str, Any], name: str, what: str) -> Any:
        if name not in where:
            raise Refused(f'Could not find {what} "{ARN}:{what.replace(" ", "-")}/{name}".')
        return where[name]

    def _matching(self, where: dict[str, Any], given: dict[str, Any]) -> list[str]:
        return [name for name in where if given.get("NameContains", "") in name]


def check_shape(given: dict[str, Any], shape: Any) -> None:
    """
    Refuse what botocore's model does not allow: types, required and unknown members, and (which botocore leaves to AWS)
    bounds.
    """
    report = ParamValidator().validate(given, shape)
    if report.has_errors():
        raise Refused(report.generate_report())
    _check_bounds(given, shape, shape.name)


def _check_bounds(value: Any, shape: Any, path: str) -> None:
    if shape.type_name == "structure":
        if unknown := set(value) - set(shape.members):
            raise Refused(f"{path} has no member {sorted(unknown)}")
        for name, item in value.items():
            _check_bounds(item, shape.members[name], f"{path}.{name}")
    elif shape.type_name == "list":
        for item in value:
            _check_bounds(item, shape.member, path)
    elif shape.type_name == "map":
        for key, item in value.items():
            _check_bounds(key, shape.key, path)
            _check_bounds(item, shape.value, f"{path}.{key}")
    _check_scalar(value, shape, path)


def _check_scalar(value: Any, shape: Any, path: str) -> None:
    size = value if isinstance(value, int | float) else len(value)
    metadata = shape.metadata
    if not metadata.get("min", size) <= size <= metadata.get("max", size):
        raise Refused(
            f"Value at {path!r} failed to satisfy constraint: between {metadata.get('min')} and {metadata.get('max')}"
        )
    if shape.type_name == "string":
        if shape.enum and value not in shape.enum:
            raise Refused(f"Value {value!r} at {path!r} failed to satisfy constraint: one of {shape.enum[:8]}")
        pattern = shape.metadata.get("pattern")
        if pattern and "\\p{" not in pattern and not re.fullmatch(pattern, value):
            raise Refused(f"Value {value!r} at {path!r} failed to satisfy regular expression pattern {pattern}")


def ask(port: int, body: bytes, content_type: str) -> tuple[int, bytes]:
    """Send one request to a container."""
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", body, {"content-type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as response:
            return int(response.status), response.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()
    except OSError as error:
        return 503, str(error).encode()


def now() -> str:
    """A time as AWS writes it."""
    return datetime.now(UTC).isoformat()
