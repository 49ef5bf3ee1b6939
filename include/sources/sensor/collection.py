"""Ask the broker for what it has queued, and tell what that changes."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime

from include.lake.incidents import close_incident, open_incident
from include.lake.store import Lake, table_exists
from include.sources.kinds import CollectReport
from include.sources.sensor.arrears import find_reopened, record_gaps, take_stock
from include.sources.sensor.drain import Drain
from include.sources.sensor.messages import messages_table
from include.sources.sensor.session import Session, read_address
from include.workflow import SensorSource, Workflow
from include.workflow.partitions import PartitionWindow

LOST_SESSION = "lost_session"


def collect(
    source: SensorSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str, lake: Lake, token: int
) -> CollectReport:
    """
    Drain the broker's queue into `<name>/messages`.

    The very first collection only subscribes: before it, the broker queued nothing (`counts["is_new_session"]` is 1
    then).

    Returns
    -------
    CollectReport
        `counts["is_drained"]` is 0 if a bound was met before the queue was empty: the rest is still queued.

    Raises
    ------
    SourceUnavailableError
        If the broker does not answer. What had arrived by then has landed.
    SourceQueryError
        If it refuses the login or a topic.

    """
    client_id = client_id_of(source, workflow)
    # Recorded before the draining, for a process that is killed in it has already been given a new session.
    record_session = _SessionRecorder(workflow, client_id, lake=lake)
    address = read_address(connection_uri)
    drained = Drain(
        source, workflow=workflow, address=address, client_id=client_id, lake=lake, on_session=record_session
    ).run()
    stock = take_stock(source, workflow=workflow, now=datetime.now(UTC), lake=lake)
    n_missing = record_gaps(stock, source=source, workflow=workflow, window=window, lake=lake)
    counts = {
        "messages": drained.n_messages,
        "bytes": drained.n_bytes,
        "batches": drained.n_batches,
        "reconnects": drained.n_reconnects,
        "is_new_session": int(drained.is_new_session),
        "is_drained": int(drained.is_empty),
        "missing_readings": n_missing,
    }
    reopened = find_reopened(stock, source=source, workflow=workflow, window=window, lake=lake)
    return CollectReport(is_new=drained.n_messages > 0, reopened=reopened, counts=counts)


def ensure_session(source: SensorSource, *, workflow: Workflow, connection_uri: str) -> bool:
    """
    Make the broker queue from now on what is published, without collecting any of it.

    Returns
    -------
    bool
        Whether it had done so before.

    """
    session = Session(
        read_address(connection_uri),
        client_id=client_id_of(source, workflow),
        # What comes meanwhile is not acknowledged: it stays queued.
        on_message=lambda _: None,
        max_payload_bytes=source.max_payload_bytes,
    )
    with contextlib.closing(session):
        session.open(source.topics)
    return session.is_present


def client_id_of(source: SensorSource, workflow: Workflow) -> str:
    """Under which name the broker keeps the queue: the same in every run."""
    return source.client_id or f"updraft-{workflow.name}"


class _SessionRecorder:
    """A broker that has forgotten a queue may have forgotten readings: devices without a count would never tell."""

    def __init__(self, workflow: Workflow, client_id: str, *, lake: Lake) -> None:
        self._workflow, self._client_id, self._lake = workflow.name, client_id, lake
        self._had_session = table_exists(lake, messages_table(workflow))

    def __call__(self, is_kept: bool) -> None:
        if is_kept:
            close_incident(
                self._lake, workflow=self._workflow, partition_key="", kind=LOST_SESSION, subject=self._client_id
            )
        elif self._had_session:
            open_incident(
                self._lake,
                workflow=self._workflow,
                partition_key="",
                kind=LOST_SESSION,
                subject=self._client_id,
                summary="the broker no longer knew this client: what was published since the last collection may be "
                "lost",
                counts={},
            )
        self._had_session = True
