"""The ledger's lines, and the Arrow schemas of its tables."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any, Literal, TypeVar, get_type_hints

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import LakeError

MONTH_COLUMN = "month"

Verdict = Literal["PROMOTE", "HOLD", "REJECT"]


@dataclass(frozen=True, kw_only=True)
class RunRecord:
    """
    What became of one partition in one run.

    `status` is "published" (then rows_in = rows_published + rows_quarantined + rows_duplicate) or "stopped": raw keeps
    the rows, nothing else has changed, and `reasons`, a JSON list of text, says why. On lines from before there was a
    status it is None: published.
    """

    workflow: str
    partition_key: str
    run_id: str
    try_id: str
    rows_in: int
    rows_published: int
    rows_quarantined: int
    rows_duplicate: int
    table_version: int
    quarantine_version: int
    raw_version: int
    digest: str
    recorded_at: datetime
    status: str | None = "published"
    reasons: str | None = None


@dataclass(frozen=True, kw_only=True)
class DecisionRecord:
    """
    One verdict of the gate on one model version; `reasons` is a JSON list of text.

    `is_backfilled` tells of a training as of a past date. The last four fields are the link of a chain, which the
    ledger fills in when it appends (see `include.lake.chain`); they tell nothing about the decision itself, and are
    None on lines from before there was a chain.
    """

    workflow: str
    model_version: str
    champion_version: str | None
    as_of: datetime
    verdict: str
    reasons: str
    evidence_digest: str
    evidence_uri: str
    model_digest: str
    decided_at: datetime
    decided_by: str
    is_backfilled: bool | None = None
    sequence: int | None = field(default=None, compare=False)
    previous_digest: str | None = field(default=None, compare=False)
    record_digest: str | None = field(default=None, compare=False)
    signature: str | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class PromotionRecord:
    """
    One change of which model version an alias names. Epochs of (workflow, alias) are 1, 2, 3, ... without a gap.

    `overridden_by` says who asked for a backfilled version in spite of the rule against it, `approved_by` who agreed.
    The last four fields are the link of a chain, as in `DecisionRecord`.
    """

    workflow: str
    model_version: str
    previous_version: str | None
    as_of: datetime
    alias: str
    target: str
    action: str
    epoch: int
    decided_by: str
    recorded_at: datetime
    overridden_by: str | None = None
    approved_by: str | None = None
    sequence: int | None = field(default=None, compare=False)
    previous_digest: str | None = field(default=None, compare=False)
    record_digest: str | None = field(default=None, compare=False)
    signature: str | None = field(default=None, compare=False)


@dataclass(frozen=True, kw_only=True)
class IncidentEvent:
    """
    One thing that happened to an incident. Events of one (workflow, partition_key, kind, subject) are numbered 1, 2, 3,
    ... without a gap.

    `event` is "opened", "closed", "claimed" (a sender is at work, for `lease_seconds`), "sent" or "failed" (nobody
    tries again for `lease_seconds`); the last three name the message ("alert" or "recovery") and the channel. `counts`
    and `details` are JSON objects. Texts hold counts and names, never a row's values.
    """

    workflow: str
    partition_key: str
    kind: str
    subject: str
    incident_id: str
    sequence: int
    event: str
    summary: str
    counts: str
    details: str
    dag_id: str
    run_id: str
    task_id: str
    message: str
    channel: str
    lease_seconds: int
    recorded_at: datetime


@dataclass(frozen=True, kw_only=True)
class MonitoringRecord:
    """
    One verdict on one window of production, and whether a training was asked for because of it.

    `subject` is "inputs" (verdict "ok", "drift" or "unknown") or "performance" ("ok", "decay" or "unknown"); `reasons`
    is a JSON list of text. `effect` is the largest distance of a feature (inputs); `coverage` the share of predictions
    with a label, `value` with `low` and `high` the metric in the window, `reference` on the model's test rows
    (performance). `request` says why a training was asked for, or why not; `period_key` and `as_of` which one.
    """

    workflow: str
    partition_key: str
    window_end: datetime
    subject: str
    verdict: str
    reasons: str
    model_version: str | None
    n_rows: int
    effect: float | None
    coverage: float | None
    metric: str | None
    value: float | None
    low: float | None
    high: float | None
    reference: float | None
    is_requested: bool
    request: str
    period_key: str | None
    as_of: datetime | None
    recorded_at: datetime


Record = RunRecord | DecisionRecord | PromotionRecord | IncidentEvent | MonitoringRecord
R = TypeVar("R", RunRecord, DecisionRecord, PromotionRecord, IncidentEvent, MonitoringRecord)

_ARROW_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    str | None: pa.string(),
    int: pa.int64(),
    int | None: pa.int64(),
    float | None: pa.float64(),
    bool: pa.bool_(),
    bool | None: pa.bool_(),
    datetime | None: pa.timestamp("us", tz="UTC"),
    datetime: pa.timestamp("us", tz="UTC"),
}


def record_schema(record_type: type[Record]) -> pa.Schema:
    """Return the schema of a ledger table: the record's fields, then the month that partitions it."""
    hints = get_type_hints(record_type)
    return pa.schema(
        [*((field.name, _ARROW_TYPES[hints[field.name]]) for field in fields(record_type)), (MONTH_COLUMN, pa.string())]
    )


def record_row(record: Record) -> pa.Table:
    """
    Return a record as a table of one row.

    Raises
    ------
    LakeError
        If one of its times has no zone: which moment it means would be a guess.

    """
    values = asdict(record)
    for name, value in values.items():
        if isinstance(value, datetime) and value.tzinfo is None:
            raise LakeError(f"{type(record).__name__}.{name}={value.isoformat()} has no time zone: give it in UTC")
    moment = record.decided_at if isinstance(record, DecisionRecord) else record.recorded_at
    month = pc.strftime(pa.array([moment], pa.timestamp("us", tz="UTC")), format="%Y-%m")[0].as_py()
    return pa.Table.from_pylist([{**values, MONTH_COLUMN: month}], schema=record_schema(type(record)))


def record_of_row(record_type: type[R], row: dict[str, Any]) -> R:
    """Return the record that a row of a ledger table holds."""
    return record_type(**{field.name: row[field.name] for field in fields(record_type)})
