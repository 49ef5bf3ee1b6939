"""
What a person sees of a quarantined partition: all reasons counted, the first rows masked, and no more read than is
shown.
"""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pytest

import include.quality.quarantine as quarantine
from include.errors import PartitionError, PartitionNotFoundError
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from include.quality.standing import choose_partitions, read_standings
from tests.factories import declare_workflow
from tests.quality.partitions import KEY, day_rows, key_of, land, publish
from tests.quality.rows import changed
from tests.sources.survey.people import declare as declare_survey

IN_SET = {
    "type": "expect_column_values_to_be_in_set",
    "kwargs": {"column": "depot", "value_set": ["north", "south", "east"]},
}
NEAR = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "distance_km", "max_value": 5000}}
DEPOT, DISTANCE = "depot: expect_column_values_to_be_in_set", "distance_km: expect_column_values_to_be_between"


def spoiled(*, n_unknown: int, n_far: int, n_rows: int = 40) -> pa.Table:
    """The first rows are from an unknown depot, the last of those and some more too far away."""
    rows = changed(day_rows(0, n_rows), "depot", dict.fromkeys(range(n_unknown), "Zbigniew"))
    return changed(rows, "distance_km", dict.fromkeys(range(n_unknown - 1, n_unknown - 1 + n_far), 9000.0))


@pytest.fixture
def line(lake, tmp_path):
    """The ledger's line of a partition with three rows of one reason and four of another; one row has both."""
    return publish(lake, tmp_path, spoiled(n_unknown=3, n_far=4), expectations=[IN_SET, NEAR])


def test_reasons_are_counted_over_all_rows_and_rows_are_masked(lake, tmp_path, line):
    found = quarantine.read_quarantine(lake, declare_workflow(tmp_path / "w"), line, n_rows=2)
    assert found.reasons == [(DISTANCE, 4), (DEPOT, 3)]
    assert [(row["source_position"], row["depot"], row["reasons"]) for row in found.rows] == [
        ("0", "Aaaaaaaa", DEPOT),
        ("1", "Aaaaaaaa", DEPOT),
    ]
    assert found.run_ids == ["test", "test"]
    assert not {"row_id", "run_id"} & set(found.rows[0])


def test_rows_of_one_reason(lake, tmp_path, line):
    found = quarantine.read_quarantine(lake, declare_workflow(tmp_path / "w"), line, n_rows=50, reason=DISTANCE)
    assert [row["source_position"] for row in found.rows] == ["2", "3", "4", "5"]
    assert found.reasons == [(DISTANCE, 4), (DEPOT, 3)]


def test_of_a_survey_not_even_the_shape_is_shown(lake, tmp_path, line):
    found = quarantine.read_quarantine(
        lake, declare_survey(tmp_path / "panel").model_copy(update={"name": "parcels"}), line, n_rows=1
    )
    assert {value for name, value in found.rows[0].items() if name not in ("reasons", "source_position")} == {"•••"}


def test_no_more_rows_are_read_than_are_shown(lake, tmp_path, line, monkeypatch):
    """A partition of a million refused rows is not held in memory: reading ends with the batch that fills the page."""
    whole = quarantine.scan_partition(lake, "parcels/quarantine", KEY).read_all()
    n_read = []

    def scan(*_, columns=None, **__):
        batches = whole.select(columns or whole.column_names).to_batches() * 1000

        def counted():
            for batch in batches:
                n_read.append(columns is None)
                yield batch

        return pa.RecordBatchReader.from_batches(batches[0].schema, counted())

    monkeypatch.setattr(quarantine, "scan_partition", scan)
    found = quarantine.read_quarantine(lake, declare_workflow(tmp_path / "w"), line, n_rows=8)
    assert found.reasons == [(DISTANCE, 4000), (DEPOT, 3000)]
    assert len(found.rows) == 8
    assert sum(n_read) == 2  # six rows a batch


def test_where_partitions_stand(lake, tmp_path, line):
    land(lake, day_rows(1, 7), key=key_of(1))
    standings = read_standings(lake, "parcels")
    assert [(s.partition_key, s.line, s.rows_waiting, s.is_held_back) for s in standings] == [
        (KEY, line, 0, True),
        (key_of(1), None, 7, True),
    ]
    land(lake, day_rows(0, 9))
    assert [s.rows_waiting for s in read_standings(lake, "parcels")] == [9, 7]


def test_which_partitions_a_replay_is_about(lake, tmp_path: Path, line):
    publish(lake, tmp_path, day_rows(1), key=key_of(1))
    land(lake, day_rows(2), key=key_of(2))
    workflow = declare_workflow(tmp_path / "w")
    assert choose_partitions(lake, workflow) == [key_of(0), key_of(2)]
    assert choose_partitions(lake, workflow, keys=[key_of(2), key_of(1), key_of(2)]) == [key_of(1), key_of(2)]
    assert choose_partitions(lake, workflow, first=key_of(1)) == [key_of(1), key_of(2)]
    assert choose_partitions(lake, workflow, first=key_of(0), last=key_of(1)) == [key_of(0), key_of(1)]
    with pytest.raises(PartitionNotFoundError, match=r"nothing of parcels 2026-02-01 has landed.*run parcels\.ingest"):
        choose_partitions(lake, workflow, keys=["2026-02-01"])
    with pytest.raises(PartitionError, match="ends before it begins"):
        choose_partitions(lake, workflow, first=key_of(1), last=key_of(0))
    with pytest.raises(PartitionError, match="a range is given too"):
        choose_partitions(lake, workflow, keys=[key_of(0)], last=key_of(1))


def test_a_partition_that_was_erased_from_its_old_version_is_read_as_it_is_now(lake, tmp_path, line):
    for file in Path(lake.uri, "parcels/quarantine", KEY).glob("*.parquet"):
        file.unlink()
    rows = pa.table({"reasons": [["a rule"]], "source_position": [7], "run_id": ["later"]})
    replace_partition(lake, "parcels/quarantine", KEY, rows, token=new_token())
    found = quarantine.read_quarantine(lake, declare_workflow(tmp_path / "w"), line, n_rows=5)
    assert (found.reasons, found.run_ids) == ([("a rule", 1)], ["later"])
