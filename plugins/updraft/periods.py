"""Which partition, or which moment, a run works on. Nothing else in the project asks Airflow for a date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from include.errors import PartitionError
from include.workflow import Workflow
from include.workflow.partitions import Every, PartitionWindow, window_of_key, window_of_moment


def resolve_partition(context: Any, *, every: Every, start: datetime | None = None) -> PartitionWindow:
    """
    Partition of any run: scheduled, backfilled, started by an asset or by hand.

    A key of the run (cron, backfill, asset event, or the trigger form's advanced field) wins; then the form's
    `partition`; then the last partition that was over when the run was created. The logical date never counts:
    runs of Airflow 3 may have none.

    Raises
    ------
    PartitionError
        If a key is malformed, or names a partition before `start` or one that is not over yet.

    """
    refuse_unknown_params(context)
    run_after = context["dag_run"].run_after
    key = context.get("partition_key") or context["params"].get("partition")
    window = window_of_key(every, key) if key else last_window_before(every, run_after)
    if start is not None and window.start < window_of_moment(every, start).start:
        raise PartitionError(
            f"partition {window.key!r} lies before the workflow's start {start:%Y-%m-%d}: choose a later one"
        )
    if window.end > datetime.now(UTC):
        raise PartitionError(
            f"partition {window.key!r} is not over until {window.end:%Y-%m-%d %H:%M} UTC: run it after that"
        )
    return window


def resolve_as_of(context: Any, workflow: Workflow, *, requested: str | None = None) -> datetime:
    """
    Moment that a training looks back from: the end of the run's period, or the form's `as_of`.

    With `requested`, the ISO text of a request by the monitor, that moment, if it is later than the period's end.

    Raises
    ------
    PartitionError
        If the key or the date is malformed, or lies in the future.

    """
    refuse_unknown_params(context)
    every = workflow.training.every
    if key := context.get("partition_key"):
        as_of = window_of_key(every, key).end
        if requested:
            as_of = max(as_of, _parse_moment(requested))
    elif text := context["params"].get("as_of"):
        as_of = _parse_date(text)
    else:
        as_of = last_window_before(every, context["dag_run"].run_after).end
    if as_of > datetime.now(UTC):
        raise PartitionError(
            f"as_of {as_of:%Y-%m-%d} lies in the future: a model can't be trained on what is not known yet"
        )
    return as_of


def last_window_before(every: Every, moment: datetime) -> PartitionWindow:
    """The last partition that ends at or before a moment."""
    current = window_of_moment(every, moment)
    return window_of_moment(every, current.start - timedelta(microseconds=1))


def refuse_unknown_params(context: Any) -> None:
    """Refuse conf keys that the trigger form does not have: Airflow itself would merge them into the params."""
    conf = getattr(context["dag_run"], "conf", None) or {}
    unknown = sorted(set(conf) - set(context["dag"].params))
    if unknown:
        known = ", ".join(sorted(context["dag"].params)) or "none"
        raise PartitionError(f"the run's conf has unknown keys {unknown}: known params are {known}")


def _parse_moment(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
    except (ValueError, TypeError):
        raise PartitionError(
            f"the request's as_of {text!r} is no time: it comes from the monitor, ask for a training by hand"
        ) from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _parse_date(text: str) -> datetime:
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except (ValueError, TypeError):
        raise PartitionError(f"as_of {text!r} is no date: write it like 2026-11-23") from None
