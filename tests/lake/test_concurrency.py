"""Many processes at once: exactly one winner, nothing lost, nothing twice."""

from __future__ import annotations

import time
from collections.abc import Callable
from itertools import chain
from typing import Any

import pytest

from include.lake import ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake, table_version
from tests.forks import run_at_once
from tests.lake.workers import TABLE, append_runs, create_tables, promote_rounds, replace_many

pytestmark = pytest.mark.claim("races")


def race(
    lake: Lake, work: Callable[..., Any], *, n_workers: int, numbered: bool = False, **arguments: Any
) -> list[Any]:
    """Run one worker's function in several processes at once; return their answers."""
    shared = {"uri": lake.uri, "storage_options": dict(lake.storage_options), **arguments}
    return run_at_once(work, [{**shared, "worker": number} if numbered else shared for number in range(n_workers)])


def test_promotions_have_one_winner_an_epoch_and_no_gap(lake: Lake) -> None:
    """The table doesn't exist at first: its creation is part of the race."""
    won = list(
        chain.from_iterable(
            race(lake, promote_rounds, n_workers=4 if lake.is_remote else 8, numbered=True, rounds=6, is_naive=False)
        )
    )
    rows = ledger.read_ledger(lake, ledger.PROMOTIONS)
    assert rows["epoch"].to_pylist() == list(range(1, len(won) + 1))
    assert sorted(won) == rows["epoch"].to_pylist()
    assert len(won) >= 6


def test_control_appends_without_a_transaction_fork_the_epochs(folder_lake: Lake) -> None:
    race(folder_lake, promote_rounds, n_workers=4, numbered=True, rounds=15, is_naive=True)
    epochs = ledger.read_ledger(folder_lake, ledger.PROMOTIONS)["epoch"].to_pylist()
    assert len(epochs) > len(set(epochs))


def create_race(lake: Lake, *, is_naive: bool) -> set[int]:
    """Let 4 processes create the same 10 tables; return the tables' versions."""
    race(lake, create_tables, n_workers=4, start_at=time.time() + 2, n_tables=10, is_naive=is_naive)
    return {table_version(lake, f"race/t{number}") for number in range(10)}


def test_a_table_is_created_once(lake: Lake) -> None:
    assert create_race(lake, is_naive=False) == {0}


def test_control_deltas_default_creates_a_table_again(folder_lake: Lake) -> None:
    """A race is won or lost by chance: on a busy machine it may take a few."""
    lakes = (Lake(uri=f"{folder_lake.uri}/{number}", storage_options={}) for number in range(10))
    assert any(max(create_race(lake, is_naive=True)) > 0 for lake in lakes)


def test_runs_that_several_append_land_once(lake: Lake) -> None:
    race(lake, append_runs, n_workers=4, n_records=8)
    keys = ledger.read_ledger(lake, ledger.RUNS)["partition_key"].to_pylist()
    assert sorted(keys) == [f"day-{number}" for number in range(8)]


def test_writers_of_a_partition_leave_one_whole_content(lake: Lake) -> None:
    """Each of 4 workers writes 5 partitions: every partition is one worker's, whole, and that worker was told so."""
    keys = [f"2026-01-0{day}" for day in range(1, 6)]
    won = race(lake, replace_many, n_workers=4, numbered=True, keys=keys)
    for key in keys:
        rows = read_partition(lake, TABLE, key)
        (worker,) = rows["worker"].unique().to_pylist()
        assert rows.num_rows == 100 + worker
        assert key in won[worker]
    # Version 0 is the empty table. One commit a winner: who lost has written nothing.
    assert table_version(lake, TABLE) == sum(map(len, won))
