"""
Drain the broker's queue: gather a batch, commit it, then acknowledge it.

A message that was acknowledged is durable; one that was not is delivered again. A process that is killed between the
two leaves a copy, never a hole.

A broker stops after so many unacknowledged messages (mosquitto: 20, NATS: 1,024 unless configured): a batch that waited
for more would wait for ever. So a batch is also committed when nothing comes for a moment; and where that happened at a
count, at that count at once.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from time import monotonic, sleep

from include.errors import SourceUnavailableError
from include.lake.crash_points import crash_point
from include.lake.store import Lake
from include.sources.sensor.messages import land
from include.sources.sensor.session import Address, ConnectionLostError, Received, Session
from include.workflow import SensorSource, Workflow

BATCH_MESSAGES = 10_000
BATCH_BYTES = 16 * 2**20
FLUSH_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 5.0

_LOG = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Drained:
    """What one draining did. `is_new_session`: the broker knew nothing of us, so nothing was queued before."""

    n_messages: int = 0
    n_bytes: int = 0
    n_batches: int = 0
    n_reconnects: int = 0
    is_new_session: bool = False
    is_empty: bool = False


@dataclass(kw_only=True)
class _Inbox:
    """Messages that are not durable yet."""

    messages: list[Received] = field(default_factory=list)
    n_bytes: int = 0

    def add(self, message: Received) -> None:
        self.messages.append(message)
        self.n_bytes += message.payload_bytes

    def take(self) -> list[Received]:
        taken, self.messages, self.n_bytes = self.messages, [], 0
        return taken


class Drain:
    """
    One draining of one queue, within the source's bounds on messages, time and memory.

    `on_session` is told after each connect, before anything lands, whether the broker had kept our session.
    """

    def __init__(
        self,
        source: SensorSource,
        *,
        workflow: Workflow,
        address: Address,
        client_id: str,
        lake: Lake,
        on_session: Callable[[bool], None] = lambda _: None,
    ) -> None:
        self._source, self._workflow, self._lake, self._on_session = source, workflow, lake, on_session
        self._address, self._client_id = address, client_id
        self._inbox, self._window = _Inbox(), 0
        self._stop_at = 0.0
        self.drained = Drained()

    def run(self) -> Drained:
        """
        Drain until the queue is empty or a bound is met; a broker that goes away is waited for as long as the time
        lasts.

        Raises
        ------
        SourceError
            If the broker can't be asked. What had arrived by then has landed.

        """
        self._stop_at = monotonic() + self._source.max_seconds
        is_first = True
        while True:
            try:
                with contextlib.closing(self._new_session()) as session:
                    session.open(self._source.topics)
                    self._on_session(session.is_present)
                    if is_first:
                        self.drained.is_new_session = not session.is_present
                        is_first = False
                    self._until_over(session)
                    return self.drained
            except (ConnectionLostError, SourceUnavailableError) as error:
                if is_first:
                    raise
                # The broker may have lost what it gave us: what is here is kept, and may come a second time.
                self._land()
                self._wait_for_broker(error)

    def _new_session(self) -> Session:
        return Session(
            self._address,
            client_id=self._client_id,
            on_message=self._inbox.add,
            max_payload_bytes=self._source.max_payload_bytes,
        )

    def _until_over(self, session: Session) -> None:
        last = monotonic()
        while self._is_wanted() and monotonic() < self._stop_at:
            before = session.n_received
            session.receive(
                FLUSH_SECONDS if self._inbox.messages else min(0.5, self._source.idle_seconds), has_room=self._has_room
            )
            if session.n_received > before:
                last = monotonic()
            quiet = monotonic() - last
            if self._is_full() or (self._inbox.messages and quiet >= FLUSH_SECONDS):
                self._learn_window()
                self._land(session)
                last = monotonic()
            elif not self._inbox.messages and quiet >= self._source.idle_seconds:
                self.drained.is_empty = True
                return
        self._land(session)

    def _is_wanted(self) -> bool:
        return self.drained.n_messages + len(self._inbox.messages) < self._source.max_messages

    def _has_room(self) -> bool:
        return len(self._inbox.messages) < BATCH_MESSAGES and self._inbox.n_bytes < BATCH_BYTES and self._is_wanted()

    def _is_full(self) -> bool:
        return not self._has_room() or len(self._inbox.messages) == self._window > 1

    def _learn_window(self) -> None:
        # The broker's own window: more than it has never come without an acknowledgement.
        self._window = len(self._inbox.messages)

    def _land(self, session: Session | None = None) -> None:
        messages = self._inbox.take()
        if not messages:
            return
        crash_point("sensor.before_landing")
        land(messages, workflow=self._workflow, lake=self._lake)
        crash_point("sensor.before_acknowledgement")
        self.drained.n_batches += 1
        self.drained.n_messages += len(messages)
        self.drained.n_bytes += sum(message.payload_bytes for message in messages)
        if session is not None:
            session.acknowledge(messages)
        crash_point("sensor.after_acknowledgement")

    def _wait_for_broker(self, error: Exception) -> None:
        self.drained.n_reconnects += 1
        pause = min(LONGEST_PAUSE_SECONDS, 0.1 * 2 ** min(self.drained.n_reconnects, 10))
        if monotonic() + pause >= self._stop_at:
            name = self._address.name
            raise SourceUnavailableError(
                f"the broker {name} did not answer within source.max_seconds={self._source.max_seconds:g}; "
                f"{self.drained.n_messages} messages have landed, the others stay queued there: is it up?"
            ) from error
        _LOG.info("the connection to %s is gone: trying again in %.1f s", self._address.name, pause)
        sleep(pause)
