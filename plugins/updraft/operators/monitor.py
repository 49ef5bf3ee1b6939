"""The steps of `<name>.monitor`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from airflow.providers.standard.utils.skipmixin import SkipMixin

from updraft import assets
from updraft.operators.base import WorkflowOperator
from updraft.operators.links import WindowReportLink
from updraft.periods import resolve_partition

JUDGE, REQUEST = "judge_window", "request_retraining"


class CollectPredictionsOperator(WorkflowOperator):
    """Count what the endpoint answered in one period: rows, share of positives, scores, by model version."""

    triage = "a failed run blocks nothing downstream; clear it once the lake answers."

    def execute(self, context: Any) -> dict[str, Any]:
        """Collect; the result is the period's report."""
        from include.lake.store import open_lake
        from include.monitoring.predictions import collect_predictions

        window = resolve_partition(context, every=self.workflow.monitoring.every)
        return asdict(collect_predictions(self.workflow, window.key, lake=open_lake()))


class JudgeWindowOperator(WorkflowOperator, SkipMixin):
    """
    Hold what was asked and answered in one period against the training rows, and what came true against the test rows.

    Verdicts and their reasons go to `ledger/monitoring`, the report to the lake (link *Report*). A training is asked
    for only if drift or decay persists, no other was asked for within the cool-down, and there are newer rows to train
    on; the log says why (not).

    :param collected: result of the collect_predictions task (templated)
    """

    template_fields: Sequence[str] = ("collected",)
    triage = (
        "drift, decay and unknown are answers, not faults: this task is then green, and its log and report say why. "
        "It fails only if lake or registry do not answer; clear it then. A window is judged once, so clearing asks "
        "for nothing twice."
    )
    operator_extra_links = (WindowReportLink(),)

    def __init__(self, *, collected: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.collected = collected
        self.report_file: str | None = None

    def execute(self, context: Any) -> dict[str, Any]:
        """Judge; the result is a `Judgement`."""
        from include.lake.store import open_lake
        from include.monitoring.judgement import judge_window
        from include.registry.versions import open_registry

        found = judge_window(self.workflow, self.collected["partition_key"], lake=open_lake(), registry=open_registry())
        self.report_file = found.report_uri.rpartition("/")[2]
        self.log.info("inputs of %s: %s", found.partition_key, found.verdict)
        for said in (*found.reasons, *found.performance, found.decision):
            if said:
                self.log.info("%s", said)
        result = asdict(found)
        if found.request is None:
            # Skipped by this task, the next one costs no process of its own.
            context["ti"].xcom_push(key="return_value", value=result)
            self.skip(context["ti"], [task for task in self.get_direct_relatives() if task.task_id == REQUEST])
        return result


class RequestRetrainingOperator(WorkflowOperator):
    """
    Ask `<name>.train` for a training, because of drift or decay.

    :param judged: result of the judge_window task (templated)
    """

    template_fields: Sequence[str] = ("judged",)
    triage = (
        "skipped means that no training is needed, or one was asked for already: the log of judge_window says which."
    )

    def __init__(self, *, judged: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.judged = judged

    def execute(self, context: Any) -> dict[str, Any]:
        """Emit the asset's event; the result is the request."""
        request: dict[str, Any] = dict(self.judged["request"])
        event = context["outlet_events"][assets.retrain_requested(self.workflow)]
        event.extra = request
        event.add_partitions(request["period_key"])
        self.log.info("a training as of %s is asked for: %s", request["as_of"], request["reason"])
        return request
