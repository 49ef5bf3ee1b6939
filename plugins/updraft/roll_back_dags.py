"""The Dag that withdraws a champion: `roll_back_model`, by hand, for all workflows."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from airflow.sdk import DAG, Param

from include.workflow import Workflow
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import TellOfSuccess, task_callbacks
from updraft.operators.roll_back import RollBackOperator


def build_roll_back_model(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `roll_back_model`: one task, which lets an earlier champion answer again.

    :param workflows: the declared ones, which the form offers
    :param doc: the Dag file's docstring, shown in the web UI
    """
    names = [workflow.name for workflow in workflows]
    params = {
        "workflow": Param(type="string", enum=names, title="Workflow", description_md="Whose champion to withdraw."),
        "to_version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[1-9][0-9]{0,9}$",
            title="To version",
            description_md="An earlier champion. Empty: the one that the present champion replaced.",
        ),
        "to_time": Param(
            None,
            type=["null", "string"],
            format="date-time",
            title="To time",
            description_md="Instead of a version: whichever was champion at this moment.",
        ),
        "reason": Param(
            type="string", minLength=3, maxLength=300, title="Reason", description_md="Stands in `ledger/promotions`."
        ),
    }
    with DAG(
        "roll_back_model",
        description="Let an earlier champion answer again",
        doc_md=doc,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["updraft", "models"],
        dagrun_timeout=RUN_TIMEOUT,
        params=params,
        default_args={**TASK_DEFAULTS, **task_callbacks(among=workflows)},
    ) as dag:
        RollBackOperator(task_id="roll_back", workflows=workflows, on_success_callback=TellOfSuccess(among=workflows))
    return dag
