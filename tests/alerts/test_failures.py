"""Incidents of runs: one for each failed task, with its cause if it could say so; over when a run succeeds."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from include.alerts.failures import (
    RunFacts,
    partition_of_run,
    record_run_failure,
    record_run_success,
    record_task_failure,
    record_task_loss,
)
from include.errors import ContractViolationError, SourceQueryError
from include.lake.incidents import open_incident, open_incidents, read_incidents
from include.lake.store import Lake
from include.workflow import Workflow


def run_of(step: str = "ingest", *, key: str | None = "2026-01-06", **changes: Any) -> RunFacts:
    known = {
        "dag_id": f"parcels.{step}",
        "run_id": f"manual__{step}",
        "partition_key": key,
        "conf": {},
        "run_after": None,
    }
    return RunFacts(**{**known, **changes})


def failed(lake: Lake, workflow: Workflow, run: RunFacts, states: Mapping[str, str]) -> list[tuple[str, str]]:
    record_run_failure(lake, workflow, run, task_states=states)
    return [(i.kind, i.subject) for i in open_incidents(lake)]


def test_a_failed_task_is_told_with_its_cause_and_where(lake: Lake, workflow: Workflow) -> None:
    error = SourceQueryError("table 'parcels' has no column 'depot'")
    record_task_failure(lake, workflow, run_of(), task_id="extract", error=error, triage="mend the query")
    (incident,) = open_incidents(lake)
    assert (incident.kind, incident.subject, incident.partition_key) == ("failed_task", "ingest.extract", "2026-01-06")
    assert incident.summary == "SourceQueryError: table 'parcels' has no column 'depot'"
    assert (incident.origin.dag_id, incident.origin.run_id, incident.origin.task_id) == (
        "parcels.ingest",
        "manual__ingest",
        "extract",
    )
    assert incident.details == {"triage": "mend the query"}


def test_the_text_of_a_strange_error_is_not_shown(lake: Lake, workflow: Workflow) -> None:
    """It could quote a row, or a password."""
    record_task_failure(lake, workflow, run_of(), task_id="extract", error=ValueError("could not convert 'Jane Doe'"))
    (incident,) = open_incidents(lake)
    assert incident.summary == "The task failed with ValueError: its log tells more."


def test_a_refused_partition_brings_its_counts_reasons_and_masked_rows(lake: Lake, workflow: Workflow) -> None:
    error = ContractViolationError(
        "not published", counts={"rows_in": 9}, reasons=[("depot: in set", 4)], samples=[{"depot": "Aaaa"}]
    )
    record_task_failure(lake, workflow, run_of(), task_id="validate", error=error)
    (incident,) = open_incidents(lake)
    assert (incident.kind, incident.counts) == ("failed_validation", {"rows_in": 9})
    assert incident.details == {"reasons": [["depot: in set", 4]], "samples": [{"depot": "Aaaa"}]}


def test_a_page_is_told_by_its_name_in_the_web_ui_not_by_a_path_of_this_machine(lake: Lake, workflow: Workflow) -> None:
    error = ContractViolationError("not published", page="/srv/updraft/data_docs/parcels/2026-01-06/r-1.html")
    assert str(error) == "not published\n  see /srv/updraft/data_docs/parcels/2026-01-06/r-1.html", (
        "where a log is read, so is the disk"
    )
    record_task_failure(lake, workflow, run_of(), task_id="validate", error=error)
    (incident,) = open_incidents(lake)
    assert incident.summary == "not published"
    assert incident.details["page"] == "2026-01-06/r-1.html"


def test_who_was_killed_is_found_by_the_run(lake: Lake, workflow: Workflow) -> None:
    states = {"extract": "success", "validate": "failed"}
    assert failed(lake, workflow, run_of(), states) == [("lost_task", "ingest.validate")]
    assert "its process was killed" in open_incidents(lake)[0].summary


def test_who_said_why_is_not_told_again_by_the_run(lake: Lake, workflow: Workflow) -> None:
    record_task_failure(lake, workflow, run_of(), task_id="validate", error=SourceQueryError("x"))
    assert failed(lake, workflow, run_of(), {"validate": "failed"}) == [("failed_task", "ingest.validate")]


def test_a_task_that_is_lost_again_and_again_is_one_incident(lake: Lake, workflow: Workflow) -> None:
    # the worker's loss calls twice: https://github.com/apache/airflow/issues/65400
    for is_retried in (True, True, False):
        record_task_loss(lake, workflow, run_of(), task_id="validate", is_retried=is_retried)
    assert failed(lake, workflow, run_of(), {"validate": "failed"}) == [("lost_task", "ingest.validate")]
    assert "Airflow tries it again by itself" in open_incidents(lake)[0].summary


def test_who_said_why_and_was_lost_then_is_one_incident(lake: Lake, workflow: Workflow) -> None:
    record_task_failure(lake, workflow, run_of(), task_id="validate", error=SourceQueryError("x"))
    assert record_task_loss(lake, workflow, run_of(), task_id="validate", is_retried=False) is None
    assert [i.kind for i in read_incidents(lake)] == ["failed_task"]


def test_mapped_tasks_are_one_incident(lake: Lake, workflow: Workflow) -> None:
    assert failed(lake, workflow, run_of("train"), {"tune_0": "failed", "tune_1": "failed"}) == [
        ("lost_task", "train.tune")
    ]


def test_a_run_can_fail_though_no_task_did(lake: Lake, workflow: Workflow) -> None:
    record_run_failure(lake, workflow, run_of(), task_states={"extract": "skipped"}, reason="timed_out")
    record_run_failure(lake, workflow, run_of(), task_states={"extract": "skipped"}, reason="timed_out")
    (incident,) = read_incidents(lake)
    assert (incident.kind, incident.subject) == ("failed_run", "ingest")
    assert "(timed_out)" in incident.summary


def test_a_success_ends_what_its_step_and_partition_had(lake: Lake, workflow: Workflow) -> None:
    for run in (run_of(), run_of(key="2026-01-07"), run_of("train")):
        record_task_loss(lake, workflow, run, task_id="t", is_retried=False)
    open_incident(
        lake,
        workflow="parcels",
        partition_key="2026-01-06",
        kind="missing_readings",
        subject="ingest",
        summary="s",
        counts={},
    )
    assert record_run_success(lake, workflow, run_of()) == 1
    assert {(i.kind, i.partition_key) for i in open_incidents(lake)} == {
        ("lost_task", "2026-01-07"),
        ("lost_task", ""),
        ("missing_readings", "2026-01-06"),  # closed by who opened it
    }


def test_a_good_run_ends_what_a_malformed_key_had(lake: Lake, workflow: Workflow) -> None:
    """Nothing of it can be mended: such a partition does not exist."""
    malformed = run_of(key=None, conf={"partition": "../../etc/passwd"})
    record_task_failure(lake, workflow, malformed, task_id="extract", error=SourceQueryError("that is no day"))
    record_task_loss(
        lake, workflow, run_of("monitor", key=None, conf={"partition": "x"}), task_id="t", is_retried=False
    )
    assert [i.partition_key for i in open_incidents(lake)] == ["", ""]
    assert record_run_success(lake, workflow, run_of()) == 1
    assert [i.subject for i in open_incidents(lake)] == ["monitor.t"]


def test_an_old_failure_that_was_mended_since_is_not_told_again(lake: Lake, workflow: Workflow) -> None:
    """A round of the watchdog sees the failed run for a day; a second run has mended its partition."""
    before = datetime.now(UTC) - timedelta(minutes=5)
    run = run_of(ended_at=before)
    record_run_failure(lake, workflow, run, task_states={"extract": "failed"})
    record_run_success(lake, workflow, run_of(run_id="manual__again"))
    assert failed(lake, workflow, run, {"extract": "failed"}) == []
    again = run_of(run_id="manual__later", ended_at=datetime.now(UTC) + timedelta(minutes=5))
    assert failed(lake, workflow, again, {"extract": "failed"}) == [("lost_task", "ingest.extract")]


@pytest.mark.parametrize(
    ("run", "key"),
    [
        (run_of(key="2026-01-06"), "2026-01-06"),
        (run_of(key=None, conf={"partition": "2026-01-07"}), "2026-01-07"),
        (run_of(key=None, run_after=datetime(2026, 1, 9, 3, tzinfo=UTC)), "2026-01-08"),
        (run_of(key=None), ""),
        (run_of(key=None, conf={"partition": "nonsense"}), ""),
        (run_of("monitor", key="2026-01-06"), "2026-01-06"),
        (run_of("train", key="2026-01-05"), ""),
        (run_of("deploy"), ""),
    ],
)
def test_the_partition_of_a_run(workflow: Workflow, run: RunFacts, key: str) -> None:
    assert partition_of_run(workflow, run) == key
