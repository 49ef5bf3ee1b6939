"""Fixtures of the quality tests: a lake in a folder, and a workflow whose partition is in raw."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.lake.store import Lake, open_lake
from include.quality.split import Split, split_partition
from include.quality.suite import load_suite
from include.workflow import DatabaseSource, Workflow
from tests.factories import declare_workflow, parcel_rows
from tests.quality.rows import with_positions

SplitRows = Callable[..., Split]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All state of a test lies in a folder of its own."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def lake() -> Lake:
    """The lake of the test's home."""
    return open_lake()


@pytest.fixture
def split_rows(tmp_path: Path) -> SplitRows:
    """Split rows (by default 50 valid parcels) by a list of expectations."""

    def split(expectations: list[dict[str, Any]], rows: pa.Table | None = None, **source: Any) -> Split:
        workflow: Workflow = declare_workflow(tmp_path / "parcels", suite={"name": "s", "expectations": expectations})
        declared = workflow.source.model_dump() | {"key": ("parcel_id",)} | source
        raw = with_positions(parcel_rows(n_rows=50) if rows is None else rows)
        return split_partition(raw, suite=load_suite(workflow.expectations_path), source=DatabaseSource(**declared))

    return split
