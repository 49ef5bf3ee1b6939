"""What is published is what was judged; a run killed anywhere is completed by running it again."""

from __future__ import annotations

import signal
from dataclasses import asdict, replace
from pathlib import Path

import pyarrow as pa
import pytest

from include.errors import ConcurrentWriteError, ContractViolationError, CorruptDataError, StaleWriterError
from include.lake.fencing import new_token
from include.lake.files import put_file
from include.lake.ledger import RUNS, latest_run, read_ledger
from include.lake.partitions import replace_partition
from include.lake.store import table_exists, table_version
from include.quality.publication import publish_partition
from include.quality.report import ValidationReport
from include.quality.split_files import load_split, store_split
from include.quality.validation import validate_partition
from tests.factories import declare_workflow, parcel_rows
from tests.quality.publishing import KEY, contents, digests, ledger_is_true, publish, publish_naively, run_killed
from tests.quality.rows import changed, with_positions


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "workflow"


@pytest.fixture
def validate(folder, lake):
    """Archive rows and validate them."""

    def validate(rows: pa.Table, run_id: str = "run") -> ValidationReport:
        commit = replace_partition(lake, "parcels/raw", KEY, with_positions(rows), token=new_token())
        return validate_partition(declare_workflow(folder), KEY, lake=lake, raw_version=commit.version, run_id=run_id)

    return validate


def spoiled(seed: int, n_bad: int) -> pa.Table:
    return changed(parcel_rows(n_rows=60, seed=seed), "is_late", dict.fromkeys(range(n_bad)))


def test_each_row_is_where_the_ledger_says(folder, lake, validate):
    report = validate(pa.concat_tables([spoiled(1, 3), spoiled(1, 3).slice(10, 2)]))
    line = publish(folder, lake, report, "run")
    assert (report.rows_in, report.rows_published, report.rows_quarantined, report.rows_duplicate) == (62, 57, 3, 2)
    assert asdict(line) | {"rows_in": 62, "rows_published": 57, "rows_quarantined": 3, "rows_duplicate": 2} == asdict(
        line
    )
    assert line == latest_run(lake, "parcels", KEY)
    assert ledger_is_true(lake)
    assert contents(lake, "validated").column("source_position").to_pylist() == list(range(3, 60))


def test_the_tables_hold_the_columns_of_the_contract(folder, lake, validate):
    publish(folder, lake, validate(spoiled(1, 3)), "run-7")
    own = parcel_rows().schema
    validated, quarantine = contents(lake, "validated"), contents(lake, "quarantine")
    assert set(validated.column_names) == {*own.names, "row_id", "event_time", "known_time", "source_position"}
    assert set(quarantine.column_names) == {*own.names, "row_id", "reasons", "source_position", "run_id"}
    assert {str(validated.schema.field(name).type) for name in ("event_time", "known_time")} == {
        "timestamp[us, tz=UTC]"
    }
    assert validated.column("event_time").equals(validated.column("sent_at"))
    assert quarantine.column("reasons").to_pylist() == [["is_late: expect_column_values_to_not_be_null"]] * 3
    assert quarantine.column("run_id").to_pylist() == ["run-7"] * 3
    assert not set(validated.column("row_id").to_pylist()) & set(quarantine.column("row_id").to_pylist())


def test_a_source_may_call_its_times_as_we_do(folder, lake):
    rows = with_positions(parcel_rows(n_rows=9).rename_columns({"sent_at": "event_time", "recorded_at": "known_time"}))
    workflow = declare_workflow(folder)
    source = workflow.source.model_copy(update={"event_time": "event_time", "known_time": "known_time"})
    workflow = declare_workflow(folder, source=source)
    commit = replace_partition(lake, "parcels/raw", KEY, rows, token=new_token())
    report = validate_partition(workflow, KEY, lake=lake, raw_version=commit.version, run_id="r")
    assert publish_partition(workflow, report, lake=lake, token=new_token(), run_id="r", try_id="t").rows_published == 9


def test_a_repeated_run_changes_no_byte(folder, lake, validate):
    publish(folder, lake, validate(spoiled(1, 3), "first"), "first")
    before = digests(lake), table_version(lake, "parcels/validated"), table_version(lake, "parcels/quarantine")
    publish(folder, lake, validate(spoiled(1, 3), "second"), "second")
    publish(folder, lake, validate(spoiled(1, 3), "second"), "second")
    assert before == (
        digests(lake),
        table_version(lake, "parcels/validated"),
        table_version(lake, "parcels/quarantine"),
    )
    assert read_ledger(lake, RUNS).column("run_id").to_pylist() == ["first", "second"]


def test_a_stopped_partition_publishes_nothing(lake, validate):
    with pytest.raises(ContractViolationError) as caught:
        validate(parcel_rows(n_rows=3))
    first, second, last = str(caught.value).splitlines()
    assert first == f"parcels {KEY} is not published:"
    assert (
        second == "  expect_table_row_count_to_be_between: does not hold (observed 3); expectation 1 wants min_value=5"
    )
    assert Path(last.removeprefix("  see ")).is_file()
    assert not table_exists(lake, "parcels/validated")


