"""The steps of `<name>.train`."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperatorLink
from airflow.sdk.exceptions import AirflowSkipException

from include.errors import HistoryTooShortError
from updraft import assets
from updraft.operators.base import WorkflowOperator
from updraft.operators.links import ModelCardLink
from updraft.operators.reuse import ReusedFromLink, reusable, tell_reuse
from updraft.periods import last_window_before, resolve_as_of

if TYPE_CHECKING:
    from include.modeling.snapshot import Snapshot

GATE_OF = "gate of "


class PinSnapshotOperator(WorkflowOperator):
    """
    Pin the rows to train on: table version, digest and as-of, with no row that was not known then.

    Its log and result say why the run was started: its period is over, somebody asked, or the monitor has seen drift or
    decay.

    Too short a history skips the run, unless a person started it: the first weeks of a new workflow are no failure.
    """

    triage = (
        "the message names the partitions that are missing or still being published: ingest them, then clear this task."
    )

    def execute(self, context: Any) -> dict[str, Any]:
        """
        Pin; the result is the snapshot with the training's id, budget and reason, and whether it is one as of a past
        date.
        """
        from include.lake.store import open_lake
        from include.modeling.identity import training_id_of
        from include.modeling.snapshot import pin_snapshot
        from include.modeling.warm_start import latest_study
        from include.registry.backfilled import is_backfilled

        request = _request_of(context)
        as_of = resolve_as_of(context, self.workflow, requested=request.get("as_of"))
        reason = request.get("reason") or (
            "asked for by hand" if context["dag_run"].run_type == "manual" else "its period is over"
        )
        self.log.info("why this training: %s", reason)
        params = context["params"]
        budget_seconds = params.get("search_budget_seconds") or self.workflow.training.search.budget_seconds
        lake = open_lake()
        try:
            snapshot = pin_snapshot(self.workflow, as_of, lake=lake)
        except HistoryTooShortError as error:
            if context["dag_run"].run_type == "manual":
                raise
            raise AirflowSkipException(str(error)) from None
        salt = context["run_id"] if params.get("force") else ""
        warm_from = latest_study(lake, self.workflow, before=as_of)
        return {
            "snapshot": asdict(snapshot),
            "training_id": training_id_of(
                self.workflow, snapshot, budget_seconds=budget_seconds, warm_from=warm_from, salt=salt
            ),
            "budget_seconds": budget_seconds,
            "warm_from": warm_from,
            "is_backfilled": is_backfilled(self.workflow, as_of, lake=lake),
            "reason": reason,
        }


def _request_of(context: Any) -> dict[str, Any]:
    """What the monitor asked for, if it started this run; of several requests the last."""
    events = [event for found in (context.get("triggering_asset_events") or {}).values() for event in found]
    asked = [event for event in events if {"as_of", "reason"} <= set(event.extra or {})]
    return dict(max(asked, key=lambda event: event.timestamp).extra) if asked else {}


class TrainingStepOperator(WorkflowOperator):
    """
    A step that works on a pinned snapshot.

    :param training: result of the pin_snapshot task (templated)
    """

    template_fields: Sequence[str] = ("training",)

    def __init__(self, *, training: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.training = training

    def snapshot(self) -> Snapshot:
        """The pinned snapshot."""
        from include.modeling.snapshot import Snapshot

        return Snapshot(**self.training["snapshot"])


class TuneOperator(TrainingStepOperator):
    """
    Try model families and settings within this worker's share of the budget; the naive baseline is always among them.

    :param worker: number of this worker, from 0
    """

    template_fields: Sequence[str] = ("training", "worker")
    operator_extra_links = (ReusedFromLink(),)
    triage = "clear this task: finished trials are kept and not repeated."

    def __init__(self, *, worker: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.worker = worker

    @reusable("tune")
    def execute(self, context: Any) -> int:
        """Run this worker's trials; the result is their number."""
        from include.lake.store import open_lake
        from include.modeling.search import run_trials

        trials = run_trials(
            self.workflow,
            self.snapshot(),
            lake=open_lake(),
            training_id=self.training["training_id"],
            worker=self.worker,
            n_workers=self.workflow.training.search.workers,
            budget_seconds=self.training["budget_seconds"],
            warm_from=self.training.get("warm_from"),
        )
        return len(trials)


class FitOperator(TrainingStepOperator):
    """
    Fit the best trial on training and validation rows, and register it as a version without an alias: nothing serves it
    yet.

    A dry run ends before this step: its leaderboard is in the log.
    """

    triage = "clear this task: a version that was half registered is completed, not doubled."
    operator_extra_links = (ReusedFromLink(),)

    @reusable("fit")
    def execute(self, context: Any) -> dict[str, Any]:
        """Fit and register; the result is a `RegisteredVersion`."""
        from include.lake.store import open_lake
        from include.modeling.fitting import fit_model
        from include.modeling.search import leaderboard
        from include.registry.versions import open_registry, register_version

        lake, training_id = open_lake(), self.training["training_id"]
        trials = leaderboard(self.workflow, lake, training_id)
        for place, trial in enumerate(trials, start=1):
            self.log.info("%2d. %-10s %s  %s", place, trial.family, trial.score, trial.params)
        if context["params"].get("dry_run"):
            raise AirflowSkipException(
                f"dry run: {len(trials)} trials, best {trials[0].family} {trials[0].score}; nothing was registered"
            )
        with tempfile.TemporaryDirectory() as folder:
            manifest = fit_model(
                self.workflow,
                self.snapshot(),
                lake=lake,
                training_id=training_id,
                folder=Path(folder),
                created_by_run=context["run_id"],
            )
            # The first that is no baseline: a baseline may lead the board, and is never fitted.
            best = next(trial.score for trial in trials if not trial.is_naive and trial.score is not None)
            version = register_version(
                open_registry(),
                self.workflow,
                Path(folder),
                training_id=training_id,
                metrics={"validation_score": best},
                params={"family": manifest.family, **manifest.params},
                is_backfilled=bool(self.training.get("is_backfilled")),
            )
        return asdict(version)


