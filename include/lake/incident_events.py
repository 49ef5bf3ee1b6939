"""What an incident is, and the chain of events that tells it: see `include.lake.incidents`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.exceptions import CommitFailedError

from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.ledger import MAX_COMMIT_RETRIES
from include.lake.records import MONTH_COLUMN, IncidentEvent, record_of_row, record_row, record_schema
from include.lake.store import Lake, native_filesystem, open_or_create_table, open_table, table_exists

INCIDENTS = "ledger/incidents"


@dataclass(frozen=True, kw_only=True)
class Origin:
    """Which Dag, run and task an incident came from; empty where there is none."""

    dag_id: str = ""
    run_id: str = ""
    task_id: str = ""


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """
    One message of an incident on one channel, as far as it has come.

    `message` is "alert" or "recovery", `sequence` the number of its newest claim; incidents of one `delivery_id` are
    told of together.
    """

    message: str
    channel: str
    delivery_id: str
    sequence: int
    attempts: int
    claimed_at: datetime
    claimed_until: datetime
    is_sent: bool = False


@dataclass(frozen=True, kw_only=True)
class Incident:
    """
    An incident as its events tell it. `sequence` is the newest of its chain, `closed_sequence` that of its end (0: it
    is open).

    `details` may hold `reasons` (pairs of text and a number of rows), `samples` (masked rows) and `triage` (what to
    do).
    """

    workflow: str
    partition_key: str
    kind: str
    subject: str
    incident_id: str
    summary: str
    counts: Mapping[str, int]
    details: Mapping[str, Any]
    origin: Origin
    opened_at: datetime
    opened_sequence: int
    sequence: int
    closed_at: datetime | None = None
    closed_sequence: int = 0
    deliveries: Mapping[tuple[str, str], Delivery] = field(default_factory=dict)

    @property
    def is_open(self) -> bool:
        """Whether nothing has mended it yet."""
        return self.closed_at is None

    def delivery(self, message: str, channel: str) -> Delivery | None:
        """How far a message has come on a channel; None if nobody has claimed it."""
        return self.deliveries.get((message, channel))


def event_of(incident: Incident, *, event: str, **values: Any) -> IncidentEvent:
    """The next event of an incident: it is appended only if nothing else came between."""
    return new_event(
        workflow=incident.workflow,
        partition_key=incident.partition_key,
        kind=incident.kind,
        subject=incident.subject,
        incident_id=incident.incident_id,
        sequence=incident.sequence + 1,
        event=event,
        **values,
    )


def append_events(delta: DeltaTable, events: Sequence[IncidentEvent]) -> bool:
    """
    Append events of different chains in one commit; of none, and return False, if any of the chains has grown
    meanwhile.
    """
    chains = [_chain_of(e) for e in events]
    if any((delta.transaction_version(chain) or 0) != e.sequence - 1 for chain, e in zip(chains, events, strict=True)):
        return False
    transactions = [Transaction(chain, e.sequence) for chain, e in zip(chains, events, strict=True)]
    properties = CommitProperties(app_transactions=transactions, max_commit_retries=MAX_COMMIT_RETRIES)
    crash_point(f"incident_{events[0].event}.before_commit")
    try:
        write_deltalake(
            delta, pa.concat_tables([record_row(e) for e in events]), mode="append", commit_properties=properties
        )
    except CommitFailedError:
        return False
    crash_point(f"incident_{events[0].event}.after_commit")
    return True


def open_chain_table(lake: Lake) -> DeltaTable:
    """Open the table of events, to append to it."""
    return open_or_create_table(lake, INCIDENTS, record_schema(IncidentEvent), partition_by=MONTH_COLUMN)


def read_events(lake: Lake, name: Mapping[str, str]) -> list[IncidentEvent]:
    """Return the events whose columns have the given values, in no order."""
    if not table_exists(lake, INCIDENTS):
        return []
    schema = record_schema(IncidentEvent)
    dataset = open_table(lake, INCIDENTS).to_pyarrow_dataset(
        filesystem=native_filesystem(lake, INCIDENTS), schema=schema
    )
    condition = None
    for column, value in name.items():
        matches = pc.field(column) == value
        condition = matches if condition is None else condition & matches
    return [record_of_row(IncidentEvent, row) for row in dataset.to_table(filter=condition).to_pylist()]


def incidents_of(events: Iterable[IncidentEvent]) -> list[Incident]:
    """Return the incidents that events tell, in the order of their opening."""
    ordered = sorted(events, key=lambda e: (e.workflow, e.partition_key, e.kind, e.subject, e.sequence))
    found: list[Incident] = []
    for _, group in groupby(ordered, key=_chain_of):
        chain = list(group)
        by_incident: dict[str, list[IncidentEvent]] = {}
        for event in chain:
            by_incident.setdefault(event.incident_id, []).append(event)
        found += [replace(_fold(told), sequence=chain[-1].sequence) for told in by_incident.values()]
    return sorted(found, key=lambda incident: (incident.opened_at, incident.incident_id))


def _fold(events: Sequence[IncidentEvent]) -> Incident:
    first = events[0]
    incident = Incident(
        workflow=first.workflow,
        partition_key=first.partition_key,
        kind=first.kind,
        subject=first.subject,
        incident_id=first.incident_id,
        summary=first.summary,
        counts=json.loads(first.counts),
        details=json.loads(first.details),
        origin=Origin(dag_id=first.dag_id, run_id=first.run_id, task_id=first.task_id),
        opened_at=first.recorded_at,
        opened_sequence=first.sequence,
        sequence=first.sequence,
    )
    for event in events[1:]:
        incident = _after(incident, event)
    return incident


def _after(incident: Incident, event: IncidentEvent) -> Incident:
    if event.event == "closed":
        return replace(incident, closed_at=event.recorded_at, closed_sequence=event.sequence)
    key = (event.message, event.channel)
    before = incident.deliveries.get(key)
    until = event.recorded_at + timedelta(seconds=event.lease_seconds)
    if event.event == "claimed" or before is None:
        attempts = 1 + (before.attempts if before else 0)
        now = Delivery(
            message=event.message,
            channel=event.channel,
            delivery_id=json.loads(event.details).get("delivery_id", ""),
            sequence=event.sequence,
            attempts=attempts,
            claimed_at=event.recorded_at,
            claimed_until=until,
        )
    else:
        now = replace(before, is_sent=event.event == "sent", claimed_until=until)
    return replace(incident, deliveries={**incident.deliveries, key: now})


def new_event(**values: Any) -> IncidentEvent:
    """An event of now; what is not given is empty."""
    empty = {
        "summary": "",
        "counts": "{}",
        "details": "{}",
        "dag_id": "",
        "run_id": "",
        "task_id": "",
        "message": "",
        "channel": "",
        "lease_seconds": 0,
    }
    return IncidentEvent(**{**empty, "recorded_at": datetime.now(UTC), **values})


def chain_name(workflow: str, partition_key: str, kind: str, subject: str) -> str:
    """Name of the Delta transaction that all events of one (workflow, partition_key, kind, subject) take part in."""
    return f"incident:{digest_bytes(json.dumps([workflow, partition_key, kind, subject]).encode())[:32]}"


def _chain_of(event: IncidentEvent) -> str:
    return chain_name(event.workflow, event.partition_key, event.kind, event.subject)
