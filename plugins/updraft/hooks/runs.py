"""
What the watchdog asks Airflow of runs, through the task API: no database, no login.

Airflow 3.3.2 offers counts and states to tasks, but no list of failed runs: it is put together here.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowRuntimeError
from airflow.sdk.execution_time import task_runner
from airflow.sdk.execution_time.comms import DagRunResult, GetDagRun
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

if TYPE_CHECKING:
    from include.alerts.failures import RunFacts


def facts_of_run(dag_run: Any) -> RunFacts:
    """
    What is known of a run.

    :param dag_run: Airflow's record of it
    """
    from include.alerts.failures import RunFacts

    return RunFacts(
        dag_id=dag_run.dag_id,
        run_id=dag_run.run_id,
        partition_key=getattr(dag_run, "partition_key", None),
        conf=dag_run.conf or {},
        run_after=dag_run.run_after,
        ended_at=getattr(dag_run, "end_date", None),
    )


def task_states(dag_id: str, run_id: str) -> dict[str, str]:
    """
    States of a run's tasks; a mapped task as `name_index`.

    :param dag_id: id of its Dag
    :param run_id: its id
    """
    states: dict[str, str] = RuntimeTaskInstance.get_task_states(dag_id, run_ids=[run_id]).get(run_id, {})
    return states


def count_failures(dag_id: str) -> tuple[int, int]:
    """
    How many runs and how many tasks of a Dag are failed.

    :param dag_id: id of a Dag
    """
    n_runs = RuntimeTaskInstance.get_dr_count(dag_id, states=["failed"])
    return n_runs, RuntimeTaskInstance.get_ti_count(dag_id, states=["failed"])


def failed_runs(dag_id: str, *, n_failed: int) -> Iterator[tuple[RunFacts, dict[str, str]]]:
    """
    The runs of a Dag that have a failed task, also those that go on with others; and those that failed without one, by
    taking too long.

    :param dag_id: id of a Dag
    :param n_failed: how many of its runs are failed
    """
    silent = []
    for run_id, states in RuntimeTaskInstance.get_task_states(dag_id).items():
        if "failed" not in states.values():
            silent += [(run_id, states)] if set(states.values()) != {"success"} else []
        elif (dag_run := _run(dag_id, run_id)) is not None:
            n_failed -= dag_run.state == "failed"
            yield facts_of_run(dag_run), states
    for run_id, states in silent:
        # Each costs a request, and there are none on most days.
        if n_failed <= 0:
            return
        dag_run = _run(dag_id, run_id)
        if dag_run is not None and dag_run.state == "failed":
            n_failed -= 1
            yield facts_of_run(dag_run), states


def _run(dag_id: str, run_id: str) -> DagRunResult | None:
    found = task_runner.SUPERVISOR_COMMS.send(GetDagRun(dag_id=dag_id, run_id=run_id))
    return found if isinstance(found, DagRunResult) else None


def is_successful(dag_id: str, run_id: str) -> bool:
    """
    Whether a run has succeeded; not, if it is gone.

    :param dag_id: id of its Dag
    :param run_id: its id
    """
    try:
        return str(RuntimeTaskInstance.get_dagrun_state(dag_id, run_id)) == "success"
    except AirflowRuntimeError:
        return False


def is_paused(dag_id: str) -> bool:
    """
    Whether a Dag is paused, or not there: then nobody waits for its partitions.

    :param dag_id: id of a Dag
    """
    try:
        return bool(RuntimeTaskInstance.get_dag(dag_id).is_paused)
    except AirflowRuntimeError:
        return True
