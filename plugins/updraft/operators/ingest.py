"""The steps of `<name>.ingest`."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from airflow.providers.standard.triggers.temporal import DateTimeTrigger

from include.workflow.partitions import PartitionWindow
from updraft import assets
from updraft.hooks.connections import source_uri
from updraft.operators.base import WorkflowOperator, fencing_token
from updraft.periods import resolve_partition


class WaitingOperator(WorkflowOperator):
    """
    The first step of an ingest run, whichever it is.

    A scheduled run starts as its partition ends and waits, without holding a worker, until the declared delay is over.
    """

    def window(self, context: Any) -> PartitionWindow:
        """Partition that the run works on, once the time to read it has come."""
        partition = self.workflow.partition
        window = resolve_partition(context, every=partition.every, start=self.workflow.start)
        settled_at = window.end + partition.delay
        # A backfill, or a person, asks for what is there now; a later backfill brings what is reported later.
        if context["dag_run"].run_type == "scheduled" and datetime.now(UTC) < settled_at:
            self.defer(trigger=DateTimeTrigger(moment=settled_at), method_name="execute")
        return window


class CollectOperator(WaitingOperator):
    """
    Ask the source for what is new and land it as it came. A backfill asks nothing: it works on what has landed.

    A scheduled run starts as its partition ends and waits, without holding a worker, until the declared delay is over.
    """

    triage = (
        "the message names the address or the connection. What had landed stays; once the source answers, clear this "
        "task."
    )

    def execute(self, context: Any, event: Any = None) -> list[dict[str, Any]]:
        """Land what is new; the result is a list of the runs to start for partitions that it reopened."""
        window = self.window(context)

        from include.lake.store import open_lake
        from include.sources.extraction import collect_partition

        dag_run = context["dag_run"]
        if dag_run.run_type == "backfill" or not context["params"]["collect"]:
            self.log.info("The source is not asked: the partition is extracted from what has landed.")
            return []
        uri = source_uri(self.workflow.source)
        report = collect_partition(
            self.workflow, window.key, connection_uri=uri, lake=open_lake(), token=fencing_token(context)
        )
        context["ti"].xcom_push(key="report", value=asdict(report))
        self.log.info("Collected: %s; reopened partitions: %s", report.counts, ", ".join(report.reopened) or "none")
        # Named after the run that found it, so that a second try starts no second run.
        found_by = hashlib.sha256(f"{dag_run.dag_id} {dag_run.run_id}".encode()).hexdigest()[:12]
        return [
            {"trigger_run_id": f"reopened__{key}__{found_by}", "conf": {"partition": key, "collect": False}}
            for key in report.reopened
        ]


class ExtractOperator(WaitingOperator):
    """
    Read one partition from the source, by its bounds, and archive it untouched in `<name>/raw`.

    A scheduled run starts as its partition ends and waits, without holding a worker, until the declared delay is over.
    """

    triage = (
        "the message names the connection, table or column. Nothing was written; once the source answers, clear this "
        "task. A partition that is not over yet is refused: run it later."
    )

    def execute(self, context: Any, event: Any = None) -> dict[str, Any]:
        """Archive the partition; the result is an `ExtractReport`."""
        window = self.window(context)

        from include.lake.store import open_lake
        from include.sources.extraction import extract_partition

        source = self.workflow.source
        report = extract_partition(
            self.workflow,
            window.key,
            connection_uri=None if source.replay == "archived" else source_uri(source),
            lake=open_lake(),
            token=fencing_token(context),
            is_backfill=context["dag_run"].run_type == "backfill",
        )
        return asdict(report)


class ValidateOperator(WorkflowOperator):
    """
    Hold the partition against its Great Expectations suite; publish the accepted rows, quarantine the refused ones,
    each with its reasons.

    One task, for each costs Airflow half a second of CPU: a partition that is stopped publishes nothing, and the ledger
    says why.

    :param extracted: result of the extract task (templated)
    """

    template_fields: Sequence[str] = ("extracted",)
    triage = (
        "if the message names a table rule that the partition breaks, nothing is published: see its Data Docs page, "
        "mend the source or the suite, then clear from extract. Otherwise clear this task: publishing again gives the "
        "same bytes. A message with 'fenced' means that a newer try has already published this partition, and nothing "
        "is to be done."
    )

    def __init__(self, *, extracted: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.extracted = extracted

    def execute(self, context: Any) -> dict[str, Any]:
        """Split and publish the partition; the result counts its rows as the ledger does."""
        from include.lake.store import open_lake
        from include.quality.publication import publish_partition
        from include.quality.validation import validate_partition

        lake, step = open_lake(), {"run_id": context["run_id"], "try_id": str(context["ti"].id)}
        key, raw_version = self.extracted["partition_key"], self.extracted["version"]
        report = validate_partition(self.workflow, key, lake=lake, raw_version=raw_version, **step)
        record = publish_partition(self.workflow, report, lake=lake, token=fencing_token(context), **step)
        counts = {
            name: getattr(record, name) for name in ("rows_in", "rows_published", "rows_quarantined", "rows_duplicate")
        }
        event = context["outlet_events"][assets.validated(self.workflow)]
        event.extra = {**counts, "digest": record.digest}
        if not context.get("partition_key"):
            # A run by hand has no key of its own, and keyless events would not reach the training.
            event.add_partitions(record.partition_key)
        result = {"partition_key": record.partition_key, "table_version": record.table_version, **counts}
        return {**result, "failed": list(report.failed), "docs_uri": report.docs_uri, "notes": list(report.notes)}
