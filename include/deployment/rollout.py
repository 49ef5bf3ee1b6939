"""
Bring a version into production: verify its evidence, stage it, smoke-test it, promote it, switch to it. Each step may be run again.

The promotion ledger's commit is the point of no return: before it, the old champion answers whatever happens; after it, the endpoint
follows (by the switch, or by itself, for it reads the ledger). An endpoint that will not switch is rolled back, in the ledger too.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from include.deployment.endpoint_client import EndpointClient, clients_of
from include.errors import DeploymentError, EndpointUnavailableError, RegistryError, SmokeTestError
from include.lake.crash_points import crash_point
from include.lake.ledger import DecisionRecord, PromotionRecord, current_champion
from include.lake.store import Lake
from include.modeling.model import Golden, read_golden, verify_model
from include.registry.backfilled import Override, backfilled_reason
from include.registry.evidence import require_evidence
from include.registry.judgement import judge_again
from include.registry.lookup import read_version, version_folder
from include.registry.promotion import promote, require_current, roll_back
from include.registry.store import Registry
from include.registry.succession import promotions_of, version_of
from include.settings import Settings
from include.workflow import Workflow

_LOG = logging.getLogger(__name__)
TOLERANCE = 1e-9
_BATCH_ROWS = 25
_SINGLE_ROWS = 5  # asked one by one: small requests may be scored by another code path than large ones
_MAX_ROW_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """Golden rows asked of the staged version: how many, how far the served scores lie from the offline ones, how long it took."""

    version: str
    n_rows: int
    n_endpoints: int
    max_difference: float
    latency_ms: float


@dataclass(frozen=True, kw_only=True)
class Verified:
    """The decision behind a version, and why a person has to approve its deployment; empty, if nobody has to."""

    decision: DecisionRecord
    approval_reason: str


def verify_evidence(
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    allow_backfilled: bool = False,
    decided_by: str = "deployment",
) -> Verified:
    """
    Check that a version may be deployed now. With `allow_backfilled` a backfilled one passes here, and waits for a person's approval.

    If another version has become champion since the decision, this one is judged again, against that one and on the same rows; that
    decision is recorded too.

    Raises
    ------
    EvidenceError, TamperedModelError
        As `registry.evidence.require_evidence`.
    StalePromotionError
        If the version is backfilled, was champion before, or is refused beside today's champion. Not if it is the champion: then the rest
        is completed.

    """
    decision = require_evidence(workflow, version, lake=lake, registry=registry)
    champion = current_champion(lake, workflow.name)
    if champion is not None and champion.model_version == version:
        return Verified(decision=decision, approval_reason="")
    may_ship = allow_backfilled or backfilled_reason(decision, champion) is None
    if may_ship and decision.champion_version != version_of(champion) and not promotions_of(lake, workflow.name, version):
        decision = judge_again(workflow, decision, lake=lake, registry=registry, decided_by=decided_by)
    require_current(decision, lake=lake, is_allowed=allow_backfilled)
    return Verified(decision=decision, approval_reason=backfilled_reason(decision, champion) or "")


def stage_version(workflow: Workflow, version: str, *, settings: Settings) -> None:
    """
    Load a version beside the champion, in every endpoint of the workflow.

    Raises
    ------
    EndpointUnavailableError
        If an endpoint does not answer.
    DeploymentError
        If it refuses the version or the token.

    """
    for client in clients_of(workflow, settings):
        client.stage(version)


def smoke_test(workflow: Workflow, version: str, *, registry: Registry, settings: Settings) -> SmokeReport:
    """
    Ask the staged version for the golden rows; its answers must be the offline ones.

    Raises
    ------
    SmokeTestError
        If an answer differs, lacks its shape, or is slow. The staged version is dropped; the champion answered all the while.
    EndpointUnavailableError
        If an endpoint does not answer.

    """
    found = read_version(registry, workflow.name, version)
    with version_folder(registry, found) as folder:
        verify_model(folder, expected_digest=found.model_digest)  # and with it the golden rows
        golden = read_golden(folder)
    results = [_test_endpoint(client, version, golden) for client in clients_of(workflow, settings)]
    return SmokeReport(
        version=version,
        n_rows=len(golden.rows),
        n_endpoints=len(results),
        max_difference=max(difference for difference, _ in results),
        latency_ms=max(latency for _, latency in results),
    )


def promote_version(  # noqa: PLR0913 - what, where, by whom
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    settings: Settings,
    decided_by: str,
    override: Override | None = None,
) -> PromotionRecord:
    """
    Make a version the champion, and let every endpoint answer with it.

    Raises
    ------
    EvidenceError, TamperedModelError, StalePromotionError
        As `registry.promotion.promote`; nothing was changed.
    EndpointUnavailableError
        If an endpoint does not answer: run again. The promotion stands; the endpoint follows the ledger when it is back.
    DeploymentError
        If an endpoint does not switch: ledger, alias and endpoints were rolled back to the version before, if there is one.

    """
    clients = clients_of(workflow, settings)
    target = ", ".join(client.url for client in clients)
    record = promote(workflow, version, lake=lake, registry=registry, target=target, decided_by=decided_by, override=override)
    crash_point("rollout.before_switch")
    try:
        for client in clients:
            _switch(client, version)
    except EndpointUnavailableError:
        raise
    except DeploymentError as error:
        undone = _undo(workflow, record, lake=lake, registry=registry, clients=clients)
        raise DeploymentError(f"version {version} of {workflow.name!r} was promoted, but does not serve: {error}. {undone}") from error
    return record


def roll_back_version(  # noqa: PLR0913 - what, where, by whom
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    settings: Settings,
    decided_by: str,
    to_version: str | None = None,
) -> PromotionRecord:
    """
    Withdraw the champion `version`, in ledger, registry and endpoints; `to_version`, or the one that it replaced, answers again.

    Raises
    ------
    StalePromotionError, RegistryError
        As `registry.promotion.roll_back`.
    EndpointUnavailableError, DeploymentError
        If an endpoint does not follow: the ledger's roll-back stands, run again.

    """
    clients = clients_of(workflow, settings)
    target = ", ".join(client.url for client in clients)
    record = roll_back(workflow, version, lake=lake, registry=registry, target=target, decided_by=decided_by, to_version=to_version)
    crash_point("rollout.before_roll_back")
    for client in clients:
        _switch(client, record.model_version)
    return record


def _test_endpoint(client: EndpointClient, version: str, golden: Golden) -> tuple[float, float]:
    """Largest difference, and ms of the slowest single row."""
    try:
        differences = []
        for start in range(0, len(golden.rows), _BATCH_ROWS):
            part = slice(start, start + _BATCH_ROWS)
            differences.append(_compare(client.predict_staged(golden.rows[part]), golden.predictions[part], version=version))
        seconds = []
        for row, expected in list(zip(golden.rows, golden.predictions, strict=True))[:_SINGLE_ROWS]:
            started = time.monotonic()
            differences.append(_compare(client.predict_staged([row]), [expected], version=version))
            seconds.append(time.monotonic() - started)
        if min(seconds) > _MAX_ROW_SECONDS:
            raise SmokeTestError(f"one row takes {min(seconds):.2f} s, at most {_MAX_ROW_SECONDS:g} s is allowed")
    except EndpointUnavailableError:
        raise
    except DeploymentError as error:
        _drop_staged(client)
        raise SmokeTestError(
            f"version {version} fails its smoke test at {client.url}: {error}. It was dropped, the champion goes on answering"
        ) from None
    return max(differences), max(seconds) * 1000


def _compare(answer: Mapping[str, Any], expected: Sequence[float], *, version: str) -> float:
    """Largest difference of the served scores from the offline ones; what is no such answer is refused."""
    if str(answer.get("model_version")) != version:
        raise SmokeTestError(f"version {answer.get('model_version')} answers, not the staged {version}")
    predictions = answer.get("predictions")
    if not isinstance(predictions, list) or len(predictions) != len(expected):
        raise SmokeTestError(f"the answer does not hold {len(expected)} predictions for {len(expected)} rows")
    scores = []
    for prediction in predictions:
        score = prediction.get("score") if isinstance(prediction, dict) else None
        if not isinstance(score, float | int) or not math.isfinite(score) or not isinstance(prediction.get("label", ...), bool | None):
            raise SmokeTestError("a prediction is not {label: true, false or null, score: a finite number}")
        scores.append(float(score))
    difference = max(abs(score - offline) for score, offline in zip(scores, expected, strict=True))
    if difference > TOLERANCE:
        raise SmokeTestError(f"served scores differ from the offline ones by up to {difference:.3g}, {TOLERANCE:g} is allowed")
    return difference


def _drop_staged(client: EndpointClient) -> None:
    try:
        client.unstage()
    except DeploymentError as error:
        _LOG.warning("the staged version was not dropped; it answers nobody who does not ask for it: %s", error)


def _switch(client: EndpointClient, version: str) -> None:
    if client.served_version() != version:
        # Staging what is staged costs nothing; an endpoint that was restarted since has forgotten it.
        client.stage(version)
        client.switch(version)
        served = client.served_version()
        if served != version:
            raise DeploymentError(f"the endpoint {client.url} was told to serve version {version}, but serves {served}")


def _undo(workflow: Workflow, record: PromotionRecord, *, lake: Lake, registry: Registry, clients: Sequence[EndpointClient]) -> str:
    """Roll back ledger, alias and endpoints after a switch that failed; returns how far that went, in a sentence."""
    reason = f"{record.decided_by}: an endpoint did not switch"
    try:
        back = roll_back(workflow, record.model_version, lake=lake, registry=registry, target=record.target, decided_by=reason)
    except RegistryError as error:
        _LOG.error("version %s stays champion in the ledger, for it cannot be rolled back: %s", record.model_version, error)
        return "It stays champion in the ledger, for there is none to go back to: mend the endpoint, it follows the ledger"
    failures = []
    for client in clients:
        try:
            _switch(client, back.model_version)
        except DeploymentError as error:
            failures.append(str(error))
    for failure in failures:
        _LOG.error("the endpoint does not follow the roll-back yet; it reads the ledger by itself: %s", failure)
    return f"Ledger and alias were rolled back to version {back.model_version}" + (", not yet every endpoint" if failures else "")
