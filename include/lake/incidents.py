"""
Incidents: what went wrong, that it was mended, and whom it was told. An append-only Delta table of events.

Those of one (workflow, partition_key, kind, subject) form a chain. Each event's number is the version of the chain's
Delta transaction: of two processes that append to the same state of a chain, one wins. So an incident is opened once
however many see it, and a message is claimed by one sender.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from include.errors import ConcurrentWriteError
from include.lake.incident_events import (
    INCIDENTS,
    Delivery,
    Incident,
    Origin,
    append_events,
    chain_name,
    event_of,
    incidents_of,
    new_event,
    open_chain_table,
    read_events,
)
from include.lake.ledger import APPEND_ATTEMPTS, pause_between_attempts
from include.lake.store import Lake

__all__ = [
    "INCIDENTS",
    "Delivery",
    "Incident",
    "Origin",
    "close_incident",
    "last_incident",
    "open_incident",
    "open_incidents",
    "read_incidents",
]


def open_incident(  # noqa: PLR0913 - who, what and where of one record
    lake: Lake,
    *,
    workflow: str,
    partition_key: str,
    kind: str,
    subject: str,
    summary: str,
    counts: Mapping[str, int],
    origin: Origin | None = None,
    details: Mapping[str, Any] | None = None,
) -> str:
    """
    Record that something is wrong, and return the incident's id. While one of the same name is open, that one is
    returned.

    Parameters
    ----------
    lake : Lake
        Where the ledger lies.
    workflow, partition_key, kind, subject : str
        The incident's name. `partition_key` may be empty; `kind` is for instance "missing_readings", `subject` a
        device, task or table.
    summary : str
        One sentence for a person: names and counts, never a row's values.
    counts : mapping of str to int
        What was counted, for instance {"rows_in": 240, "rows_quarantined": 31}.
    origin : Origin, optional
        The run and task that met it.
    details : mapping, optional
        What JSON can hold; see `Incident`.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.

    """
    came_from = origin or Origin()
    for attempt in range(APPEND_ATTEMPTS):
        delta = open_chain_table(lake)
        name = {"workflow": workflow, "partition_key": partition_key, "kind": kind, "subject": subject}
        chain = chain_name(**name)
        n_events = delta.transaction_version(chain) or 0
        last = last_incident(lake, **name) if n_events else None
        if last is not None and last.is_open:
            return last.incident_id
        incident_id = f"{chain.removeprefix('incident:')[:16]}-{n_events + 1}"
        event = new_event(
            **name,
            incident_id=incident_id,
            sequence=n_events + 1,
            event="opened",
            summary=summary,
            counts=json.dumps(dict(counts), sort_keys=True),
            details=json.dumps(dict(details or {})),
            dag_id=came_from.dag_id,
            run_id=came_from.run_id,
            task_id=came_from.task_id,
        )
        if append_events(delta, [event]):
            return incident_id
        pause_between_attempts(attempt)
    raise _contended()


def close_incident(lake: Lake, *, workflow: str, partition_key: str, kind: str, subject: str) -> bool:
    """
    Record that an incident is over; return whether one was open.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.

    """
    for attempt in range(APPEND_ATTEMPTS):
        last = last_incident(lake, workflow=workflow, partition_key=partition_key, kind=kind, subject=subject)
        if last is None or not last.is_open:
            return False
        if append_events(open_chain_table(lake), [event_of(last, event="closed")]):
            return True
        pause_between_attempts(attempt)
    raise _contended()


def open_incidents(lake: Lake, *, workflow: str | None = None) -> list[Incident]:
    """Return the incidents that nothing has mended yet, the oldest first."""
    return [incident for incident in read_incidents(lake, workflow=workflow) if incident.is_open]


def last_incident(lake: Lake, *, workflow: str, partition_key: str, kind: str, subject: str) -> Incident | None:
    """Return the newest incident of a name, open or closed; None if there was none."""
    name = {"workflow": workflow, "partition_key": partition_key, "kind": kind, "subject": subject}
    # Clocks of machines differ: the newest is the one that was opened last by the chain's numbers.
    return max(incidents_of(read_events(lake, name)), key=lambda incident: incident.opened_sequence, default=None)


def read_incidents(lake: Lake, *, workflow: str | None = None) -> list[Incident]:
    """Return all incidents, open and closed, in the order of their opening."""
    return incidents_of(read_events(lake, {} if workflow is None else {"workflow": workflow}))


def _contended() -> ConcurrentWriteError:
    return ConcurrentWriteError(f"{INCIDENTS!r} was changed by others at each of {APPEND_ATTEMPTS} attempts: run again")
