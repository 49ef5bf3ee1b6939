"""Which partition a run works on, whatever started it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest

from include.errors import PartitionError
from tests.factories import declare_workflow
from updraft.periods import last_window_before, resolve_as_of, resolve_partition

RUN_AFTER = datetime(2026, 3, 18, 14, 30, tzinfo=UTC)  # a Wednesday


def run(*, key=None, conf=None, **params):
    """The context of a run: with a key (cron, backfill, asset) or without (by hand, REST with a null logical date)."""
    conf = conf or {}
    known = {"partition": None, "as_of": None, **params}
    return {
        "partition_key": key,
        "params": {**known, **conf},
        "dag": SimpleNamespace(params=known),
        "dag_run": SimpleNamespace(run_after=RUN_AFTER, conf=conf),
    }


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (run(key="2026-03-10"), "2026-03-10"),
        (run(key="2026-03-10", partition="2026-01-01"), "2026-03-10"),
        (run(partition="2026-01-01"), "2026-01-01"),
        (run(), "2026-03-17"),
    ],
    ids=["the run's key", "the key wins over the form", "the form", "neither: the last one that is over"],
)
def test_partition_of_a_run(context, expected):
    assert resolve_partition(context, every="day").key == expected


def test_retry_days_later_works_on_the_same_partition():
    """The fallback looks at when the run was created, never at now."""
    assert resolve_partition(run(), every="week").key == "2026-03-09"


@pytest.mark.parametrize(
    "key",
    ["../x", "2026-3-10", "{{ ds }}", "2026-03-10; DROP TABLE flights", "\x00", "2026-03-10T00:00:00", "9999-12-31"],
)
def test_hostile_keys_are_refused(key):
    with pytest.raises(PartitionError, match="is not a day"):
        resolve_partition(run(partition=key), every="day")


def test_unknown_conf_keys_are_refused():
    with pytest.raises(PartitionError, match=r"unknown keys \['partitoin'\]: known params are as_of, partition"):
        resolve_partition(run(conf={"partitoin": "2026-03-10"}), every="day")


def test_partition_before_the_start_is_refused():
    with pytest.raises(PartitionError, match="before the workflow's start 2026-03-11"):
        resolve_partition(run(key="2026-03-10"), every="day", start=datetime(2026, 3, 11, tzinfo=UTC))


def test_partition_that_is_not_over_is_refused():
    today = datetime.now(UTC)
    with pytest.raises(PartitionError, match="is not over until"):
        resolve_partition(run(key=f"{today:%Y-%m-%d}"), every="day")


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (run(key="2026-03-09"), datetime(2026, 3, 16, tzinfo=UTC)),
        (run(as_of="2026-03-14"), datetime(2026, 3, 14, tzinfo=UTC)),
        (run(), datetime(2026, 3, 16, tzinfo=UTC)),
    ],
    ids=["the period's end", "the form", "neither: the last period that is over"],
)
def test_as_of_of_a_training(workflow, context, expected):
    assert resolve_as_of(context, workflow) == expected


@pytest.mark.parametrize("text", ["yesterday", "2026-02-30", "2026-03-14T00:00:00", "2026-03-14' --"])
def test_malformed_as_of_is_refused(workflow, text):
    with pytest.raises(PartitionError, match="is no date: write it like"):
        resolve_as_of(run(as_of=text), workflow)


def test_as_of_in_the_future_is_refused(workflow):
    with pytest.raises(PartitionError, match="lies in the future"):
        resolve_as_of(run(as_of=f"{datetime.now(UTC) + timedelta(days=2):%Y-%m-%d}"), workflow)


@pytest.mark.parametrize(
    ("every", "expected"),
    [("hour", "2026-03-18T13"), ("day", "2026-03-17"), ("week", "2026-03-09"), ("month", "2026-02")],
)
def test_last_window_is_over(every, expected):
    assert last_window_before(every, RUN_AFTER).key == expected


@pytest.mark.parametrize(
    ("requested", "expected"),
    [
        (None, datetime(2026, 3, 9, tzinfo=UTC)),
        ("2026-03-11T00:00:00+00:00", datetime(2026, 3, 11, tzinfo=UTC)),
        ("2026-03-01T00:00:00+00:00", datetime(2026, 3, 9, tzinfo=UTC)),
    ],
    ids=["its period is over", "the monitor asks for newer rows", "it never asks for older ones"],
)
def test_a_training_that_the_monitor_asked_for_is_as_of_its_request(tmp_path, requested, expected):
    assert resolve_as_of(run(key="2026-03-02"), declare_workflow(tmp_path), requested=requested) == expected


@pytest.mark.parametrize(("requested", "said"), [("soon", "is no time"), ("9998-01-01", "lies in the future")])
def test_hostile_requests_are_refused(tmp_path, requested, said):
    with pytest.raises(PartitionError, match=said):
        resolve_as_of(run(key="2026-03-02"), declare_workflow(tmp_path), requested=requested)
