"""
Who sends which message of an incident: claim, send, confirm.

A claim is a lease in the incident's chain, so of two senders one wins. Who wins sends, and then confirms. A sender that
dies in between leaves a lease that runs out: the message is claimed again. So a message is sent exactly once, unless
its sender dies, or loses the lake, after the channel took the message and before the confirmation is in the ledger:
then a second copy goes out, under the same delivery id.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from include.errors import ConcurrentWriteError
from include.lake.incident_events import (
    INCIDENTS,
    Incident,
    append_events,
    event_of,
    incidents_of,
    open_chain_table,
    read_events,
)
from include.lake.ledger import APPEND_ATTEMPTS, pause_between_attempts
from include.lake.store import Lake


@dataclass(frozen=True, kw_only=True)
class Envelope:
    """Which message ("alert" or "recovery"), where to, and its name, which is the same at every attempt."""

    message: str
    channel: str
    delivery_id: str


def claim_message(
    lake: Lake, incidents: Sequence[Incident], envelope: Envelope, *, lease_seconds: int, at: datetime
) -> bool:
    """
    Claim the sending of one message that tells of some incidents; return whether this process is the one to send it.

    Parameters
    ----------
    lake : Lake
        Where the ledger lies.
    incidents : sequence of Incident
        As they were read; no two of one (workflow, partition_key, kind, subject). If any has changed since, nothing is
        claimed.
    envelope : Envelope
        What is to be sent.
    lease_seconds : int
        How long nobody else may send it.
    at : datetime
        The moment of the claim, aware.

    """
    return _append(lake, incidents, envelope, event="claimed", lease_seconds=lease_seconds, at=at)


def confirm_message(lake: Lake, incidents: Sequence[Incident], envelope: Envelope, *, at: datetime) -> None:
    """
    Record that a claimed message was taken by its channel.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.

    """
    _settle(lake, incidents, envelope, event="sent", lease_seconds=0, at=at)


def postpone_message(
    lake: Lake, incidents: Sequence[Incident], envelope: Envelope, *, wait_seconds: int, at: datetime
) -> None:
    """
    Record that a claimed message was not taken: nobody tries again before `wait_seconds` are over.

    Raises
    ------
    ConcurrentWriteError
        If the table stayed contended.

    """
    _settle(lake, incidents, envelope, event="failed", lease_seconds=wait_seconds, at=at)


def _settle(
    lake: Lake, incidents: Sequence[Incident], envelope: Envelope, *, event: str, lease_seconds: int, at: datetime
) -> None:
    wanted = {incident.incident_id for incident in incidents}
    for attempt in range(APPEND_ATTEMPTS):
        # The chains may have grown since: an incident that was closed meanwhile, another channel's claim.
        current = [
            i for i in incidents_of(read_events(lake, {"workflow": incidents[0].workflow})) if i.incident_id in wanted
        ]
        unsettled = [
            i for i in current if (d := i.delivery(envelope.message, envelope.channel)) is not None and not d.is_sent
        ]
        if not unsettled or _append(lake, unsettled, envelope, event=event, lease_seconds=lease_seconds, at=at):
            return
        pause_between_attempts(attempt)
    raise ConcurrentWriteError(f"{INCIDENTS!r} was changed by others at each of {APPEND_ATTEMPTS} attempts: run again")


def _append(
    lake: Lake, incidents: Sequence[Incident], envelope: Envelope, *, event: str, lease_seconds: int, at: datetime
) -> bool:
    told = {
        "message": envelope.message,
        "channel": envelope.channel,
        "details": json.dumps({"delivery_id": envelope.delivery_id}),
    }
    events = [event_of(i, event=event, lease_seconds=lease_seconds, recorded_at=at, **told) for i in incidents]
    return append_events(open_chain_table(lake), events)