def test_a_split_changed_by_hand_is_refused(folder, lake, validate):
    report = validate(spoiled(1, 3))
    path = Path(report.split_uri)
    path.write_bytes(path.read_bytes().replace(b"quarantined", b"published__"))
    with pytest.raises(CorruptDataError, match="was changed after validation"):
        publish(folder, lake, report, "run")
    assert not table_exists(lake, "parcels/validated")


def test_another_partitions_split_is_refused(folder, lake, validate):
    other = validate(spoiled(2, 5))
    report = validate(spoiled(1, 3))
    with pytest.raises(CorruptDataError, match=r"states \(60, 57, 3, 0\) rows .* holds \(60, 55, 5, 0\)"):
        publish(folder, lake, replace(report, split_digest=other.split_digest), "run")


def test_a_split_that_misses_a_row_is_refused(folder, lake, validate):
    report = validate(spoiled(1, 3))
    short = load_split(lake, "parcels", KEY, report.split_digest).slice(1)
    _, digest = store_split(lake, "parcels", KEY, short)
    with pytest.raises(CorruptDataError, match="validate it again"):
        publish(folder, lake, replace(report, split_digest=digest, rows_in=59, rows_quarantined=2), "run")


def test_raw_that_is_not_what_was_judged_is_refused(folder, lake, validate):
    report = validate(spoiled(1, 3))
    changed_report = validate(spoiled(2, 3))
    with pytest.raises(CorruptDataError, match="is not what was validated"):
        publish(folder, lake, replace(report, raw_version=changed_report.raw_version), "run")


def test_a_stale_try_is_refused(folder, lake, validate):
    old_token = new_token()
    report = validate(spoiled(1, 3))
    publish(folder, lake, report, "run")
    with pytest.raises(StaleWriterError):
        publish_partition(declare_workflow(folder), report, lake=lake, token=old_token, run_id="run", try_id="old")


def test_a_try_that_waited_while_older_rows_were_published_comes_again(folder, lake, validate):
    """Its token is from when its run was made; the rows that it brings are newer all the same."""
    token_of_a_waiting_run = new_token()
    publish(folder, lake, validate(spoiled(1, 3)), "replay")
    newer = validate(spoiled(2, 4))
    with pytest.raises(ConcurrentWriteError, match="the next try publishes the newer ones"):
        publish_partition(
            declare_workflow(folder), newer, lake=lake, token=token_of_a_waiting_run, run_id="run", try_id="1"
        )
    assert publish(folder, lake, newer, "run").rows_quarantined == 4


def test_a_publication_that_is_cleared_later_does_not_bring_back_earlier_rows(folder, lake, validate):
    """A person clears the last task of an older run: its token is the newest, its rows are not."""
    earlier, later = validate(spoiled(1, 3)), validate(spoiled(2, 4))
    publish(folder, lake, earlier, "earlier")
    publish(folder, lake, later, "later")
    seen, line = digests(lake), latest_run(lake, "parcels", KEY)
    with pytest.raises(
        StaleWriterError, match=r"rows that landed after those of this run .*: clear the run's first task too"
    ):
        publish(folder, lake, earlier, "earlier")
    assert (digests(lake), latest_run(lake, "parcels", KEY)) == (seen, line)
    same_again = validate(spoiled(1, 3))
    publish(folder, lake, same_again, "landed again")
    # The same rows from an earlier landing are no step back.
    assert publish(folder, lake, earlier, "earlier").rows_quarantined == 3


def test_split_files_of_equal_splits_are_one_file(lake, validate):
    assert validate(spoiled(1, 3), "a").split_uri == validate(spoiled(1, 3), "b").split_uri
    with pytest.raises(Exception, match="never change"):
        put_file(lake, validate(spoiled(1, 3)).split_uri.removeprefix(f"{lake.uri}/"), b"other")


KILLS_A_POINT = 6  # of four points: 24 kills of a publication in all


@pytest.mark.claim("kills")
@pytest.mark.parametrize(
    "moment", ["publish.before_quarantine", "publish.before_validated", "publish.before_ledger", "publish.after_ledger"]
)
def test_killed_anywhere_readers_see_old_or_new_and_a_rerun_completes(folder, lake, validate, moment):
    states = []
    for seed in (0, 1):
        publish(folder, lake, validate(spoiled(seed, 3 + seed)), f"start-{seed}")
        states.append(digests(lake))
    for round_ in range(KILLS_A_POINT):
        seed = round_ % 2
        old, new = states[1 - seed], states[seed]
        report = validate(spoiled(seed, 3 + seed))
        assert run_killed(publish, folder, lake, report, f"round-{round_}", moment) == -signal.SIGKILL
        seen = digests(lake)
        assert all(digest in choices for digest, *choices in zip(seen, old, new, strict=True))
        assert ledger_is_true(lake)
        publish(folder, lake, report, f"round-{round_}")
        assert digests(lake) == new
        assert ledger_is_true(lake)
        assert latest_run(lake, "parcels", KEY).run_id == f"round-{round_}"
    assert read_ledger(lake, RUNS).num_rows == len(states) + KILLS_A_POINT


@pytest.mark.claim("kills")
def test_control_the_ledger_first_lies_after_a_kill(folder, lake, validate):
    report = validate(spoiled(0, 3))
    publish(folder, lake, report, "start")
    assert (
        run_killed(publish_naively, folder, lake, validate(spoiled(1, 4)), "naive", "publish.before_validated")
        == -signal.SIGKILL
    )
    assert not ledger_is_true(lake)
