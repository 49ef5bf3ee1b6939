"""`roll_back_model`: an earlier champion answers again, once a run, whatever is cleared."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from include.errors import PartitionError, RegistryError, StalePromotionError
from include.lake.ledger import PROMOTIONS, current_champion, read_ledger
from include.registry.promotion import promote
from tests.deployment.scripted import ScriptedEndpoint
from tests.registry.fixtures import house, template
from tests.registry.house import House
from updraft.operators.roll_back import RollBackOperator

__all__ = ["house", "template"]
Run = Callable[..., dict[str, Any]]


class FollowingEndpoint(ScriptedEndpoint):
    """Serves whatever it is told to switch to."""

    def __init__(self) -> None:
        self.served = "?"
        super().__init__({"/version": lambda _: {"model_version": self.served}, "/admin/switch": self.switch})

    def switch(self, content: Any) -> dict[str, Any]:
        self.served = str(content["version"])
        return {}


def context(workflow: str, run_id: str, **params: Any) -> dict[str, Any]:
    form = {"workflow": workflow, "to_version": None, "to_time": None, "reason": "scores look wrong", **params}
    run = SimpleNamespace(triggering_user_name="jane", conf={}, run_after=None)
    events = defaultdict(lambda: SimpleNamespace(extra={}))
    return {
        "params": form,
        "dag_run": run,
        "run_id": run_id,
        "outlet_events": events,
        "dag": SimpleNamespace(params=form),
    }


@pytest.fixture
def endpoint(house: House, monkeypatch: pytest.MonkeyPatch) -> Any:
    """One that follows; the settings of the house in the environment."""
    with FollowingEndpoint() as found:
        monkeypatch.setenv("UPDRAFT_HOME", str(house.settings.home))
        monkeypatch.setenv("UPDRAFT_ENDPOINT_URL", found.url)
        monkeypatch.setenv("UPDRAFT_ENDPOINT_TOKEN", house.settings.endpoint_token)
        yield found


@pytest.fixture
def champions(house: House) -> list[str]:
    """Two versions that were champion one after the other."""
    versions, previous = [], None
    for training in ("monday3", "monday3b"):
        version = house.register(training)
        house.decide(version, previous)
        promote(house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test")
        versions.append(version)
        previous = version
    return versions


@pytest.fixture
def run(house: House, endpoint: FollowingEndpoint) -> Run:
    """Run the task as Airflow would."""

    def execute(run_id: str, **params: Any) -> dict[str, Any]:
        operator = RollBackOperator(task_id="roll_back", workflows=[house.workflow])
        return operator.execute(context(house.workflow.name, run_id, **params))

    return execute


def champion(house: House) -> str:
    found = current_champion(house.lake, house.workflow.name)
    assert found is not None
    return found.model_version


def test_the_version_that_the_champion_replaced_answers_again(house, champions, endpoint, run):
    assert run("r1") == {"version": champions[0], "previous_version": champions[1], "epoch": 3}
    assert (champion(house), endpoint.served) == (champions[0], champions[0])
    line = read_ledger(house.lake, PROMOTIONS).to_pylist()[-1]
    assert (line["action"], line["decided_by"]) == ("roll_back", "jane: scores look wrong (run r1)")


def test_cleared_it_completes_and_never_goes_back_twice(house, champions, endpoint, run):
    run("r1")
    endpoint.served = champions[1]  # an endpoint that was restored from elsewhere, say
    assert run("r1")["epoch"] == 3
    assert (champion(house), endpoint.served) == (champions[0], champions[0])
    house.decide(champions[1], champions[0])
    promote(house.workflow, champions[1], lake=house.lake, registry=house.registry, target="local", decided_by="test")
    with pytest.raises(
        StalePromotionError, match=f"rolled 'parcels' back already, and version {champions[1]} became champion since"
    ):
        run("r1")
    assert champion(house) == champions[1]


def test_a_version_or_a_time_names_an_earlier_champion(house, champions, run):
    first = read_ledger(house.lake, PROMOTIONS).to_pylist()[0]["recorded_at"]
    assert run("r1", to_time=first.isoformat())["version"] == champions[0]
    assert run("r2", to_version=champions[1])["version"] == champions[1]
    with pytest.raises(RegistryError, match="no version of 'parcels' was champion at"):
        run("r3", to_time=(first - timedelta(days=1)).isoformat())
    with pytest.raises(RegistryError, match="both given: leave one empty"):
        run("r4", to_time=first.isoformat(), to_version="1")
    with pytest.raises(RegistryError, match="version 99 of 'parcels' was no earlier champion"):
        run("r5", to_version="99")


def test_what_can_not_be_rolled_back_says_so(house, run):
    with pytest.raises(RegistryError, match="'parcels' has no champion"):
        run("r1")
    hostile = context("parcels", "r2") | {"dag_run": SimpleNamespace(conf={"versoin": "1"}, triggering_user_name=None)}
    with pytest.raises(PartitionError, match="unknown keys"):
        RollBackOperator(task_id="roll_back", workflows=[house.workflow]).execute(hostile)
