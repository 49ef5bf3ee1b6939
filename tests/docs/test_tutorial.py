"""The tutorial's files and commands work as written."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from include.settings import PROJECT_ROOT
from tests.docs.pages import type_in


@pytest.fixture(scope="module")
def followed(tmp_path_factory):
    """A folder in which a reader has typed in every file of the page, beside the project's own packages."""
    folder = tmp_path_factory.mktemp("tutorial")
    for package in ("include", "plugins"):
        shutil.copytree(PROJECT_ROOT / package, folder / package, ignore=shutil.ignore_patterns("__pycache__"))
    type_in("tutorial.md", folder)
    return folder


def _run(folder, *command):
    env = {**os.environ, "UPDRAFT_HOME": str(folder / "home"), "PYTHONPATH": f"{folder}:{folder / 'plugins'}"}
    return subprocess.run([sys.executable, *command], cwd=folder, env=env, capture_output=True, text=True)


def test_page_gives_every_file(followed):
    assert {p.name for p in (followed / "include" / "workflows" / "parcels").iterdir()} >= {
        "extract.sql",
        "expectations.json",
        "features.py",
        "workflow.py",
    }


@pytest.mark.claim("tutorial")
def test_it_ingests_trains_and_judges(followed):
    made = _run(followed, "make_parcels.py")
    assert made.returncode == 0, made.stderr
    tried = _run(followed, "try_parcels.py")
    assert tried.returncode == 0, tried.stderr[-2000:]
    days = re.findall(r"^2026-\d\d-\d\d in 120, published (\d+), quarantined (\d+)$", tried.stdout, re.MULTILINE)
    assert len(days) == 42
    assert all(int(published) + int(quarantined) == 120 for published, quarantined in days)
    assert sum(int(quarantined) for _, quarantined in days) > 20
    assert "PROMOTE" in tried.stdout


def test_its_dag_file_gives_four_dags(followed):
    script = "import runpy; dags = runpy.run_path('dags/parcels.py'); from updraft.dags import build_dags; "
    script += "print(*[dag.dag_id for dag in build_dags(dags['workflow'])])"
    done = _run(followed, "-c", script)
    assert done.stdout.split()[-4:] == ["parcels.ingest", "parcels.train", "parcels.deploy", "parcels.monitor"]
