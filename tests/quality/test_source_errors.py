"""What the source says of a row: where it is from, and why it is no whole one."""

from __future__ import annotations

import pyarrow as pa

from include.lake.partitions import read_partition, replace_partition
from include.quality.publication import publish_partition
from include.quality.validation import validate_partition
from tests.factories import declare_workflow, parcel_rows
from tests.quality.rows import ROW_COUNT, reasons_by_position, with_positions

KEY = "2026-01-05"


def broken_rows(n_rows: int) -> pa.Table:
    """Lines that could not be read: no value at all."""
    return pa.table({field.name: pa.nulls(n_rows, field.type) for field in parcel_rows(n_rows=1).schema})


def with_source(rows: pa.Table, name: str, error: str | None = None) -> pa.Table:
    rows = rows.append_column("source_name", pa.array([name] * rows.num_rows, pa.string()))
    return rows.append_column("source_error", pa.array([error] * rows.num_rows, pa.string()))


def test_rows_that_the_source_could_not_make_are_quarantined_each(split_rows):
    """Three unreadable lines are the same to the eye, and still three rows."""
    good = with_source(parcel_rows(n_rows=5), "a.csv")
    bad = with_source(broken_rows(3), "b.csv", "line has 3 fields, 7 are declared")
    split = split_rows([ROW_COUNT], pa.concat_tables([good, bad]))
    assert (split.count("published"), split.count("quarantined"), split.count("duplicate")) == (5, 3, 0)
    reasons = reasons_by_position(split.table)
    assert set(reasons) == {5, 6, 7}
    assert all("source: line has 3 fields, 7 are declared" in found for found in reasons.values())


def test_control_without_an_error_equal_rows_are_duplicates(split_rows):
    split = split_rows([ROW_COUNT], pa.concat_tables([parcel_rows(n_rows=5), broken_rows(3)]))
    assert split.count("duplicate") == 2


def test_the_same_row_in_two_files_is_a_duplicate(split_rows):
    rows = parcel_rows(n_rows=5)
    split = split_rows([ROW_COUNT], pa.concat_tables([with_source(rows, "a.csv"), with_source(rows, "b.csv")]), key=())
    assert (split.count("published"), split.count("duplicate")) == (5, 5)


def test_published_and_quarantined_rows_tell_where_they_are_from(tmp_path, lake):
    workflow = declare_workflow(tmp_path / "w")
    rows = pa.concat_tables(
        [with_source(parcel_rows(n_rows=9), "a.csv"), with_source(broken_rows(1), "b.csv", "bytes are not UTF-8")]
    )
    version = replace_partition(lake, "parcels/raw", KEY, with_positions(rows), token=1).version
    report = validate_partition(workflow, KEY, lake=lake, raw_version=version, run_id="r")
    publish_partition(workflow, report, lake=lake, token=1, run_id="r", try_id="t")
    validated, quarantine = (read_partition(lake, f"parcels/{table}", KEY) for table in ("validated", "quarantine"))
    assert set(validated["source_name"].to_pylist()) == {"a.csv"}
    assert quarantine["source_name"].to_pylist() == ["b.csv"]
    assert "source_error" not in {*validated.column_names, *quarantine.column_names}
