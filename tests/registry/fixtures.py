"""Fixtures of all tests that need a registry."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from include.modeling.snapshot import Snapshot
from tests.registry.house import House, build_template, copy_house


@dataclass(frozen=True, kw_only=True)
class Template:
    """What every house is copied from."""

    home: Path
    snapshots: Mapping[str, Snapshot]


@functools.cache
def _build(home: Path) -> Template:
    home.mkdir()
    return Template(home=home, snapshots=build_template(home))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Template:
    """
    Four published weeks, three trained packages, an empty MLflow store: made once, for all folders that use these
    fixtures.
    """
    return _build(tmp_path_factory.getbasetemp() / "registry-template")


@pytest.fixture
def house(template: Template, tmp_path: Path) -> House:
    """A house of one's own."""
    return copy_house(template.home, template.snapshots, tmp_path)
