"""What a child of tests.killing does: one ingest of files, or of a survey in files."""

from __future__ import annotations

from pathlib import Path

from include.lake.store import Lake
from include.rehearsal import ingest
from include.workflow import SurveySource, Workflow
from tests.sources.survey.people import declare, files_of_answers, policy


def workflow_of(kind: str, folder: Path) -> Workflow:
    """The workflow "panel" over the files of a folder: as files, or as a survey."""
    files = files_of_answers(folder / "vault", key=("email", "answer_id"), on_unreadable="dead_letter")
    source = SurveySource(source=files, privacy=policy()) if kind == "survey" else files
    return declare(folder / "panel", source=source)


def ingest_one(kind: str, folder: str, lake: str, key: str) -> None:
    """Ingest one partition, as a try of a task does."""
    ingest(workflow_of(kind, Path(folder)), key, connection_uri=None, lake=Lake(uri=lake), run_id="killed")
