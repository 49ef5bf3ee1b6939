"""
Bring a version into production: verify its evidence, stage it, smoke-test it, try it on a share of the traffic, promote
it, and let it answer everything. Each step may be run again, on every target alike (`deployment.target`).

The promotion ledger's commit is the point of no return: before it, whatever fails leaves ledger, alias and endpoints
with the old champion; after it, the endpoints follow. An endpoint that will not follow is rolled back, in the ledger
too.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass

from include.deployment.release import Release, check_answer, open_release
from include.deployment.target import CanaryReport, Target
from include.errors import DeploymentError, EndpointUnavailableError, RegistryError, SmokeTestError, UpdraftError
from include.lake.crash_points import crash_point
from include.lake.ledger import DecisionRecord, PromotionRecord, current_champion
from include.lake.store import Lake
from include.registry.backfilled import Override, backfilled_reason, require_override
from include.registry.evidence import require_evidence
from include.registry.judgement import judge_again
from include.registry.promotion import promote, require_current, roll_back
from include.registry.store import Registry
from include.registry.succession import promotions_of, version_of
from include.workflow import Workflow

_LOG = logging.getLogger(__name__)
_BATCH_ROWS = 25
_SINGLE_ROWS = 5  # asked one by one: small requests may be scored by another code path than large ones
_MAX_ROW_SECONDS = 1.0


@dataclass(frozen=True, kw_only=True)
class SmokeReport:
    """
    Golden rows asked of the staged version: how many, how far the served scores lie from the offline ones, how long it
    took.
    """

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
    Check that a version may be deployed now. With `allow_backfilled` a backfilled one passes here, and waits for a
    person's approval.

    If another version has become champion since the decision, this one is judged again, against that one and on the
    same rows; that decision is recorded too.

    Raises
    ------
    EvidenceError, TamperedModelError
        As `registry.evidence.require_evidence`.
    StalePromotionError
        If the version is backfilled, was champion before, or is refused beside today's champion. Not if it is the
        champion: then the rest is completed.

    """
    decision = require_evidence(workflow, version, lake=lake, registry=registry)
    champion = current_champion(lake, workflow.name)
    if champion is not None and champion.model_version == version:
        return Verified(decision=decision, approval_reason="")
    may_ship = allow_backfilled or backfilled_reason(decision, champion) is None
    if (
        may_ship
        and decision.champion_version != version_of(champion)
        and not promotions_of(lake, workflow.name, version)
    ):
        decision = judge_again(workflow, decision, lake=lake, registry=registry, decided_by=decided_by)
    require_current(decision, lake=lake, is_allowed=allow_backfilled)
    return Verified(decision=decision, approval_reason=backfilled_reason(decision, champion) or "")


def stage_version(workflow: Workflow, version: str, *, registry: Registry, targets: Sequence[Target]) -> None:
    """
    Load a version beside the champion, in every target.

    Raises
    ------
    EndpointUnavailableError
        If a target does not answer.
    DeploymentError
        If it refuses the version or the token.

    """
    with open_release(registry, workflow.name, version) as release:
        for target in targets:
            target.stage(release)
            crash_point("rollout.after_stage")


def smoke_test(workflow: Workflow, version: str, *, registry: Registry, targets: Sequence[Target]) -> SmokeReport:
    """
    Ask the staged version for the golden rows; its answers must be the offline ones.

    Raises
    ------
    SmokeTestError
        If an answer differs, lacks its shape, or is slow. The staged version is dropped; the champion answered all the
        while.
    EndpointUnavailableError
        If a target does not answer.

    """
    with open_release(registry, workflow.name, version) as release:
        results = [_test_target(target, release) for target in targets]
    return SmokeReport(
        version=version,
        n_rows=len(release.golden.rows),
        n_endpoints=len(results),
        max_difference=max(difference for difference, _ in results),
        latency_ms=max(latency for _, latency in results),
    )


def shift_traffic(
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    targets: Sequence[Target],
    override: Override | None = None,
) -> list[CanaryReport]:
    """
    Let a version answer a share of the traffic, if the workflow declares a canary; one target after the other.

    Real requests are answered by it, so the evidence is asked for once more; and of a backfilled version the approval,
    as when it is promoted.

    Raises
    ------
    CanaryError
        If it misbehaves: it was withdrawn from all targets, and ledger and alias never named it.
    EvidenceError, TamperedModelError, StalePromotionError
        As `verify_evidence`; it answered nobody.
    EndpointUnavailableError
        If a target does not answer: run again, the canary goes on.

    """
    canary = workflow.deployment.canary
    champion = current_champion(lake, workflow.name)
    if canary is None or champion is None or champion.model_version == version:
        return []
    decision = require_evidence(workflow, version, lake=lake, registry=registry)
    override = require_override(decision, champion, override)
    require_current(decision, lake=lake, is_allowed=override is not None)
    reports = []
    with open_release(registry, workflow.name, version) as release:
        for target in targets:
            try:
                report = target.shift(release, canary)
            except EndpointUnavailableError:
                raise
            except DeploymentError:
                _drop(release, champion.model_version, registry=registry, targets=targets)
                raise
            reports += [] if report is None else [report]
            crash_point("rollout.after_shift")
    return reports


