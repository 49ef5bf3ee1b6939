"""The Dag `replay_quarantine`, one for all workflows."""

from __future__ import annotations

from collections.abc import Sequence

from airflow.sdk import DAG, Param

from include.workflow import Workflow
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import TellOfSuccess, task_callbacks
from updraft.operators.replay import ReplayOperator, RequirePublishedOperator

DAG_ID = "replay_quarantine"
MAX_PARTITIONS = 10_000
# The longest key is an hour's; the declared partitioning says what a key looks like.
KEY_PATTERN = r"^[0-9][0-9A-Za-z:-]{3,19}$"


def build_replay_dag(workflows: Sequence[Workflow], *, doc: str, dag_id: str = DAG_ID) -> DAG:
    """
    Build the Dag that replays.

    :param workflows: the declarations that its form offers
    :param doc: the Dag file's docstring
    :param dag_id: another id than the one that the quarantine's page names
    """
    with DAG(
        dag_id,
        description="Judge quarantined rows and stopped partitions again, by the suite as it is now",
        schedule=None,
        doc_md=doc,
        catchup=False,
        tags=["updraft", "quarantine"],
        default_args={**TASK_DEFAULTS, **task_callbacks(among=workflows)},
        dagrun_timeout=RUN_TIMEOUT,
        max_active_runs=1,
        params=_form(workflows),
    ) as dag:
        # Years of hours take hours: what ends it is the run's limit.
        replay = ReplayOperator(task_id="replay", workflows=workflows, execution_timeout=RUN_TIMEOUT)
        is_over = TellOfSuccess(among=workflows)
        RequirePublishedOperator(task_id="require_published", replayed=replay.output, on_success_callback=is_over)
    return dag


def _form(workflows: Sequence[Workflow]) -> dict[str, Param]:
    return {
        "workflow": Param(
            type="string",
            enum=[workflow.name for workflow in workflows],
            title="Workflow",
            description_md="Whose partitions to judge again.",
        ),
        "partitions": Param(
            [],
            type=["array", "null"],
            items={"type": "string", "pattern": KEY_PATTERN},
            maxItems=MAX_PARTITIONS,
            title="Partitions",
            description_md="Keys, one a line. Empty: the range below; without that, all partitions of which rows are "
            "held back.",
        ),
        "first_partition": _bound("First partition", "From this key on."),
        "last_partition": _bound("Last partition", "Up to this key, included."),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description_md="Count what would change; write nothing."
        ),
    }


def _bound(title: str, description: str) -> Param:
    return Param(None, type=["null", "string"], pattern=KEY_PATTERN, title=title, description_md=description)
