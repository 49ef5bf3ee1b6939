"""The steps of `maintain_lake` and `erase_respondent`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import BaseOperator

from include.workflow import SurveySource, Workflow
from updraft.hooks.connections import source_uri
from updraft.operators.base import WorkflowOperator, fencing_token
from updraft.periods import refuse_unknown_params


class RetentionOperator(WorkflowOperator):
    """
    Remove a survey's rows that are older than it declares, from every table and every version; and again whoever was
    erased.
    """

    triage = (
        "clear this task: what was removed stays removed, and the rest follows. If the ingest ran meanwhile, wait "
        "until it has ended."
    )

    def execute(self, context: Any) -> dict[str, Any]:
        """Enforce the retention; the result counts rows by table, and files."""
        refuse_unknown_params(context)

        from include.lake.store import open_lake
        from include.privacy.partitions import Author
        from include.privacy.retention import enforce_retention

        by = Author(token=fencing_token(context), run_id=context["run_id"], try_id=str(context["ti"].id))
        dry_run, source = bool(context["params"]["dry_run"]), self.workflow.source
        needs_source = isinstance(source, SurveySource) and source.privacy.remove_files
        uri = source_uri(source) if needs_source else None
        report = enforce_retention(
            self.workflow, lake=open_lake(), now=datetime.now(UTC), by=by, connection_uri=uri, dry_run=dry_run
        )
        return {} if report is None else asdict(report)


class TidyTablesOperator(WorkflowOperator):
    """Merge small files of a workflow's tables, and remove what replaced versions and killed processes left behind."""

    triage = (
        "clear this task: nothing that a reader, a model or the ledger needs is ever removed. A failed round loses "
        "nothing."
    )

    def execute(self, context: Any) -> list[dict[str, Any]]:
        """Compact and vacuum; the result counts files, a table each."""
        refuse_unknown_params(context)

        from include.lake.maintenance import maintain_tables
        from include.lake.store import open_lake

        reports = maintain_tables(
            open_lake(), self.workflow.name, now=datetime.now(UTC), dry_run=bool(context["params"]["dry_run"])
        )
        return [asdict(report) for report in reports]


class TidyLedgerOperator(BaseOperator):
    """Merge the ledger's small files, and remove what killed processes left on this machine's disk."""

    def execute(self, context: Any) -> dict[str, Any]:
        """Compact and vacuum; the result counts files, a table each, and folders."""
        refuse_unknown_params(context)

        from include.lake.maintenance import maintain_ledger, remove_old_spools
        from include.lake.store import open_lake

        now, dry_run = datetime.now(UTC), bool(context["params"]["dry_run"])
        reports = maintain_ledger(open_lake(), now=now, dry_run=dry_run)
        return {"tables": [asdict(report) for report in reports], "spools": remove_old_spools(now=now, dry_run=dry_run)}


class ErasureOperator(BaseOperator):
    """
    One step of the erasure of the form's respondent.

    :param surveys: the declared surveys; they stay in the Dag file's process and are not serialized
    """

    def __init__(self, *, surveys: Sequence[Workflow], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.surveys = surveys

    def chosen(self, context: Any) -> tuple[Workflow, str]:
        """Return the workflow and the pseudonym that the form names."""
        refuse_unknown_params(context)

        from include.errors import PrivacyError

        name, pseudonym = context["params"]["workflow"], context["params"]["pseudonym"]
        for workflow in self.surveys:
            if workflow.name == name:
                return workflow, str(pseudonym)
        known = ", ".join(workflow.name for workflow in self.surveys) or "none is declared"
        raise PrivacyError(f"{name!r} is no declared survey: {known}")


class RequestErasureOperator(ErasureOperator):
    """Write down that the respondent is to be erased: from here on the survey's source lets no answer of theirs in."""

    def execute(self, context: Any) -> None:
        """Append the request to `ledger/erasures`, once."""
        workflow, pseudonym = self.chosen(context)

        from include.lake.store import open_lake
        from include.privacy.erasure import request_erasure

        request_erasure(workflow, pseudonym, lake=open_lake(), now=datetime.now(UTC))


class FindModelsOperator(ErasureOperator):
    """
    Find the model versions that were trained or judged on the respondent, while their rows are still
    there to tell.
    """

    def execute(self, context: Any) -> dict[str, Any]:
        """Read each version's snapshot; the result names versions."""
        workflow, pseudonym = self.chosen(context)

        from include.lake.store import open_lake
        from include.privacy.erasure import find_models
        from include.registry import open_registry

        return asdict(find_models(workflow, pseudonym, lake=open_lake(), registry=open_registry()))


class EraseOperator(ErasureOperator):
    """
    Remove the respondent from every table and every version, look once more, and write the proof into
    `ledger/erasures`.

    :param models: result of the step that found the models (templated)
    """

    template_fields: Sequence[str] = ("models",)

    def __init__(self, *, models: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.models = models

    def execute(self, context: Any) -> dict[str, Any]:
        """Erase; the result is the proof, as the ledger has it."""
        workflow, pseudonym = self.chosen(context)

        from include.lake.fencing import new_token
        from include.lake.store import open_lake
        from include.privacy.erasure import TrainedModels, erase
        from include.privacy.partitions import Author

        models = TrainedModels(trained=tuple(self.models["trained"]), unknown=tuple(self.models["unknown"]))
        # Newer than the request: a try that began before it, and may have read the answers, is fenced.
        by = Author(token=new_token(), run_id=context["run_id"], try_id=str(context["ti"].id))
        proof = erase(workflow, pseudonym, lake=open_lake(), now=datetime.now(UTC), by=by, models=models)
        return {**asdict(proof), "recorded_at": proof.recorded_at.isoformat()}
