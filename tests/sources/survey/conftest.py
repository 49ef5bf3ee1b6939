"""A home of its own for each test, with a key for pseudonyms."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.lake.store import Lake, open_lake
from include.workflow import Workflow
from tests.sources.survey.people import SECRET, declare


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """All state, and the folder of temporary files, lie below the test's own folder."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("UPDRAFT_PSEUDONYM_KEY", SECRET)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    return tmp_path / "home"


@pytest.fixture
def lake() -> Lake:
    return open_lake()


@pytest.fixture
def panel(tmp_path: Path) -> Workflow:
    """The survey "panel", declared in a folder of its own."""
    return declare(tmp_path / "panel")
