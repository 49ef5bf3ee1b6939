"""One connection to a broker, with a session that the broker keeps: what comes while nobody listens is queued there."""

from __future__ import annotations

import select
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode

from include.errors import SourceQueryError, SourceUnavailableError

KEEPALIVE_SECONDS = 60
CONNECT_SECONDS = 10.0
_PORTS = {"mqtt": 1883, "mqtts": 8883}
_REFUSALS = {
    "Bad user name or password": "check the connection's login and password",
    "Not authorized": "check the connection's login and password, and what the broker lets it do",
    "Unsupported protocol version": "the broker has to speak MQTT 3.1.1",
    "Client identifier not valid": "declare another source.client_id",
}


class ConnectionLostError(Exception):
    """Raised when the broker went away; the session can be taken up again."""


@dataclass(frozen=True, kw_only=True)
class Address:
    """Where a broker answers, and as whom to log in."""

    host: str
    port: int
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    is_encrypted: bool = False
    ca_file: str | None = None

    @property
    def name(self) -> str:
        """For messages: no secret."""
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, kw_only=True)
class Received:
    """A message as it came. `payload` is None where it was larger than what is kept."""

    topic: str
    payload: bytes | None
    payload_bytes: int
    qos: int
    is_retained: bool
    is_redelivery: bool
    received_at: datetime
    mid: int


def read_address(uri: str) -> Address:
    """
    Read `mqtt://user:password@host:port/`, or `mqtts://…/?ca_certs=<file>`.

    Raises
    ------
    SourceQueryError
        If it is no such URI.

    """
    parts = urlsplit(uri)
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in _PORTS or not host:
        raise SourceQueryError(
            "the sensor's connection is no mqtt://user:password@host:port/ (or mqtts://): correct the Airflow "
            "connection"
        )
    options = parse_qs(parts.query)
    return Address(
        host=host,
        port=port or _PORTS[parts.scheme],
        username=unquote(parts.username) if parts.username else None,
        password=unquote(parts.password) if parts.password else None,
        is_encrypted=parts.scheme == "mqtts",
        ca_file=options.get("ca_certs", [None])[0],
    )


class Session:
    """A connection of one client id. Nothing runs beside it: it moves only while one of its methods is called."""

    def __init__(
        self, address: Address, *, client_id: str, on_message: Callable[[Received], None], max_payload_bytes: int
    ) -> None:
        self._address, self._client_id = address, client_id
        self._on_message, self._max_payload_bytes = on_message, max_payload_bytes
        self._refusal: str | None = None
        self._granted: Sequence[Any] | None = None
        self._is_open = False
        self.is_present = False
        """Whether the broker had kept the session."""
        self.n_received = 0
        self._client = self._new_client()

    def open(self, topics: Sequence[str]) -> None:
        """
        Connect and subscribe, with QoS 1.

        Raises
        ------
        SourceUnavailableError
            If the broker does not answer, or not as a broker.
        SourceQueryError
            If it refuses the login or a topic.

        """
        address = self._address
        try:
            self._client.connect(address.host, address.port, keepalive=KEEPALIVE_SECONDS)
            self._wait(lambda: self._is_open or self._refusal is not None)
            self._check_refusal()
            self._client.subscribe([(topic, 1) for topic in topics])
            self._wait(lambda: self._granted is not None)
        except (OSError, ConnectionLostError) as error:
            self._check_refusal()
            raise SourceUnavailableError(
                f"the broker {address.name} does not answer ({type(error).__name__}): is it up?"
            ) from error
        for topic, granted in zip(topics, self._granted or (), strict=True):
            if granted.value != 1:
                raise SourceQueryError(
                    f"the broker {address.name} does not give {topic!r} with QoS 1 to {self._client_id!r}: "
                    "allow it there, or correct source.topics"
                )

    def receive(self, timeout_seconds: float, *, has_room: Callable[[], bool]) -> None:
        """
        Wait for messages and hand on those that are there, as long as there is room.

        Raises
        ------
        ConnectionLostError
            If the broker is gone.

        """
        connection = self._client.socket()
        if connection is None:
            raise ConnectionLostError
        select.select([connection], [], [], timeout_seconds)
        while True:
            before = self.n_received
            self._check(self._client.loop_read())
            # Nothing, or half a packet, is there for now.
            if self.n_received == before or not has_room():
                break
        if self._client.want_write():
            self._check(self._client.loop_write())
        self._check(self._client.loop_misc())

    def acknowledge(self, messages: Sequence[Received]) -> None:
        """Tell the broker that messages are durable: it forgets them."""
        for message in messages:
            if message.qos:
                self._check(self._client.ack(message.mid, message.qos))
        give_up_at = monotonic() + CONNECT_SECONDS
        while self._client.want_write():
            connection = self._client.socket()
            if connection is None or monotonic() > give_up_at:
                raise ConnectionLostError
            select.select([], [connection], [], 1)
            self._check(self._client.loop_write())

    def close(self) -> None:
        """Say goodbye. The broker keeps the session."""
        self._client.disconnect()

    def _new_client(self) -> mqtt.Client:
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._client_id,
            clean_session=False,
            protocol=mqtt.MQTTv311,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_SECONDS
        address = self._address
        if address.username is not None:
            client.username_pw_set(address.username, address.password)
        if address.is_encrypted:
            client.tls_set_context(ssl.create_default_context(cafile=address.ca_file))
        client.on_connect = self._connected
        client.on_subscribe = self._subscribed
        client.on_message = self._received
        return client

    def _connected(
        self, _client: mqtt.Client, _data: Any, flags: mqtt.ConnectFlags, reason: Any, _properties: Any
    ) -> None:
        if reason.is_failure:
            self._refusal = str(reason)
        else:
            self._is_open, self.is_present = True, flags.session_present

    def _subscribed(
        self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Sequence[Any], _properties: Any
    ) -> None:
        self._granted = reasons

    def _received(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.n_received += 1
        n_bytes = len(message.payload)
        self._on_message(
            Received(
                topic=message.topic,
                payload=None if n_bytes > self._max_payload_bytes else bytes(message.payload),
                payload_bytes=n_bytes,
                qos=message.qos,
                is_retained=message.retain,
                is_redelivery=message.dup,
                received_at=datetime.now(UTC),
                mid=message.mid,
            )
        )

    def _wait(self, is_done: Callable[[], bool]) -> None:
        give_up_at = monotonic() + CONNECT_SECONDS
        while not is_done():
            if monotonic() > give_up_at:
                raise ConnectionLostError
            self.receive(0.1, has_room=lambda: False)

    def _check(self, code: MQTTErrorCode) -> None:
        if code not in (MQTTErrorCode.MQTT_ERR_SUCCESS, MQTTErrorCode.MQTT_ERR_AGAIN):
            raise ConnectionLostError

    def _check_refusal(self) -> None:
        refusal, broker = self._refusal, self._address.name
        if refusal in _REFUSALS:
            raise SourceQueryError(f"the broker {broker} refuses {self._client_id!r} ({refusal}): {_REFUSALS[refusal]}")
        if refusal is not None:
            raise SourceUnavailableError(f"the broker {broker} is up but takes no clients now ({refusal}): retry")
