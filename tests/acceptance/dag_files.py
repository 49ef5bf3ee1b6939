"""
The Dag files of the stack that the system tests share: the project's own, and those that tell a mail server and a web
hook.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from include.settings import PROJECT_ROOT

ALERTING = ("parcels.ingest", "letters.ingest", "naive")

# The flights' Dags, all the same but for the time that a training searches.
HURRIED = '''\
"""Flights, with a short search: an Airflow Dag file."""

from include.workflows.flight_delays.workflow import workflow
from updraft.dags import build_dags

search = workflow.training.search.model_copy(update={"budget_seconds": 4})
training = workflow.training.model_copy(update={"search": search})
build_dags(workflow.model_copy(update={"training": training}), doc=__doc__)
'''


def copy_dags(folder: Path) -> Path:
    """Copy the project's Dag files and `alerts_dags.py` into a folder."""
    for path in [*(PROJECT_ROOT / "dags").glob("*.py"), Path(__file__).with_name("alerts_dags.py")]:
        shutil.copy(path, folder)
    return folder


def hurry(folder: Path) -> None:
    """Let the flights' trainings search for a few seconds from now on: a task reads its Dag file when it begins."""
    temporary = folder.with_name("hurried.py")
    temporary.write_text(HURRIED, encoding="utf-8")
    temporary.replace(folder / "flight_delays.py")
