"""A replay publishes exactly what the mended suite accepts, asks no source, and does nothing the second time."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import ContractViolationError, PartitionError, PartitionNotFoundError, StaleWriterError
from include.lake.fencing import new_token
from include.lake.ledger import RUNS, latest_run, read_ledger
from include.lake.partitions import replace_partition
from include.lake.store import Lake, table_exists, table_version
from include.quality.publication import publish_partition
from include.quality.replay import ReplayReport, replay_partition
from include.quality.validation import validate_partition
from tests.factories import SUITE, declare_workflow, parcel_rows
from tests.forks import PROCESSES
from tests.quality.publishing import KEY, contents, digests, ledger_is_true, replay_and_die
from tests.quality.rows import changed, with_positions

DEPOTS, DISTANCES = ["north", "south", "east"], [0, 5000]
N_ROWS = 61
# What is wrong with which row: of 60 rows and a copy of the tenth, which comes last.
WEST, FAR, UNLABELLED, COPY = {0, 1, 2}, {1, 3, 4}, {5}, {60}


def suite(*, depots: list[str] = DEPOTS, farthest: float = 5000, minimum: int = 5) -> dict[str, Any]:
    content = json.loads(json.dumps(SUITE))
    rules = {rule["type"]: rule["kwargs"] for rule in content["expectations"]}
    rules["expect_table_row_count_to_be_between"]["min_value"] = minimum
    rules["expect_column_values_to_be_between"]["max_value"] = farthest
    rules["expect_column_values_to_be_in_set"]["value_set"] = depots
    return content


MENDED = suite(depots=[*DEPOTS, "west"])


def parcels(seed: int = 0) -> pa.Table:
    rows = changed(parcel_rows(n_rows=60, seed=seed), "depot", dict.fromkeys(WEST, "west"))
    rows = changed(changed(rows, "distance_km", dict.fromkeys(FAR, 9000.0)), "is_late", dict.fromkeys(UNLABELLED))
    return pa.concat_tables([rows, rows.slice(10, 1)])


def land(lake: Lake, rows: pa.Table | None = None) -> int:
    return replace_partition(
        lake, "parcels/raw", KEY, with_positions(parcels() if rows is None else rows), token=new_token()
    ).version


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "workflow"


@pytest.fixture
def replay(folder, lake):
    """Replay the partition by a suite."""

    def run(by: dict[str, Any], run_id: str = "replay", **arguments: Any) -> ReplayReport:
        given = {"token": new_token(), "try_id": "try", **arguments}
        return replay_partition(declare_workflow(folder, suite=by), KEY, lake=lake, run_id=run_id, **given)

    return run


@pytest.fixture
def published(folder, lake):
    """The partition as it was published by the suite that knows three depots."""
    workflow = declare_workflow(folder, suite=suite())
    report = validate_partition(workflow, KEY, lake=lake, raw_version=land(lake), run_id="ingest")
    return publish_partition(workflow, report, lake=lake, token=new_token(), run_id="ingest", try_id="try")


def positions(lake: Lake, table: str) -> set[int]:
    return set(contents(lake, table).column("source_position").to_pylist())


def everything(home: Path) -> dict[str, bytes]:
    """Every file of Updraft's home: what 'nothing was written' is held against."""
    return {str(path): path.read_bytes() for path in home.rglob("*") if path.is_file()}


def counts(report: ReplayReport) -> tuple[int, int, int]:
    return report.rows_healed, report.rows_still_quarantined, report.rows_newly_quarantined


@pytest.mark.usefixtures("published")
def test_a_mended_suite_heals_exactly_the_rows_that_it_now_accepts(lake, replay):
    assert positions(lake, "quarantine") == WEST | FAR | UNLABELLED
    report = replay(MENDED)
    assert positions(lake, "quarantine") == FAR | UNLABELLED
    assert positions(lake, "validated") == set(range(N_ROWS)) - FAR - UNLABELLED - COPY
    assert counts(report) == (2, 4, 0)
    assert (report.rows_in, report.rows_published, report.rows_quarantined, report.rows_duplicate) == (61, 56, 4, 1)
    assert report.is_changed
    assert report.is_of_this_run


