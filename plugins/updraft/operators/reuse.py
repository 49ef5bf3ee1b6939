"""
Stages that need not be done again, shown as such: in the task's log, its XCom `reused_from`, and a link to the run it
came from.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any
from urllib.parse import quote

from airflow.sdk import BaseOperatorLink
from airflow.sdk.configuration import conf

from include.workflow import Workflow

REUSED_FROM = "reused_from"


class ReusedFromLink(BaseOperatorLink):
    """Leads to the run that did the work, where a task has reused its result; to nowhere else."""

    name = "Reused from run"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        """
        Address of the run in the web UI; empty, if the task has done the work itself.

        :param operator: the task, after its execution
        :param ti_key: the task instance
        """
        run_id = getattr(operator, REUSED_FROM, None)
        if not run_id:
            return ""
        base = conf.get("api", "base_url", fallback="").rstrip("/")
        return f"{base}/dags/{ti_key.dag_id}/runs/{quote(run_id, safe='')}"


def tell_reuse(task: Any, context: Any, run_id: str) -> None:
    """
    Show that a task has reused another run's result.

    :param task: the operator
    :param context: its context
    :param run_id: the run that did the work
    """
    task.reused_from = run_id
    task.log.info(
        "Reused: run %s did the same, on the same rows, by the same code and settings. Trigger with *Force* to do it "
        "anew.",
        run_id,
    )
    context["ti"].xcom_push(key=REUSED_FROM, value=run_id)


def reusable(stage: str) -> Callable[[Callable[[Any, Any], Any]], Callable[[Any, Any], Any]]:
    """
    Let a training step's `execute` take over the result of an earlier run that worked on the same.

    The training's id stands for declaration, rows, budget, code and lock file; a worker's number and a version are part
    of the key. A task that is cleared in its own run does its work again, for whoever clears it wants that; so does a
    dry run, which is to end where it ends.

    :param stage: name of the stage
    """

    def decorate(execute: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
        @wraps(execute)
        def execute_or_reuse(self: Any, context: Any) -> Any:
            if context["params"].get("dry_run"):
                return execute(self, context)
            from include.lake.store import open_lake
            from include.registry.stages import find_stage, record_stage, stage_key

            lake, name, key = open_lake(), self.workflow.name, stage_key(*_inputs(self))
            finished = find_stage(lake, name, stage, key)
            if (
                finished is not None
                and finished.run_id != context["run_id"]
                and _is_there(self.workflow, finished.result)
            ):
                tell_reuse(self, context, finished.run_id)
                return finished.result
            result = execute(self, context)
            record_stage(lake, name, stage, key, run_id=context["run_id"], result=result)
            return result

        return execute_or_reuse

    return decorate


def _inputs(task: Any) -> tuple[Any, ...]:
    return task.training["training_id"], getattr(task, "worker", None), getattr(task, "version", None)


def _is_there(workflow: Workflow, result: Any) -> bool:
    """Whether the version that a result speaks of, if it does, is registered as it was."""
    if not isinstance(result, Mapping) or "version" not in result:
        return True
    from include.errors import ModelVersionNotFoundError, TamperedModelError
    from include.registry.versions import open_registry, read_version

    try:
        found = read_version(open_registry(), workflow.name, str(result["version"]))
    except (ModelVersionNotFoundError, TamperedModelError):
        return False
    return bool(result.get("model_digest", found.model_digest) == found.model_digest)
