"""`build_dags`: from one declaration to the four Dags of its life."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, BaseOperator, Param

from include.workflow import Workflow
from include.workflow.durations import describe_duration
from updraft import assets, schedules
from updraft.defaults import RUN_TIMEOUT, TASK_DEFAULTS
from updraft.notifiers.outcomes import run_callbacks, task_callbacks
from updraft.operators.approve import ApproveOperator
from updraft.operators.deploy import (
    ApproveBackfilledOperator,
    CanaryOperator,
    PromoteOperator,
    SmokeTestOperator,
    StageOperator,
    VerifyEvidenceOperator,
)
from updraft.operators.ingest import CollectOperator, ExtractOperator, ValidateOperator
from updraft.operators.monitor import (
    JUDGE,
    REQUEST,
    CollectPredictionsOperator,
    JudgeWindowOperator,
    RequestRetrainingOperator,
)
from updraft.operators.train import (
    EvaluateOperator,
    FitOperator,
    GateOperator,
    PinSnapshotOperator,
    RegisterOperator,
    TuneOperator,
)


def build_dags(workflow: Workflow, *, doc: str | None = None) -> list[DAG]:
    """
    Build `<name>.ingest`, `.train`, `.deploy` and `.monitor`, joined by assets.

    :param workflow: the declaration
    :param doc: the Dag file's docstring, shown in the web UI above each Dag's own notes
    """
    return [build(workflow, doc or workflow.description) for build in (_ingest, _train, _deploy, _monitor)]


def _ingest(workflow: Workflow, doc: str) -> DAG:
    is_collected = workflow.source.replay == "archived"
    steps = "collect, extract, validate" if is_collected else "extract, validate"
    note = (
        f"Brings one {workflow.partition.every} of rows into the lake: {steps}: publish or quarantine. Backfill it "
        "freely: "
        "a repeated partition gives the same bytes.\n\n"
        "*Triage:* open the failed task; its message names the cause. No partition is ever half published, so "
        "clearing is always safe."
    )
    params = {"partition": _partition_param("Partition", workflow.partition.every)}
    if is_collected:
        note += "\n\nA backfill makes no call to the source: it works on what has landed."
        params["collect"] = Param(
            True,
            type="boolean",
            title="Ask the source",
            description_md="Without it the run works on what has landed already.",
        )
    with _dag(
        workflow,
        "ingest",
        f"{doc}\n\n{note}",
        schedule=schedules.every_partition(workflow.partition.every, delay=workflow.partition.delay),
        start_date=workflow.start,
        # A scheduled run waits until the delay is over: that must not count as hanging.
        dagrun_timeout=RUN_TIMEOUT + workflow.partition.delay,
        max_active_runs=8,
        params=params,
    ) as dag:
        extract = ExtractOperator(task_id="extract", workflow=workflow)
        ValidateOperator(
            task_id="validate", workflow=workflow, extracted=extract.output, outlets=[assets.validated(workflow)]
        )
        if is_collected:
            _collect(workflow) >> extract
    return dag


def _collect(workflow: Workflow) -> BaseOperator:
    """Ask the source, and start a run for each published partition that its answer changes."""
    # One collection at a time: a source has one archive, a broker one session.
    collect = CollectOperator(task_id="collect", workflow=workflow, max_active_tis_per_dag=1)
    TriggerDagRunOperator.partial(
        task_id="reopen",
        trigger_dag_id=f"{workflow.name}.ingest",
        logical_date=None,
        skip_when_already_exists=True,
        doc_md="Extract again each published partition whose rows this collection has changed: late readings, "
        "corrected pages.\n\n"
        "*Triage:* skipped means that there was none. Clear it freely: a partition without a change gives the same "
        "bytes.",
    ).expand_kwargs(collect.output)
    return collect


def _train(workflow: Workflow, doc: str) -> DAG:
    training = workflow.training
    note = (
        f"Trains once the partitions of a {training.every} are validated, on the {describe_duration(training.window)} "
        "before the last "
        f"{describe_duration(training.test)}, which judge. The gate decides; a refused candidate skips the rest, and "
        "one that the gate "
        "holds waits for a person under *Required Actions*. The log of pin_snapshot says why the run was started: a "
        "period is over, "
        "somebody asked, or the monitor has seen drift or decay.\n\n"
        "*Triage:* a skipped gate is a refusal: read its log. A failed task can be cleared; finished trials are not "
        "repeated."
    )
    params = {
        "as_of": Param(
            None,
            type=["null", "string"],
            format="date",
            title="As of",
            description_md="Train as of the start of this day (UTC), with what was known then. Empty: the end of the "
            "run's own period. A "
            "model as of a date before the last complete period is marked as backfilled, and never becomes champion "
            "by itself.",
        ),
        "search_budget_seconds": Param(
            None,
            type=["null", "number"],
            exclusiveMinimum=0,
            maximum=86_400,
            title="Search budget",
            description_md=f"CPU seconds over all workers. Empty: {training.search.budget_seconds:g}, as declared.",
        ),
        "force": Param(
            False, type="boolean", title="Force", description_md="Train although this very snapshot was trained before."
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", description_md="Search and show the leaderboard; register nothing."
        ),
    }
    with _dag(
        workflow,
        "train",
        f"{doc}\n\n{note}",
        schedule=schedules.when_period_is_validated(workflow),
        # A run that waits for a person's answer does not hang.
        dagrun_timeout=RUN_TIMEOUT + (workflow.gate.approval or timedelta(0)),
        max_active_runs=1,
        params=params,
    ) as dag:
        pin = PinSnapshotOperator(task_id="pin_snapshot", workflow=workflow)
        step: dict[str, Any] = {"workflow": workflow, "training": pin.output}
        # A mapped task is built before its operator: what the operator would add has to be given.
        tune = TuneOperator.partial(task_id="tune", doc_md=TuneOperator.describe(), **step).expand(
            worker=list(range(training.search.workers))
        )
        fit = FitOperator(task_id="fit", multiple_outputs=True, **step)
        step["version"] = _item(fit, "version")
        evaluate = EvaluateOperator(task_id="evaluate", **step)
        (
            tune
            >> fit
            >> evaluate
            >> judge_and_register(workflow, evaluated=evaluate.output, training=pin.output, version=step["version"])
        )
    return dag


def judge_and_register(workflow: Workflow, *, evaluated: Any, training: Any, version: Any) -> BaseOperator:
    """
    Add the last steps of a training to a Dag: judge, ask a person if need be, register; the result is the first of
    them.

    :param workflow: the declaration
    :param evaluated: result of the evaluate task (templated)
    :param training: result of the pin_snapshot task (templated)
    :param version: number of the version (templated)
    """
    step: dict[str, Any] = {"workflow": workflow, "training": training, "version": version}
    gate = GateOperator(task_id="gate", **step)
    approve = ApproveOperator(task_id="approve", verdict=gate.output, evaluated=evaluated, **step)
    # What the gate promotes passes `approve` at once; what it holds waits there; whatever is skipped, ends here.
    register = RegisterOperator(task_id="register", outlets=[assets.model(workflow)], **step)
    gate >> approve >> register
    return gate


def _deploy(workflow: Workflow, doc: str) -> DAG:
    note = (
        "Puts a version that the gate let through before users: verify its evidence, stage it, smoke-test it, try it "
        "on a share of the "
        "requests where a canary is declared, promote it. A version that was trained as of a past date needs *Allow "
        "backfilled* and a "
        "person's approval.\n\n"
        "*Triage:* whatever fails, the champion goes on answering. Mend the cause and clear, or train again."
    )
    params = {
        "model_version": Param(
            None,
            type=["null", "string"],
            pattern=r"^[1-9][0-9]{0,9}$",
            title="Model version",
            description_md="Which version to deploy. Empty: the one that the triggering event names, else the current "
            "challenger.",
        ),
        "allow_backfilled": Param(
            False,
            type="boolean",
            title="Allow backfilled",
            description_md="Deploy it although it was trained as of a past date, or is older than the champion: a "
            "person is asked first.",
        ),
    }
    with _dag(
        workflow,
        "deploy",
        f"{doc}\n\n{note}",
        schedule=schedules.when_model_is_registered(workflow),
        max_active_runs=1,
        params=params,
    ) as dag:
        verify = VerifyEvidenceOperator(task_id="verify_evidence", multiple_outputs=True, workflow=workflow)
        step: dict[str, Any] = {"workflow": workflow, "version": _item(verify, "version")}
        approve = ApproveBackfilledOperator(
            task_id="approve_backfilled", workflow=workflow, reason=_item(verify, "approval_reason")
        )
        stage = StageOperator(task_id="stage", **step)
        smoke_test = SmokeTestOperator(task_id="smoke_test", **step)
        canary = CanaryOperator(task_id="canary", approval=approve.output, **step)
        promote = PromoteOperator(
            task_id="promote", outlets=[assets.endpoint(workflow)], approval=approve.output, **step
        )
        verify >> approve >> stage >> smoke_test >> canary >> promote
    return dag


def _monitor(workflow: Workflow, doc: str) -> DAG:
    monitoring = workflow.monitoring
    note = (
        f"Counts and judges what the endpoint answered, each {monitoring.every}: drift of inputs and answers against "
        "the training rows, "
        "and performance once labels are there. Verdicts stand in `ledger/monitoring`; drift or decay that lasts asks "
        "for a training.\n\n"
        "*Triage:* drift and decay are answers, not faults: read the report linked from judge_window. A failed run "
        "blocks nothing "
        "downstream; clear it once the lake answers."
    )
    with _dag(
        workflow,
        "monitor",
        f"{doc}\n\n{note}",
        schedule=schedules.every_partition(monitoring.every),
        start_date=workflow.start,
        # Windows are judged in their order: what persists shows in those before.
        max_active_runs=1,
        params={"partition": _partition_param("Period", monitoring.every)},
    ) as dag:
        collect = CollectPredictionsOperator(task_id="collect_predictions", workflow=workflow)
        judge = JudgeWindowOperator(task_id=JUDGE, workflow=workflow, collected=collect.output)
        if monitoring.asks_for_training:
            RequestRetrainingOperator(
                task_id=REQUEST, workflow=workflow, judged=judge.output, outlets=[assets.retrain_requested(workflow)]
            )
    return dag


def _dag(
    workflow: Workflow, step: str, doc: str, *, schedule: Any, dagrun_timeout: timedelta = RUN_TIMEOUT, **kwargs: Any
) -> DAG:
    defaults = dict(TASK_DEFAULTS)
    if workflow.alerts:
        kwargs |= run_callbacks(workflow=workflow)
        defaults |= task_callbacks(workflow=workflow)
    return DAG(
        f"{workflow.name}.{step}",
        description=f"{workflow.description} ({step})",
        schedule=schedule,
        doc_md=doc,
        catchup=False,
        tags=["updraft", workflow.name, step],
        default_args=defaults,
        dagrun_timeout=dagrun_timeout,
        **kwargs,
    )


def _item(task: BaseOperator, key: str) -> Any:
    """One item of a task's result, resolved when the next task runs."""
    output: Any = task.output  # its class does not declare that it can be indexed
    return output[key]


def _partition_param(title: str, every: str) -> Param:
    return Param(
        None,
        type=["null", "string"],
        maxLength=20,
        title=title,
        description_md=f"Key of the {every} to work on. Empty: the run's own key, else the last {every} that is over.",
    )