class VersionStepOperator(TrainingStepOperator):
    """
    A step that works on a registered version.

    :param version: number of the version (templated)
    """

    template_fields: Sequence[str] = ("training", "version")
    operator_extra_links: tuple[BaseOperatorLink, ...] = (ModelCardLink(),)

    def __init__(self, *, version: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.version = version


class EvaluateOperator(VersionStepOperator):
    """Measure the version on the test rows, with intervals and by slice, and store its model card with it."""

    triage = "clear this task: the card is written anew, with the same numbers."
    operator_extra_links: tuple[BaseOperatorLink, ...] = (ModelCardLink(), ReusedFromLink())

    @reusable("evaluate")
    def execute(self, context: Any) -> dict[str, Any]:
        """Evaluate; the result is an `EvaluationSummary`."""
        from include.lake.store import open_lake
        from include.registry.evaluation import evaluate_version
        from include.registry.versions import open_registry

        return asdict(
            evaluate_version(self.workflow, self.snapshot(), self.version, lake=open_lake(), registry=open_registry())
        )


class GateOperator(VersionStepOperator):
    """
    Hold candidate against minimum, naive baseline and champion, on rows that neither was trained on.

    The verdict goes to `ledger/decisions` with its evidence. PROMOTE goes on; HOLD goes to a person, where one can help
    and may be expected to answer: where it is a model of today, or somebody started the run. All else skips what
    follows.
    """

    triage = (
        "skipped means refused: the reasons stand in the log and in ledger/decisions. Marking this task as succeeded "
        "ships nothing, for what follows asks the ledger, not this task. Mend the data or the declaration and train "
        "again."
    )
    operator_extra_links: tuple[BaseOperatorLink, ...] = (ModelCardLink(), ReusedFromLink())

    def execute(self, context: Any) -> dict[str, Any]:
        """Judge; the result is the verdict with its reasons."""
        from include.lake.store import open_lake
        from include.registry.approval import is_approvable
        from include.registry.evidence import reasons_of
        from include.registry.judgement import judge_version
        from include.registry.versions import open_registry

        lake = open_lake()
        decision = judge_version(
            self.workflow,
            self.snapshot(),
            self.version,
            lake=lake,
            registry=open_registry(),
            decided_by=f"{GATE_OF}{context['run_id']}",
        )
        reasons = reasons_of(decision)
        result = {"verdict": decision.verdict, "reasons": reasons, "evidence_digest": decision.evidence_digest}
        for reason in reasons:
            self.log.info("%s: %s", decision.verdict, reason)
        if decision.decided_by.startswith(GATE_OF) and decision.decided_by != f"{GATE_OF}{context['run_id']}":
            tell_reuse(self, context, decision.decided_by.removeprefix(GATE_OF))
        if decision.verdict == "HOLD" and self._may_ask(context) and is_approvable(self.workflow, decision, lake=lake):
            self.log.info("a person is asked, and has %s to answer", self.workflow.gate.approval)
            return result
        if decision.verdict != "PROMOTE":
            context["ti"].xcom_push(key="return_value", value=result)
            raise AirflowSkipException(f"{decision.verdict}: {'; '.join(reasons)}")
        return result

    def _may_ask(self, context: Any) -> bool:
        """Nobody is kept waiting by a model of the past: a backfill of a year would ask, and wait, fifty times."""
        if self.workflow.gate.approval is None:
            return False
        newest = last_window_before(self.workflow.training.every, datetime.now(UTC)).end
        as_of = datetime.fromisoformat(self.training["snapshot"]["as_of"])
        return context["dag_run"].run_type == "manual" or as_of >= newest


class RegisterOperator(VersionStepOperator):
    """Check the evidence once more, name the version `challenger`, and ask for its deployment."""

    triage = "an evidence error means that no PROMOTE decision stands behind this version: that is meant. Train again."

    def execute(self, context: Any) -> dict[str, Any]:
        """Name the challenger; the result says which version goes to deployment."""
        from include.lake.store import open_lake
        from include.registry.promotion import set_challenger
        from include.registry.versions import open_registry

        decision = set_challenger(self.workflow, self.version, lake=open_lake(), registry=open_registry())
        extra = {
            "version": self.version,
            "as_of": self.training["snapshot"]["as_of"],
            "evidence_digest": decision.evidence_digest,
        }
        event = context["outlet_events"][assets.model(self.workflow)]
        event.extra = extra
        # Keyed by its as-of date in every kind of run, so that the deployment starts for each of them.
        event.add_partitions(extra["as_of"][:10])
        return extra
