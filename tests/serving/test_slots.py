"""Which version answers: the ledger decides, the caller only asks."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from include.lake.store import open_lake
from include.settings import Settings
from include.workflow import Workflow
from tests.serving.endpoints import AUTHORIZED, PARCEL, TOKEN, ThreadEndpoint
from tests.serving.models import promote

STAGED = {**AUTHORIZED, "x-updraft-slot": "staged"}


@pytest.fixture
def endpoint(parcels: Workflow, settings: Settings, versions: dict[str, str]) -> Iterator[ThreadEndpoint]:
    """An endpoint of the linear model that does not look at the ledger by itself again soon."""
    promote(open_lake(settings), "parcels", versions["linear"])
    with ThreadEndpoint(parcels, settings, follow_seconds=600) as found:
        found.wait_for_champion()
        yield found


def test_before_the_first_champion_it_says_so(parcels: Workflow, settings: Settings, versions: dict[str, str]) -> None:
    """And follows the ledger as soon as there is one."""
    with ThreadEndpoint(parcels, settings) as endpoint:
        time.sleep(0.3)
        for reply in (endpoint.get("/ping"), endpoint.post("/invocations", PARCEL), endpoint.get("/version")):
            assert (reply.status, reply.message) == (503, "no champion yet: promote a version first")
        assert endpoint.get("/v2/health/live").status == 200
        assert endpoint.get("/v2/health/ready").status == 503
        promote(open_lake(settings), "parcels", versions["linear"])
        endpoint.wait_for_champion(versions["linear"])


def test_stage_ask_switch(endpoint: ThreadEndpoint, versions: dict[str, str]) -> None:
    linear, boosting = versions["linear"], versions["boosting"]
    assert endpoint.post("/invocations", PARCEL, STAGED).status == 409
    assert endpoint.admin("stage", {"version": boosting}).content["staged"]["version"] == boosting
    assert endpoint.post("/invocations", PARCEL, STAGED).content["model_version"] == boosting
    assert endpoint.post("/invocations", PARCEL).content["model_version"] == linear

    refused = endpoint.admin("switch", {"version": boosting})
    assert refused.status == 409
    assert f"the promotion ledger names {linear}" in refused.message
    promote(open_lake(endpoint.settings), "parcels", boosting)
    status = endpoint.admin("switch", {"version": int(boosting)}).content
    assert (status["active"]["version"], status["previous"]["version"], status["staged"]) == (boosting, linear, None)
    assert endpoint.admin("switch", {"version": boosting}).content["switches"] == status["switches"]


def test_a_switch_needs_the_version_loaded(endpoint: ThreadEndpoint, versions: dict[str, str]) -> None:
    promote(open_lake(endpoint.settings), "parcels", versions["boosting"])
    reply = endpoint.admin("switch", {"version": versions["boosting"]})
    assert reply.status == 409
    assert "stage it first" in reply.message


def test_staged_answers_are_not_logged(endpoint: ThreadEndpoint, versions: dict[str, str]) -> None:
    endpoint.admin("stage", {"version": versions["boosting"]})
    endpoint.post("/invocations", PARCEL, STAGED)
    endpoint.post("/invocations", PARCEL)
    assert endpoint.admin("flush").content == {"rows": 1}


def test_unstage(endpoint: ThreadEndpoint, versions: dict[str, str]) -> None:
    endpoint.admin("stage", {"version": versions["boosting"]})
    assert endpoint.admin("unstage").content["staged"] is None
    assert endpoint.post("/invocations", PARCEL, STAGED).status == 409
    assert endpoint.post("/invocations", PARCEL, {**AUTHORIZED, "x-updraft-slot": "blue"}).status == 400


def test_roll_back_only_to_what_the_ledger_names(endpoint: ThreadEndpoint, versions: dict[str, str]) -> None:
    linear, boosting = versions["linear"], versions["boosting"]
    assert endpoint.admin("roll_back").status == 409
    lake = open_lake(endpoint.settings)
    endpoint.admin("stage", {"version": boosting})
    promote(lake, "parcels", boosting)
    endpoint.admin("switch", {"version": boosting})
    refused = endpoint.admin("roll_back")
    assert (refused.status, endpoint.get("/version").content["model_version"]) == (409, boosting)
    promote(lake, "parcels", linear)
    assert endpoint.admin("roll_back").content["active"]["version"] == linear


@pytest.mark.parametrize(("version", "status"), [("99", 404), ("../1", 400), (None, 400), ("", 400), (True, 400)])
def test_no_such_version(endpoint: ThreadEndpoint, version: object, status: int) -> None:
    assert endpoint.admin("stage", {"version": version}).status == status
    assert endpoint.get("/ping").status == 200


def test_a_version_that_fails_to_load_keeps_the_old_one(
    parcels: Workflow, settings: Settings, versions: dict[str, str]
) -> None:
    """The ledger names a version that the registry does not have: the old one serves on, and the status says why."""
    promote(open_lake(settings), "parcels", versions["linear"])
    with ThreadEndpoint(parcels, settings) as endpoint:
        endpoint.wait_for_champion()
        promote(open_lake(settings), "parcels", "99")
        deadline = time.monotonic() + 10
        while not (status := endpoint.admin("status").content)["last_error"] and time.monotonic() < deadline:
            time.sleep(0.05)
        assert "99" in status["last_error"]
        assert endpoint.get("/ping").content["model_version"] == versions["linear"]
        promote(open_lake(settings), "parcels", versions["boosting"])
        endpoint.wait_for_champion(versions["boosting"])
        assert endpoint.admin("status").content["last_error"] is None


def test_without_a_configured_token_nobody_is_admin(parcels: Workflow, settings: Settings) -> None:
    from dataclasses import replace

    with ThreadEndpoint(parcels, replace(settings, endpoint_token=None)) as endpoint:
        for token in ("", TOKEN, "None"):
            assert endpoint.get("/admin/status", {"authorization": f"Bearer {token}"}).status == 403


@pytest.mark.claim("serving", is_quick=True)
def test_no_request_fails_during_a_switch(
    endpoint: ThreadEndpoint, versions: dict[str, str], record_property: Callable[[str, object], None]
) -> None:
    """Four clients ask without pause; each sees the version change once, and no error."""
    seen: list[list[tuple[int, str]]] = [[] for _ in range(4)]
    switched = threading.Event()

    def ask(answers: list[tuple[int, str]]) -> None:
        while not switched.is_set() or len(answers) < 100:
            rows = PARCEL if len(answers) % 3 else [PARCEL] * 30
            reply = endpoint.post("/invocations", rows)
            answers.append((reply.status, reply.content.get("model_version")))
        endpoint.close()

    threads = [threading.Thread(target=ask, args=(answers,)) for answers in seen]
    for thread in threads:
        thread.start()
    endpoint.admin("stage", {"version": versions["boosting"]})
    promote(open_lake(endpoint.settings), "parcels", versions["boosting"])
    endpoint.admin("switch", {"version": versions["boosting"]})
    after_switch = [len(answers) for answers in seen]
    time.sleep(0.3)
    switched.set()
    for thread in threads:
        thread.join()

    assert sum(map(len, seen)) >= 400
    n_failed = sum(status != 200 for answers in seen for status, _ in answers)
    record_property("figure", f"{sum(map(len, seen))} requests during a switch of champion, {n_failed} failed")
    for answers, n_before in zip(seen, after_switch, strict=True):
        assert {status for status, _ in answers} == {200}
        found = [version for _, version in answers]
        assert sum(left != right for left, right in itertools.pairwise(found)) == 1
        # At most the one request that was in flight may still name the old version.
        assert set(found[n_before + 1 :]) == {versions["boosting"]}
