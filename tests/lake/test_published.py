"""Up to when there are rows to train on."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from include.lake.ledger import append_run
from include.lake.published import ends_of_published
from include.lake.store import Lake
from include.workflow import Workflow
from tests.factories import days, parcel_rows
from tests.modeling.published import publish, run_record, validated, write_rows


def test_partitions_without_rows_and_stopped_ones_are_nothing_to_train_on(workflow: Workflow, lake: Lake) -> None:
    monday, tuesday, wednesday = days(3)
    rows = validated(parcel_rows(day=monday, n_rows=5))
    publish(workflow, lake, monday, rows)
    publish(workflow, lake, tuesday, rows[:0])
    commit = write_rows(workflow, lake, wednesday, rows[:0])
    append_run(lake, replace(run_record(workflow, commit), rows_in=5, status="stopped"))
    assert ends_of_published(lake, workflow.name, every="day") == [monday + timedelta(days=1)]
    assert ends_of_published(lake, workflow.name, every="hour") == [], "partitioned otherwise since"
