"""What a child of tests.killing does: one erasure, as a try of the task does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from include.lake.fencing import new_token
from include.lake.store import Lake
from include.privacy.erasure import TrainedModels, erase, request_erasure
from include.privacy.partitions import Author
from tests.privacy.panel import declare_panel


def erase_one(folder: str, lake: str, pseudonym: str) -> None:
    """Request the erasure of one respondent, and erase."""
    workflow, now = declare_panel(Path(folder)), datetime.now(UTC)
    request_erasure(workflow, pseudonym, lake=Lake(uri=lake), now=now)
    by = Author(token=new_token(), run_id="erasure", try_id="erasure")
    erase(workflow, pseudonym, lake=Lake(uri=lake), now=now, by=by, models=TrainedModels(trained=(), unknown=()))