@pytest.mark.usefixtures("published")
def test_the_ledger_has_one_line_more_that_is_true(lake, replay):
    replay(MENDED)
    line = latest_run(lake, "parcels", KEY)
    assert (line.run_id, line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (
        "replay",
        61,
        56,
        4,
        1,
    )
    assert read_ledger(lake, RUNS).column("run_id").to_pylist() == ["ingest", "replay"]
    assert ledger_is_true(lake)


@pytest.mark.usefixtures("published")
def test_rows_that_stay_in_quarantine_lose_the_reason_that_is_gone(lake, replay):
    replay(MENDED)
    reasons = {row["source_position"]: row["reasons"] for row in contents(lake, "quarantine").to_pylist()}
    far, unlabelled = "distance_km: expect_column_values_to_be_between", "is_late: expect_column_values_to_not_be_null"
    assert {position: [text.split(" (")[0] for text in texts] for position, texts in reasons.items()} == {
        **{position: [far] for position in FAR},
        **{position: [unlabelled] for position in UNLABELLED},
    }


@pytest.mark.usefixtures("published")
def test_twice_is_the_same_bytes_and_versions(lake, replay):
    replay(MENDED, "first")

    def state() -> tuple[object, ...]:
        tables = ("parcels/raw", "parcels/validated", "parcels/quarantine", RUNS)
        return (digests(lake), *(table_version(lake, table) for table in tables))

    before = state()
    for run_id, is_of_this_run in (("first", True), ("second", False)):
        again = replay(MENDED, run_id)
        assert state() == before
        assert (again.is_changed, again.is_of_this_run, counts(again)) == (False, is_of_this_run, (0, 4, 0))


@pytest.mark.usefixtures("published")
def test_the_same_suite_changes_nothing(lake, replay):
    report = replay(suite())
    assert (report.is_changed, report.is_of_this_run, counts(report)) == (False, False, (0, 6, 0))
    assert read_ledger(lake, RUNS).num_rows == 1


@pytest.mark.usefixtures("published")
def test_a_stricter_suite_takes_rows_back(lake, replay):
    near = contents(lake, "validated")
    too_far = {row["source_position"] for row in near.to_pylist() if row["distance_km"] > 500}
    assert too_far
    report = replay(suite(farthest=500))
    assert positions(lake, "quarantine") == WEST | FAR | UNLABELLED | too_far
    assert counts(report) == (0, 6, len(too_far))


@pytest.mark.usefixtures("published")
def test_a_dry_run_tells_the_same_and_writes_nothing(home, replay):
    before = everything(home)
    report = replay(MENDED, dry_run=True)
    assert counts(report) == (2, 4, 0)
    assert (report.is_changed, report.is_of_this_run) == (True, False)
    assert everything(home) == before


def test_a_dry_run_of_a_stopped_partition_writes_nothing(home, lake, replay):
    land(lake)
    before = everything(home)
    with pytest.raises(ContractViolationError, match=r"observed 60\); expectation 1 wants min_value=100$"):
        replay(suite(minimum=100), dry_run=True)
    assert everything(home) == before


def test_a_stopped_partition_is_published_once_the_suite_lets_it_through(lake, replay):
    land(lake)
    with pytest.raises(ContractViolationError, match="min_value=100"):
        replay(suite(minimum=100))
    assert not table_exists(lake, "parcels/validated")
    report = replay(MENDED)
    assert positions(lake, "validated") == set(range(N_ROWS)) - FAR - UNLABELLED - COPY
    assert (counts(report), report.is_changed) == ((56, 4, 0), True)


@pytest.mark.usefixtures("published")
def test_rows_that_landed_since_are_what_is_replayed(lake, replay):
    """They were stopped, for instance: nobody would publish them otherwise."""
    rows = changed(parcels(), "depot", {0: "north"}).slice(0, 60).take(list(reversed(range(60))))
    land(lake, rows)
    report = replay(suite())
    assert (report.rows_in, report.rows_duplicate) == (60, 0)
    # Places have changed, so that rows are known by their ids: the parcel that was in the west is healed.
    assert counts(report) == (1, 5, 0)


@pytest.mark.usefixtures("published")
def test_what_was_published_stays_when_the_suite_now_stops(lake, replay):
    before = digests(lake)
    with pytest.raises(ContractViolationError):
        replay(suite(minimum=100))
    assert digests(lake) == before
    assert read_ledger(lake, RUNS).num_rows == 1


def test_a_partition_of_which_nothing_landed_is_named(replay):
    with pytest.raises(
        PartitionNotFoundError, match=r"nothing of partition '2026-01-05' of 'parcels' has landed.* run parcels\.ingest"
    ):
        replay(MENDED)


def test_another_partitions_rows_do_not_count(folder, lake):
    land(lake)
    with pytest.raises(PartitionNotFoundError, match="'2026-01-06'"):
        replay_partition(declare_workflow(folder), "2026-01-06", lake=lake, token=new_token(), run_id="r", try_id="t")


def test_a_malformed_key_is_refused(folder, lake):
    with pytest.raises(PartitionError, match="is not a day"):
        replay_partition(declare_workflow(folder), "../../etc", lake=lake, token=new_token(), run_id="r", try_id="t")


@pytest.mark.usefixtures("published")
def test_an_older_try_is_fenced(lake, replay):
    old = new_token() - 1  # two tokens of one millisecond are in no order
    replay(MENDED, token=old + 1)
    with pytest.raises(StaleWriterError):
        replay(suite(), token=old)
    assert positions(lake, "quarantine") == FAR | UNLABELLED


@pytest.mark.claim("kills")
@pytest.mark.usefixtures("published")
@pytest.mark.parametrize(
    "moment", ["publish.before_quarantine", "publish.before_validated", "publish.before_ledger", "publish.after_ledger"]
)
def test_killed_anywhere_the_next_try_completes_it_and_knows_that_the_run_did_it(home, folder, lake, replay, moment):
    """Without `is_of_this_run`, a partition that the killed try had published would get no asset event."""
    process = PROCESSES.Process(target=replay_and_die, args=(home, folder, MENDED, moment))
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    report = replay(MENDED)
    assert (report.is_changed, report.is_of_this_run) == (moment != "publish.after_ledger", True)
    assert positions(lake, "quarantine") == FAR | UNLABELLED
    assert read_ledger(lake, RUNS).column("run_id").to_pylist() == ["ingest", "replay"]
    assert ledger_is_true(lake)
