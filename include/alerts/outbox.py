"""
What is due to be sent, and the sending: claim, send, confirm. See `include.lake.deliveries` for what that guarantees.

Of one workflow's incidents the first few are told one by one, at once. When more come within minutes (a backfill that
fails day after day), the rest is left to the watchdog's rounds, each of which tells of all that wait in one message.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Literal

from include.alerts.letter import Channel, Letter
from include.errors import AlertError
from include.lake.crash_points import crash_point
from include.lake.deliveries import Envelope, claim_message, confirm_message, postpone_message
from include.lake.digests import digest_bytes
from include.lake.incidents import Incident, read_incidents
from include.lake.store import Lake

Message = Literal["alert", "recovery"]
MESSAGES: tuple[Message, ...] = ("alert", "recovery")

# Longer than a channel takes to answer or to time out; who dies holding a claim delays its message by so much.
LEASE_SECONDS = 120
# One by one up to so many messages within the window; past that, together.
STORM_SIZE = 3
STORM_WINDOW = timedelta(minutes=5)
# An incident that is over, and that a channel has not been told of for so long, is no news: a new channel is not told
# the past.
STALE = timedelta(days=1)
# A channel that is down is asked again after half a minute, one, two, ... up to a quarter of an hour.
FIRST_WAIT_SECONDS, MAX_WAIT_SECONDS = 30, 900

log = logging.getLogger(__name__)

Composer = Callable[[Sequence[Incident], Message], Letter]


@dataclass(frozen=True, kw_only=True)
class DeliveryCounts:
    """How many messages were sent, how many failed, and how many incidents were left to a later round."""

    sent: int = 0
    failed: int = 0
    waiting: int = 0


@dataclass(frozen=True, kw_only=True)
class Outbox:
    """
    Sends what is due of one workflow's incidents.

    `open_channel` makes a channel of its name when there is something to send; `compose` writes a letter, whose
    delivery id and attempt are set here. `is_round` says that this is a round of the watchdog, which alone tells of
    several incidents in one message.
    """

    lake: Lake
    workflow_name: str
    channels: Sequence[str]
    open_channel: Callable[[str], Channel]
    compose: Composer
    is_round: bool = False

    def deliver(self, *, now: datetime | None = None) -> DeliveryCounts:
        """Send what is due at `now`. A channel that fails keeps no other from being told, and is tried again later."""
        moment = now or datetime.now(UTC)
        counts = DeliveryCounts()
        incidents = read_incidents(self.lake, workflow=self.workflow_name)
        for name, message in product(self.channels, MESSAGES):
            batches, n_waiting = due_batches(
                incidents, message=message, channel=name, is_round=self.is_round, now=moment
            )
            counts = replace(counts, waiting=counts.waiting + n_waiting)
            if not batches:
                continue
            # Before any claim: who dies while it looks for a connection holds up nobody.
            channel = self._open(name)
            told = [self._tell(batch, channel, message=message, name=name, now=now) for batch in batches]
            counts = replace(counts, sent=counts.sent + told.count(True), failed=counts.failed + told.count(False))
            incidents = read_incidents(self.lake, workflow=self.workflow_name)  # what was recorded belongs to the state
        return counts

    def _open(self, name: str) -> Channel:
        try:
            return self.open_channel(name)
        except Exception as error:
            return _Unopened(error)

    def _tell(
        self, batch: Sequence[Incident], channel: Channel, *, message: Message, name: str, now: datetime | None
    ) -> bool | None:
        """Send one message; None if somebody else is at it."""
        before = batch[0].delivery(message, name)
        attempt = 1 + (before.attempts if before else 0)
        delivery_id = before.delivery_id if before else _new_delivery_id(batch, message, name)
        letter = replace(self.compose(batch, message), delivery_id=delivery_id, attempt=attempt)
        envelope, at = Envelope(message=message, channel=name, delivery_id=delivery_id), now or datetime.now(UTC)
        if not claim_message(self.lake, batch, envelope, lease_seconds=LEASE_SECONDS, at=at):
            return None
        crash_point("alert.before_send")
        try:
            channel.send(letter)
        except Exception as error:  # whatever a channel raises, the others are told, and this one later
            wait_seconds = int(min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** min(attempt - 1, 10)))
            log.warning(
                "Nobody was told through %r at attempt %d; tried again in %d s: %s",
                name,
                attempt,
                wait_seconds,
                _cause(error),
            )
            postpone_message(self.lake, batch, envelope, wait_seconds=wait_seconds, at=at)
            return False
        crash_point("alert.after_send")
        confirm_message(self.lake, batch, envelope, at=at)
        return True


@dataclass(frozen=True)
class _Unopened:
    """A channel whose connection is wrong: that counts as a failed attempt, as if it were down."""

    error: Exception

    def send(self, letter: Letter) -> None:
        raise self.error


def _cause(error: Exception) -> str:
    """What to log: of an error that is not ours only its class, for its text could quote a password."""
    return str(error) if isinstance(error, AlertError) else f"{type(error).__name__}: look at the connection's fields"


def due_batches(
    incidents: Iterable[Incident], *, message: Message, channel: str, is_round: bool, now: datetime
) -> tuple[list[list[Incident]], int]:
    """
    Say which messages to send now, each as the incidents that it tells of, and how many incidents are left to a later
    round.

    Parameters
    ----------
    incidents : iterable of Incident
        Those of one workflow.
    message : {"alert", "recovery"}
        Which kind of message.
    channel : str
        Where to.
    is_round : bool
        Whether this is a round of the watchdog.
    now : datetime
        The moment to judge by, aware.

    """
    told = list(incidents)
    due = _one_of_each_chain(i for i in told if _is_due(i, message=message, channel=channel, now=now))
    fresh = [i for i in due if i.delivery(message, channel) is None]
    # What was one message at the last attempt stays one: a second copy then has the first one's id.
    again = list(_by_delivery(due, message=message, channel=channel).values())
    claims = [d for i in told if (d := i.delivery(message, channel)) is not None and d.claimed_at > now - STORM_WINDOW]
    if len(fresh) + len({claim.delivery_id for claim in claims}) <= STORM_SIZE:
        return [*again, *([i] for i in fresh)], 0
    return ([*again, fresh], 0) if is_round and fresh else (again, len(fresh))


def _is_due(incident: Incident, *, message: Message, channel: str, now: datetime) -> bool:
    delivery = incident.delivery(message, channel)
    if delivery is not None and (delivery.is_sent or delivery.claimed_until > now):
        return False
    if message == "alert":
        return incident.is_open or incident.opened_at > now - STALE
    alert = incident.delivery("alert", channel)
    # An alert that was claimed after the end has told of the end as well.
    return not incident.is_open and alert is not None and alert.is_sent and alert.sequence < incident.closed_sequence


def _one_of_each_chain(incidents: Iterable[Incident]) -> list[Incident]:
    """The oldest of each name: one commit appends one event to a chain."""
    found: dict[tuple[str, str, str], Incident] = {}
    for incident in incidents:
        found.setdefault((incident.partition_key, incident.kind, incident.subject), incident)
    return list(found.values())


def _by_delivery(incidents: Iterable[Incident], *, message: Message, channel: str) -> dict[str, list[Incident]]:
    messages: dict[str, list[Incident]] = {}
    for incident in incidents:
        if (delivery := incident.delivery(message, channel)) is not None:
            messages.setdefault(delivery.delivery_id, []).append(incident)
    return messages


def _new_delivery_id(incidents: Iterable[Incident], message: Message, channel: str) -> str:
    return digest_bytes("\n".join([message, channel, *sorted(i.incident_id for i in incidents)]).encode())[:32]
