"""Start a search where the last one ended: its best configurations are tried first, and all that it learned is kept."""

from __future__ import annotations

import json
from datetime import datetime

from include.lake.files import get_file, list_files, put_file
from include.lake.store import Lake
from include.modeling.snapshot import Snapshot
from include.modeling.trials import Trial
from include.selection.families import Configuration
from include.selection.plan import Tried
from include.workflow import Workflow

_N_KEPT = 200  # trials; a longer search has refined its worst ones long ago


def keep_for_next(lake: Lake, workflow: Workflow, snapshot: Snapshot, *, training_id: str, trials: list[Trial]) -> None:
    """Keep the trials of a search, best first; a second call changes nothing."""
    path = f"{_folder(workflow)}/{training_id}.json"
    if path in list_files(lake, _folder(workflow)):
        return
    best = [
        trial
        for trial in sorted(trials, key=lambda t: (t.loss, t.number))
        if trial.score is not None and not trial.is_naive
    ]
    kept = [
        {"number": trial.number, "family": trial.family, "params": dict(trial.params), "loss": trial.loss}
        for trial in best[:_N_KEPT]
    ]
    content = {"as_of": snapshot.as_of, "training_id": training_id, "configurations": kept}
    put_file(lake, path, json.dumps(content, sort_keys=True).encode())


def latest_study(lake: Lake, workflow: Workflow, *, before: datetime) -> str | None:
    """
    Training whose search to start from: the latest as of a moment before this one's, so that a backfill learns nothing
    from the future.

    Of several as of the same moment, the one whose id sorts last: the same on every machine.
    """
    found = [json.loads(get_file(lake, path)) for path in list_files(lake, _folder(workflow))]
    earlier = [(datetime.fromisoformat(study["as_of"]), study["training_id"]) for study in found]
    return max((study for study in earlier if study[0] < before), default=(None, None))[1]


def earlier_trials(lake: Lake, workflow: Workflow, training_id: str | None) -> tuple[Tried, ...]:
    """Trials of an earlier training's search, best first; none without one."""
    if training_id is None:
        return ()
    study = json.loads(get_file(lake, f"{_folder(workflow)}/{training_id}.json"))
    # Before 2026-11-29 a study kept its four best, without numbers and losses.
    return tuple(
        Tried(
            number=item.get("number", place),
            configuration=Configuration(family=item["family"], params=item["params"]),
            loss=item.get("loss"),
        )
        for place, item in enumerate(study["configurations"])
    )


def _folder(workflow: Workflow) -> str:
    return f"{workflow.name}/_studies"
