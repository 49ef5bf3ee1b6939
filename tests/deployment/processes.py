"""A process that deploys, and may be killed on the way."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any


def rollout_in(home: Path, packages: Path, version: str, url: str, crash_at: str) -> None:
    """Stage and promote a version, killed at a crash point."""
    from include.deployment.rollout import promote_version, stage_version
    from include.deployment.targets import targets_of
    from tests.registry.house import open_house

    house = open_house(home, packages, {})
    targets = targets_of(house.workflow, replace(house.settings, endpoint_url=url))
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    stage_version(house.workflow, version, registry=house.registry, targets=targets)
    promote_version(
        house.workflow, version, lake=house.lake, registry=house.registry, targets=targets, decided_by="test"
    )


def deploy_in(home: Path, packages: Path, version: str, place: dict[str, Any], crash_at: str) -> None:
    """Take all steps of a deployment to a site's target, killed at a crash point."""
    from tests.deployment.sites import deploy_at
    from tests.registry.house import open_house

    house = open_house(home, packages, {})
    os.environ["UPDRAFT_CRASH_AT"] = crash_at
    deploy_at(house, version, place)
