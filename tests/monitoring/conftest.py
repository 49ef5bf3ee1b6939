"""Fixtures of the monitoring's tests: one champion for all of them, a lake of its own for each."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from include.registry.evaluation import evaluate_version
from include.registry.versions import load_version
from include.workflow import Monitoring
from tests.monitoring.production import MONITORING, Production, promote
from tests.registry.fixtures import Template, template
from tests.registry.house import copy_house

__all__ = ["template"]


@pytest.fixture(scope="session")
def champion(template: Template, tmp_path_factory: pytest.TempPathFactory) -> Production:
    """A trained, evaluated and promoted version."""
    house = copy_house(template.home, template.snapshots, tmp_path_factory.mktemp("production"))
    version = house.register("monday4")
    evaluate_version(house.workflow, house.snapshots["monday4"], version, lake=house.lake, registry=house.registry)
    promote(house.lake, version)
    workflow = house.workflow.model_copy(update={"monitoring": Monitoring(**MONITORING)})
    model = load_version(house.registry, "parcels", version)
    return Production(workflow=workflow, lake=house.lake, registry=house.registry, model=model, version=version)


@pytest.fixture
def production(champion: Production, tmp_path: Path) -> Production:
    """The champion at work, with a lake of one's own."""
    shutil.copytree(champion.lake.uri, tmp_path / "lake")
    return replace(champion, lake=replace(champion.lake, uri=str(tmp_path / "lake")))
