"""
Workers of a search are killed at moments of chance: no finished trial is repeated, and nothing that was
found is lost.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from include.lake.files import get_file, list_files
from include.lake.store import Lake
from include.modeling.search import leaderboard, run_trials
from include.modeling.snapshot import Snapshot, pin_snapshot
from include.selection.families import Configuration
from include.selection.worker import Worker
from include.workflow import Workflow
from tests.forks import PROCESSES
from tests.modeling.published import AS_OF, declare_short, publish_days

pytestmark = pytest.mark.claim("search")

N_KILLS, N_TRIALS = 20, 9
FOLDER = "parcels/_training/{}/trials"


def search(folder: Path, lake: Lake, snapshot: Snapshot, training_id: str, begun: Path | None = None) -> None:
    """One life of a worker; each trial that it begins is a line in `begun`."""
    original = Worker._try

    def tell(self: Worker, number: int, configuration: Configuration) -> None:
        if begun is not None and number not in self.finished:
            with begun.open("a") as file:
                file.write(f"{number}\n")
        original(self, number, configuration)

    Worker._try = tell  # type: ignore[method-assign]
    try:
        bounds = {"worker": 0, "n_workers": 1, "budget_seconds": 3600.0, "max_trials": N_TRIALS}
        run_trials(declare_short(folder), snapshot, lake=lake, training_id=training_id, **bounds)  # type: ignore[arg-type]
    finally:
        Worker._try = original  # type: ignore[method-assign]


def kill_by_chance(*arguments: object, begun: Path, chance: random.Random) -> bool:
    """Start a worker and kill it some time after it has begun a trial; False if it came to its end."""
    n_before = len(begun.read_text())
    process = PROCESSES.Process(target=search, args=(*arguments, begun))
    process.start()
    until = time.monotonic() + 120
    while process.is_alive() and len(begun.read_text()) == n_before and time.monotonic() < until:
        time.sleep(0.005)
    process.join(chance.uniform(0, 0.5))
    is_killed = process.is_alive()
    if is_killed:
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
    process.join()
    return is_killed


def test_twenty_kills_repeat_no_trial_and_lose_none(
    workflow: Workflow, lake: Lake, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """
    Beside the same search undisturbed: the same scores, so the same best. Begun but unfinished trials are begun again:
    the control.
    """
    publish_days(workflow, lake)
    snapshot = pin_snapshot(workflow, AS_OF, lake=lake)
    search(workflow.folder, lake, snapshot, "calm")
    calm = {trial.number: trial.score for trial in leaderboard(workflow, lake, "calm")}
    assert len(calm) == N_TRIALS + 1
    chance, begun, n_killed, n_again = random.Random(0), tmp_path / "begun", 0, 0
    for name in (f"killed{i}" for i in range(N_KILLS)):
        begun.write_text("")
        is_over, finished = False, dict[str, bytes]()
        while not is_over and n_killed < N_KILLS:
            n_lines = len(begun.read_text().split())
            is_over = not kill_by_chance(workflow.folder, lake, snapshot, name, begun=begun, chance=chance)
            n_killed += not is_over
            assert not {int(path.rsplit("/", 1)[1][:4]) for path in finished} & set(
                map(int, begun.read_text().split()[n_lines:])
            )
            records = {path: get_file(lake, path) for path in list_files(lake, FOLDER.format(name))}
            assert finished.items() <= records.items()
            finished = records
        search(workflow.folder, lake, snapshot, name)
        assert {trial.number: trial.score for trial in leaderboard(workflow, lake, name)} == calm
        numbers = begun.read_text().split()
        n_again += len(numbers) - len(set(numbers))
        if n_killed >= N_KILLS:
            break
    record_property(
        "figure", f"{n_killed} kills of a search: no finished trial repeated, the same scores as undisturbed"
    )
    assert n_killed == N_KILLS
    assert n_again > 0
