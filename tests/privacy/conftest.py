"""The survey "panel" of tests/sources/survey, ingested."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.lake.store import Lake
from include.rehearsal import ingest
from tests.privacy.panel import answers, declare_panel
from tests.sources.survey.conftest import home, lake, panel
from tests.sources.survey.people import KEY, SECRET, write_answers

__all__ = ["home", "lake", "panel"]


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of the same day: the canary is also in files that no newest version names."""
    folder = tmp_path_factory.mktemp("template")
    lake = Lake(uri=str(folder / "lake"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(folder))
        patch.setenv("UPDRAFT_PSEUDONYM_KEY", SECRET)
        for satisfaction in (2, 3):
            uri = write_answers(folder / "answers.db", answers(satisfaction=satisfaction))
            ingest(declare_panel(folder), KEY, connection_uri=uri, lake=lake)
    return folder
