"""
Finished stages of trainings, kept by what they were made of: what was done on the same bytes, by the same code, with
the same params need not be done again.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from include.errors import LakeError
from include.lake.digests import digest_bytes
from include.lake.files import get_file, put_file
from include.lake.store import Lake


@dataclass(frozen=True, kw_only=True)
class FinishedStage:
    """A stage that a run has finished, with its small JSON result."""

    stage: str
    run_id: str
    result: Any
    finished_at: str


def stage_key(*parts: object) -> str:
    """Key of a stage: the digest of all that its result follows from, as JSON."""
    return digest_bytes(json.dumps(list(parts), sort_keys=True).encode())[:32]


def find_stage(lake: Lake, workflow_name: str, stage: str, key: str) -> FinishedStage | None:
    """
    Return what the first run made of the same inputs, if there was one; a record that can't be read
    counts as none.
    """
    try:
        return FinishedStage(**json.loads(get_file(lake, _path(workflow_name, stage, key))))
    except (LakeError, ValueError, TypeError):
        return None


def record_stage(lake: Lake, workflow_name: str, stage: str, key: str, *, run_id: str, result: Any) -> None:
    """Keep a result for later runs; of several runs at once the first one's stays."""
    finished = {"stage": stage, "run_id": run_id, "result": result, "finished_at": datetime.now(UTC).isoformat()}
    data = json.dumps(finished, sort_keys=True, allow_nan=False).encode()
    with contextlib.suppress(LakeError):  # the name is taken
        # Not flushed: after a power failure the stage is simply done once more.
        put_file(lake, _path(workflow_name, stage, key), data, is_flushed=False)


def _path(workflow_name: str, stage: str, key: str) -> str:
    return f"{workflow_name}/_stages/{stage}-{key}.json"