def promote_version(  # noqa: PLR0913 - what, where, by whom
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    targets: Sequence[Target],
    decided_by: str,
    override: Override | None = None,
) -> PromotionRecord:
    """
    Make a version the champion, and let every endpoint answer with it.

    Raises
    ------
    EvidenceError, TamperedModelError, StalePromotionError
        As `registry.promotion.promote`; the ledger was not changed, and the version was dropped.
    EndpointUnavailableError
        If an endpoint does not answer: run again. The promotion stands; the endpoint follows the ledger when it is
        back.
    DeploymentError
        If an endpoint does not switch: ledger, alias and endpoints were rolled back to the version before, if there is
        one.

    """
    where = ", ".join(target.name for target in targets)
    try:
        record = promote(
            workflow, version, lake=lake, registry=registry, target=where, decided_by=decided_by, override=override
        )
    except RegistryError as error:
        if not error.is_retryable:
            _withdraw(workflow, version, lake=lake, registry=registry, targets=targets)
        raise
    crash_point("rollout.before_switch")
    try:
        with open_release(registry, workflow.name, version) as release:
            for target in targets:
                target.finalise(release)
                crash_point("rollout.after_switch")
    except EndpointUnavailableError:
        raise
    except DeploymentError as error:
        undone = _undo(workflow, record, lake=lake, registry=registry, targets=targets)
        raise DeploymentError(
            f"version {version} of {workflow.name!r} was promoted, but does not serve: {error}. {undone}"
        ) from error
    return record


def roll_back_version(  # noqa: PLR0913 - what, where, by whom
    workflow: Workflow,
    version: str,
    *,
    lake: Lake,
    registry: Registry,
    targets: Sequence[Target],
    decided_by: str,
    to_version: str | None = None,
) -> PromotionRecord:
    """
    Withdraw the champion `version`, in ledger, registry and endpoints; `to_version`, or the one that it replaced,
    answers again.

    Raises
    ------
    StalePromotionError, RegistryError
        As `registry.promotion.roll_back`.
    EndpointUnavailableError, DeploymentError
        If an endpoint does not follow: the ledger's roll-back stands, run again.

    """
    where = ", ".join(target.name for target in targets)
    record = roll_back(
        workflow, version, lake=lake, registry=registry, target=where, decided_by=decided_by, to_version=to_version
    )
    crash_point("rollout.before_roll_back")
    with open_release(registry, workflow.name, record.model_version) as release:
        for target in targets:
            target.finalise(release)
    return record


def _test_target(target: Target, release: Release) -> tuple[float, float]:
    """Largest difference, and ms of the slowest single row."""
    golden, version = release.golden, release.version
    try:
        differences = []
        for start in range(0, len(golden.rows), _BATCH_ROWS):
            part = slice(start, start + _BATCH_ROWS)
            differences.append(
                check_answer(target.ask_staged(release, golden.rows[part]), golden.predictions[part], version=version)
            )
        seconds = []
        for row, expected in list(zip(golden.rows, golden.predictions, strict=True))[:_SINGLE_ROWS]:
            started = time.monotonic()
            differences.append(check_answer(target.ask_staged(release, [row]), [expected], version=version))
            seconds.append(time.monotonic() - started)
        if min(seconds) > _MAX_ROW_SECONDS:
            raise SmokeTestError(f"one row takes {min(seconds):.2f} s, at most {_MAX_ROW_SECONDS:g} s is allowed")
    except EndpointUnavailableError:
        raise
    except DeploymentError as error:
        target.drop(release, None)
        raise SmokeTestError(
            f"version {version} fails its smoke test at {target.name}: {error}. It was dropped, the champion goes on "
            "answering"
        ) from None
    return max(differences), max(seconds) * 1000


def _withdraw(workflow: Workflow, version: str, *, lake: Lake, registry: Registry, targets: Sequence[Target]) -> None:
    """Take back what a canary has shifted to a version that the ledger then refused."""
    champion = current_champion(lake, workflow.name)
    if champion is None or champion.model_version == version:
        return
    try:
        with open_release(registry, workflow.name, version) as release:
            _drop(release, champion.model_version, registry=registry, targets=targets)
    except UpdraftError as error:
        _LOG.error("version %s was refused, and may still be staged: %s", version, error)


def _drop(release: Release, champion: str, *, registry: Registry, targets: Sequence[Target]) -> None:
    with open_release(registry, release.workflow, champion) as restored:
        for target in targets:
            try:
                target.drop(release, restored)
            except DeploymentError as error:
                _LOG.error("version %s is not quite withdrawn from %s: %s", release.version, target.name, error)


def _undo(
    workflow: Workflow, record: PromotionRecord, *, lake: Lake, registry: Registry, targets: Sequence[Target]
) -> str:
    """Roll back ledger, alias and endpoints after a switch that failed; returns how far that went, in a sentence."""
    reason = f"{record.decided_by}: an endpoint did not switch"
    try:
        back = roll_back(
            workflow, record.model_version, lake=lake, registry=registry, target=record.target, decided_by=reason
        )
    except RegistryError as error:
        _LOG.error(
            "version %s stays champion in the ledger, for it cannot be rolled back: %s", record.model_version, error
        )
        return (
            "It stays champion in the ledger, for there is none to go back to: mend the endpoint, it follows the ledger"
        )
    failures = []
    with open_release(registry, workflow.name, back.model_version) as release:
        for target in targets:
            try:
                target.finalise(release)
            except DeploymentError as error:
                failures.append(str(error))
    for failure in failures:
        _LOG.error("an endpoint does not follow the roll-back yet: %s", failure)
    return f"Ledger and alias were rolled back to version {back.model_version}" + (
        ", not yet every endpoint" if failures else ""
    )
