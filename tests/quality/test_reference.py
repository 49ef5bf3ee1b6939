"""Referential rules: what another workflow has published by the partition's end, and not what it publishes later."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from include.errors import ContractViolationError
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from tests.factories import START
from tests.quality.partitions import day_rows, key_of, land, publish, validate
from tests.quality.rows import NOT_NULL, replace_column


def exists(**changes):
    kwargs = {"column": "depot", "other_workflow": "depots", "other_column": "name"} | changes
    return {"type": "expect_column_values_to_exist_in_table", "kwargs": kwargs}


def open_depots(lake, *names, day=0, kind=None):
    """Publish depots that opened on some day."""
    rows = {
        "name": pa.array(names, kind),
        "event_time": pa.array([START + timedelta(days=day)] * len(names), pa.timestamp("us", tz="UTC")),
    }
    replace_partition(lake, "depots/validated", key_of(day), pa.table(rows), token=new_token())


def judge(lake, folder, rows, expectation, *, day=1):
    return validate(lake, folder, land(lake, rows, key=key_of(day)), expectations=[NOT_NULL, expectation])


def test_a_row_of_an_unknown_depot_is_quarantined(lake, tmp_path):
    open_depots(lake, "north", "south")
    rows = day_rows(1)
    n_east = rows["depot"].to_pylist().count("east")
    record = publish(lake, tmp_path, rows, key=key_of(1), expectations=[NOT_NULL, exists()])
    assert n_east > 0
    assert (record.rows_quarantined, record.rows_published) == (n_east, 40 - n_east)


def test_a_depot_that_opens_later_is_unknown_however_late_one_asks(lake, tmp_path):
    open_depots(lake, "north", "south")
    before = judge(lake, tmp_path, day_rows(1), exists())
    open_depots(lake, "east", day=2)
    after = judge(lake, tmp_path, day_rows(1), exists())
    assert before.split_digest == after.split_digest
    assert judge(lake, tmp_path, day_rows(2), exists(), day=2).rows_quarantined == 0


def test_no_value_is_not_unknown(lake, tmp_path):
    open_depots(lake, "north", None)
    rows = replace_column(day_rows(1), "depot", [None, "east", *["north"] * 38])
    report = judge(lake, tmp_path, rows, exists())
    assert (report.rows_quarantined, report.failed) == (1, ("depot: expect_column_values_to_exist_in_table",))


def test_too_few_known_values_stop_where_the_suite_says_how_many(lake, tmp_path):
    open_depots(lake, "north")
    rows = replace_column(day_rows(1), "depot", ["east"] * 8 + ["north"] * 32)
    assert judge(lake, tmp_path, rows, exists(mostly=0.8)).rows_quarantined == 8
    with pytest.raises(ContractViolationError, match=r"holds for 80\.00% of 40 values, and 90\.00% must pass"):
        judge(lake, tmp_path, rows, exists(mostly=0.9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"other_workflow": "depot"}, "could not be judged: .*'depot/validated'"),
        ({"other_column": "title"}, "table 'depots/validated' has no column 'title': it has name"),
        ({"column": "parcel_id"}, "column 'parcel_id' is int64, and depots.name is string: cast one in its query"),
        ({"column": "dept"}, "there is no column 'dept': did you mean 'depot'?"),
    ],
)
def test_a_table_or_column_that_is_not_there_stops_even_where_it_would_warn(lake, tmp_path, changes, message):
    open_depots(lake, "north")
    with pytest.raises(ContractViolationError, match=message):
        judge(lake, tmp_path, day_rows(1), exists(**changes) | {"meta": {"severity": "warn"}})


def test_a_table_of_its_own_counts_only_before_the_partition(lake, tmp_path):
    """Else a day that is judged again would find its own rows."""
    own = exists(other_workflow="parcels", other_column="depot")
    publish(lake, tmp_path, replace_column(day_rows(0), "depot", ["north"] * 40))
    publish(lake, tmp_path, day_rows(1), key=key_of(1))
    n_new = sum(name != "north" for name in day_rows(1)["depot"].to_pylist())
    assert judge(lake, tmp_path, day_rows(1), own).rows_quarantined == n_new
