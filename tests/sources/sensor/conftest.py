"""A broker of each test's own, a lake, and the stations' workflow."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from include.lake.store import Lake
from include.workflow import Workflow
from tests.mqtt_broker import Broker, running_broker
from tests.sources.sensor.stations import declare


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    return Lake(uri=str(tmp_path / "lake"))


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Broker]:
    with running_broker(tmp_path / "broker") as server:
        yield server


@pytest.fixture
def today() -> datetime:
    """The day before yesterday's midnight: all its readings can have arrived by now."""
    return datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=1)


@pytest.fixture
def stations(tmp_path: Path, today: datetime) -> Workflow:
    """Stations whose first day is yesterday."""
    return declare(tmp_path / "stations", start=today.date())
