"""
A registry with two trained models, and endpoints over real sockets: in a thread of this process, or in a process of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from include.lake.store import open_lake
from include.settings import Settings, read_settings
from include.workflow import Workflow
from tests.factories import declare_workflow
from tests.serving.endpoints import TOKEN, ThreadEndpoint
from tests.serving.models import promote, register_families


@pytest.fixture(scope="session")
def parcels(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """The declared workflow."""
    return declare_workflow(tmp_path_factory.mktemp("declared") / "parcels")


@pytest.fixture(scope="session")
def registry_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a registry of its own, shared by all endpoints."""
    home = tmp_path_factory.mktemp("registry")
    return read_settings({"UPDRAFT_HOME": str(home), "UPDRAFT_ENDPOINT_TOKEN": TOKEN})


@pytest.fixture(scope="session")
def versions(
    parcels: Workflow, registry_settings: Settings, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """Registered versions by family."""
    return register_families(parcels, registry_settings, tmp_path_factory.mktemp("packages"))


def settings_in(home: Path, registry_settings: Settings) -> Settings:
    """The shared registry, with a lake and a spool of one's own."""
    return replace(registry_settings, home=home, lake_uri=str(home / "lake"))


@pytest.fixture
def settings(tmp_path: Path, registry_settings: Settings) -> Settings:
    """Settings of one test: its own lake and spool."""
    return settings_in(tmp_path, registry_settings)


@pytest.fixture(scope="module")
def linear(
    parcels: Workflow, registry_settings: Settings, versions: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ThreadEndpoint]:
    """An endpoint whose champion is the linear model."""
    settings = settings_in(tmp_path_factory.mktemp("linear"), registry_settings)
    promote(open_lake(settings), parcels.name, versions["linear"])
    with ThreadEndpoint(parcels, settings) as endpoint:
        endpoint.wait_for_champion()
        yield endpoint
