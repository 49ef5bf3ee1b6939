"""The Dag that lets a version answer files in a cloud: `batch_transform`, by hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import DAG, Param

from include.workflow import SageMakerEndpoint, Workflow
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import TellOfSuccess, task_callbacks
from updraft.operators.transform import TransformOperator


def build_batch_transform(workflows: Sequence[Workflow], *, doc: str) -> DAG:
    """
    Build `batch_transform`: one task, which starts a job and waits for it.

    :param workflows: the declared ones; the form offers those with a `SageMakerEndpoint`
    :param doc: the Dag file's docstring, shown in the web UI
    """
    offered = [w for w in workflows if any(isinstance(t, SageMakerEndpoint) for t in w.deployment.targets)]
    names: dict[str, Any] = {"enum": [w.name for w in offered]} if offered else {"pattern": "^[a-z][a-z0-9_]*$"}
    place = {"type": "string", "pattern": "^s3://", "maxLength": 1000}
    params = {
        "workflow": Param(type="string", title="Workflow", description_md="Whose model answers.", **names),
        "model_version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[1-9][0-9]{0,9}$",
            title="Version",
            description_md="Empty: the champion.",
        ),
        "input_uri": Param(
            title="Input",
            description_md="`s3://bucket/prefix` of files that are bodies of `POST /invocations`: at most 1 MiB and "
            "1,000 rows each.",
            **place,
        ),
        "output_uri": Param(
            title="Output", description_md="Where the answers go: one `<file>.out` for each file.", **place
        ),
        "content_type": Param(
            "application/json",
            type="string",
            enum=["application/json", "text/csv"],
            title="Content",
            description_md="What the files hold.",
        ),
    }
    with DAG(
        "batch_transform",
        description="Let a version answer files on S3",
        doc_md=doc,
        schedule=None,
        start_date=datetime(2026, 1, 1, tzinfo=UTC),
        catchup=False,
        max_active_runs=1,
        tags=["updraft", "models"],
        dagrun_timeout=RUN_TIMEOUT,
        params=params,
        default_args={**TASK_DEFAULTS, **task_callbacks(among=offered)},
    ) as dag:
        TransformOperator(task_id="transform", workflows=offered, on_success_callback=TellOfSuccess(among=offered))
    return dag
