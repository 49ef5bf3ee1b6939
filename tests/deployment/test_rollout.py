"""Deployment to a real endpoint, and to endpoints that misbehave."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest

from embedded.postgres import free_port
from include.deployment.rollout import (
    promote_version,
    roll_back_version,
    shift_traffic,
    smoke_test,
    stage_version,
    verify_evidence,
)
from include.deployment.target import Target
from include.deployment.targets import targets_of
from include.errors import DeploymentError, EndpointUnavailableError, EvidenceError, SmokeTestError, StalePromotionError
from include.lake.ledger import DECISIONS, PROMOTIONS, current_champion, latest_decision, read_ledger
from include.modeling.model import read_golden
from include.registry import version_of_alias
from include.registry.backfilled import Override
from include.registry.promotion import promote
from include.workflow import Canary
from tests.deployment.processes import rollout_in
from tests.deployment.scripted import ScriptedEndpoint, slowly
from tests.registry.house import House
from tests.registry.processes import run_killed
from tests.serving.endpoints import PARCEL, ThreadEndpoint


def at(house: House, url: str, **changes: Any) -> list[Target]:
    return targets_of(house.workflow, replace(house.settings, endpoint_url=url, **changes))


@pytest.fixture
def endpoint(house: House) -> Iterator[ThreadEndpoint]:
    """A real endpoint that follows the ledger only when it is told to, so that what the deployment does is seen."""
    with ThreadEndpoint(house.workflow, house.settings, follow_seconds=3600) as found:
        yield found


def url(endpoint: ThreadEndpoint) -> str:
    return f"http://127.0.0.1:{endpoint.port}"


def served(endpoint: ThreadEndpoint) -> str | None:
    reply = endpoint.get("/version")
    return str(reply.content["model_version"]) if reply.status == 200 else None


def deploy(house: House, version: str, targets: list[Target]) -> int:
    """All steps of the Dag."""
    verify_evidence(house.workflow, version, lake=house.lake, registry=house.registry)
    stage_version(house.workflow, version, registry=house.registry, targets=targets)
    smoke_test(house.workflow, version, registry=house.registry, targets=targets)
    return promoted(house, version, targets)


def promoted(house: House, version: str, targets: list[Target]) -> int:
    record = promote_version(
        house.workflow, version, lake=house.lake, registry=house.registry, targets=targets, decided_by="test"
    )
    return record.epoch


def state(house: House) -> tuple[str | None, str | None, int]:
    """Champion of the ledger, of the alias, and the number of promotions."""
    record = current_champion(house.lake, "parcels")
    alias = version_of_alias(house.registry, "parcels", "champion")
    return (record.model_version if record else None, alias, read_ledger(house.lake, PROMOTIONS).num_rows)


def test_a_version_goes_into_production_and_the_next_replaces_it(house: House, endpoint: ThreadEndpoint) -> None:
    targets, previous = at(house, url(endpoint)), None
    for epoch, training in enumerate(("monday3", "monday3b"), start=1):
        version = house.register(training)
        house.decide(version, previous)
        assert deploy(house, version, targets) == epoch
        assert deploy(house, version, targets) == epoch  # all again: nothing changes
        assert served(endpoint) == version
        assert state(house) == (version, version, epoch)
        previous = version
    back = roll_back_version(
        house.workflow, version, lake=house.lake, registry=house.registry, targets=targets, decided_by="test"
    )
    assert (back.model_version, served(endpoint), state(house)) == ("1", "1", ("1", "1", 3))


@pytest.mark.parametrize(
    ("order", "verdict"),
    [
        pytest.param(("monday3b", "monday3"), "PROMOTE", marks=pytest.mark.claim("refusal")),
        (("monday3", "monday3b"), "REJECT"),
    ],
)
@pytest.mark.claim("deployment")
def test_what_was_judged_against_another_champion_is_judged_again(
    house: House, order: tuple[str, str], verdict: str
) -> None:
    """
    Two trainings of one week, both judged while nothing served: the second meets the first as champion, on the same
    rows.
    """
    first, second = (house.register(training) for training in order)
    for version in (first, second):
        assert house.judge(version).champion_version is None
    promote(house.workflow, first, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    refused = pytest.raises(
        StalePromotionError, match=f"against {first}, which is champion now, the verdict is {verdict}"
    )
    with nullcontext() if verdict == "PROMOTE" else refused:
        verify_evidence(house.workflow, second, lake=house.lake, registry=house.registry, decided_by="again")
    decision = latest_decision(house.lake, "parcels", second)
    assert decision is not None
    assert (decision.champion_version, decision.decided_by, decision.verdict) == (first, "again", verdict)
    refused = pytest.raises(EvidenceError, match="ships nothing")
    with nullcontext() if verdict == "PROMOTE" else refused:
        verify_evidence(house.workflow, second, lake=house.lake, registry=house.registry)
    assert read_ledger(house.lake, DECISIONS).num_rows == 3
    assert state(house) == (first, first, 1)


def test_the_smoke_test_compares_golden_rows(house: House, endpoint: ThreadEndpoint) -> None:
    version, targets = house.register("monday3b"), at(house, url(endpoint))
    stage_version(house.workflow, version, registry=house.registry, targets=targets)
    report = smoke_test(house.workflow, version, registry=house.registry, targets=targets)
    assert (report.n_rows, report.n_endpoints) == (50, 1)
    assert report.max_difference <= 1e-9
    assert 0 < report.latency_ms < 1000


def test_a_failed_smoke_test_drops_the_staged_and_the_champion_answers_all_the_while(
    house: House, endpoint: ThreadEndpoint
) -> None:
    champion, other = house.register("monday3"), house.register("monday3b")
    house.decide(champion, None)
    targets = at(house, url(endpoint))
    deploy(house, champion, targets)
    statuses, is_over = [], threading.Event()

    def ask() -> None:
        while not is_over.is_set():
            statuses.append(endpoint.post("/invocations", PARCEL).status)
        endpoint.close()

    asking = threading.Thread(target=ask)
    asking.start()
    stage_version(house.workflow, other, registry=house.registry, targets=targets)
    with pytest.raises(SmokeTestError, match=f"version {other} answers, not the staged {champion}"):
        smoke_test(house.workflow, champion, registry=house.registry, targets=targets)
    is_over.set()
    asking.join()
    assert set(statuses) == {200}
    assert endpoint.admin("status").content["staged"] is None
    assert served(endpoint) == champion


def test_without_evidence_nothing_reaches_an_endpoint(house: House) -> None:
    version = house.register("monday3")
    with ScriptedEndpoint({}) as scripted, pytest.raises(EvidenceError):
        promoted(house, version, at(house, scripted.url))
    assert scripted.asked == []
    with pytest.raises(EvidenceError, match="was never judged"):
        verify_evidence(house.workflow, version, lake=house.lake, registry=house.registry)


@pytest.mark.claim("deployment")
def test_an_older_version_is_stale_at_the_first_step(house: House) -> None:
    newer, older = house.register("monday4"), house.register("monday3")
    house.decide(newer, None)
    promote(house.workflow, newer, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    house.decide(older, newer)
    with pytest.raises(StalePromotionError, match="a champion never gets older"):
        verify_evidence(house.workflow, older, lake=house.lake, registry=house.registry)
    assert (
        verify_evidence(house.workflow, newer, lake=house.lake, registry=house.registry).decision.model_version == newer
    )


def test_an_endpoint_that_is_down_is_tried_again_later(house: House) -> None:
    version, targets = house.register("monday3"), at(house, f"http://127.0.0.1:{free_port()}")
    house.decide(version, None)
    for step in (
        lambda: stage_version(house.workflow, version, registry=house.registry, targets=targets),
        lambda: smoke_test(house.workflow, version, registry=house.registry, targets=targets),
        lambda: promoted(house, version, targets),
    ):
        with pytest.raises(EndpointUnavailableError, match="does not answer") as caught:
            step()
        assert caught.value.is_retryable
    assert state(house) == (version, version, 1)  # the promotion stands: the endpoint loads it when it is back
    with ThreadEndpoint(house.workflow, house.settings) as endpoint:
        endpoint.wait_for_champion(version)
        assert promoted(house, version, at(house, url(endpoint))) == 1
    assert state(house) == (version, version, 1)


@pytest.mark.claim("deployment")
def test_a_wrong_token_is_told(house: House, endpoint: ThreadEndpoint) -> None:
    targets = at(house, url(endpoint), endpoint_token="wrong")
    with pytest.raises(DeploymentError, match=r"401.*is UPDRAFT_ENDPOINT_TOKEN the same there"):
        stage_version(house.workflow, house.register("monday3"), registry=house.registry, targets=targets)


@pytest.mark.claim("kills")
def test_killed_between_promotion_and_switch_a_rerun_completes(house: House, endpoint: ThreadEndpoint) -> None:
    first, second = house.register("monday3"), house.register("monday3b")
    house.decide(first, None)
    deploy(house, first, at(house, url(endpoint)))
    house.decide(second, first)
    run_killed(rollout_in, house.settings.home, house.packages, second, url(endpoint), "rollout.before_switch")
    assert (served(endpoint), state(house)) == (first, (second, second, 2))
    assert deploy(house, second, at(house, url(endpoint))) == 2
    assert (served(endpoint), state(house)) == (second, (second, second, 2))


def offline(house: House, rows: list[Any]) -> list[dict[str, Any]]:
    """The right answers."""
    golden = read_golden(house.packages / "monday3")
    known = {json.dumps(row, sort_keys=True): score for row, score in zip(golden.rows, golden.predictions, strict=True)}
    return [{"label": True, "score": known[json.dumps(row, sort_keys=True)]} for row in rows]


BAD_ANSWERS: dict[str, tuple[Callable[[House, list[Any]], Any], str]] = {
    "other scores": (
        lambda house, rows: [{**p, "score": p["score"] + 1e-6} for p in offline(house, rows)],
        "differ from the offline ones",
    ),
    "nan": (lambda house, rows: [{"label": True, "score": float("nan")} for _ in rows], "a finite number"),
    "no label": (lambda house, rows: [{"score": p["score"]} for p in offline(house, rows)], "a prediction is not"),
    "too few": (lambda house, rows: offline(house, rows)[1:], "does not hold"),
    "no list": (lambda house, rows: {"score": 1}, "does not hold"),
    "text": (lambda house, rows: ["high" for _ in rows], "a prediction is not"),
    "slow": (lambda house, rows: slowly(offline(house, rows), seconds=1.1 if len(rows) == 1 else 0), "one row takes"),
}


def scripted_staging(house: House, version: str, answer: Callable[[House, list[Any]], Any]) -> dict[str, Any]:
    return {
        "/invocations": lambda content: {"model_version": version, "predictions": answer(house, content["instances"])}
    }


def test_right_answers_pass(house: House) -> None:
    """The control of the test below."""
    version = house.register("monday3")
    with ScriptedEndpoint(scripted_staging(house, version, offline)) as scripted:
        report = smoke_test(house.workflow, version, registry=house.registry, targets=at(house, scripted.url))
    assert (report.n_rows, report.max_difference) == (50, 0)


@pytest.mark.claim("serving")
@pytest.mark.parametrize("which", BAD_ANSWERS)
def test_wrong_answers_fail_the_smoke_test(house: House, which: str) -> None:
    answer, told = BAD_ANSWERS[which]
    version = house.register("monday3")
    with (
        ScriptedEndpoint(scripted_staging(house, version, answer)) as scripted,
        pytest.raises(SmokeTestError, match=told) as caught,
    ):
        smoke_test(house.workflow, version, registry=house.registry, targets=at(house, scripted.url))
    assert not caught.value.is_retryable
    assert scripted.asked[-1] == "/admin/unstage"


@pytest.mark.parametrize(
    ("status", "error"),
    [(500, SmokeTestError), (404, SmokeTestError), (302, SmokeTestError), (503, EndpointUnavailableError)],
)
def test_an_error_answer_fails_the_smoke_test(house: House, status: int, error: type[DeploymentError]) -> None:
    version = house.register("monday3")
    with (
        ScriptedEndpoint({"/invocations": (status, b"<html>"), "/admin/unstage": (500, {})}) as scripted,
        pytest.raises(error),
    ):
        smoke_test(house.workflow, version, registry=house.registry, targets=at(house, scripted.url))


def test_an_endpoint_that_does_not_switch_is_rolled_back(house: House) -> None:
    first, second = house.register("monday3"), house.register("monday3b")
    with ScriptedEndpoint({"/version": {"model_version": first}}) as scripted:
        targets = at(house, scripted.url)
        house.decide(first, None)
        promoted(house, first, targets)
        house.decide(second, first)
        with pytest.raises(
            DeploymentError, match=r"serves 1\. Ledger and alias were rolled back to version 1"
        ) as caught:
            promoted(house, second, targets)
        assert not caught.value.is_retryable
        assert state(house) == (first, first, 3)
        with pytest.raises(StalePromotionError, match="was promoted already"):
            promoted(house, second, targets)


@pytest.mark.claim("deployment")
def test_an_endpoint_that_follows_nobody_is_told(house: House) -> None:
    first, second = house.register("monday3"), house.register("monday3b")
    house.decide(first, None)
    with ScriptedEndpoint({"/version": {"model_version": "77"}}) as scripted:
        targets = at(house, scripted.url)
        with pytest.raises(DeploymentError, match="there is none to go back to"):
            promoted(house, first, targets)
        house.decide(second, first)
        with pytest.raises(DeploymentError, match="not yet every endpoint"):
            promoted(house, second, targets)
        assert state(house) == (first, first, 3)


def test_no_champion_is_not_the_same_as_no_endpoint(house: House) -> None:
    version = house.register("monday3")
    house.decide(version, None)
    script = {
        "/version": (503, {"error": {"message": "no champion yet"}}),
        "/v2/health/live": {"live": True},
        "/admin/switch": (409, {}),
    }
    with ScriptedEndpoint(script) as scripted, pytest.raises(DeploymentError, match="409"):
        promoted(house, version, at(house, scripted.url))
    assert scripted.asked == ["/version", "/v2/health/live", "/admin/stage", "/admin/switch"]


def test_a_backfilled_version_gets_no_share_of_the_requests_without_an_approval(house: House) -> None:
    """
    Whoever marks the question as succeeded has answered nothing: the same override is refused here as at
    the promotion.
    """
    champion = house.register("monday3")
    house.decide(champion, None)
    promote(house.workflow, champion, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    version = house.register("monday4", is_backfilled=True)
    house.decide(version, champion)
    deployment = house.workflow.deployment.model_copy(update={"canary": Canary()})
    workflow = house.workflow.model_copy(update={"deployment": deployment})
    work: dict[str, Any] = {"lake": house.lake, "registry": house.registry, "targets": []}
    with pytest.raises(StalePromotionError, match="backfilled"):
        shift_traffic(workflow, version, **work)
    with pytest.raises(EvidenceError, match="no person has approved it"):
        shift_traffic(workflow, version, override=Override(requested_by="ann", approved_by=""), **work)
    assert shift_traffic(workflow, version, override=Override(requested_by="ann", approved_by="bob"), **work) == []
