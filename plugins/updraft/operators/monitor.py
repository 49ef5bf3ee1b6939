"""The step of `<name>.monitor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from updraft.operators.base import WorkflowOperator
from updraft.periods import resolve_partition


class CollectPredictionsOperator(WorkflowOperator):
    """
    Count what the endpoint answered in one period: rows, share of positives, scores, by model version.

    It watches and reports; it does not yet judge drift or decay.
    """

    triage = "a failed run blocks nothing downstream; clear it once the lake answers."

    def execute(self, context: Any) -> dict[str, Any]:
        """Collect; the result is the period's report."""
        from include.lake.store import open_lake
        from include.monitoring.predictions import collect_predictions

        window = resolve_partition(context, every=self.workflow.monitoring.every)
        return asdict(collect_predictions(self.workflow, window.key, lake=open_lake()))
