"""
Alerts to a web hook: one signed POST of JSON.

The receiver recomputes HMAC-SHA256 of `<X-Updraft-Timestamp>.<body>` with the shared secret and compares it with
`X-Updraft-Signature`.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from urllib.parse import urlsplit

import requests

from include.alerts.letter import ChannelSettings, Letter
from include.errors import ChannelError, DeliveryError

CONNECT_SECONDS, READ_SECONDS = 5, 10


@dataclass(frozen=True)
class WebhookChannel:
    """
    An address that takes letters as JSON.

    The connection's host is the whole address (`https://hooks.example.com/updraft`), or a host with port and the
    path as the schema; its password is the secret of the signature.
    """

    settings: ChannelSettings

    def send(self, letter: Letter) -> None:
        """Post the letter; any 2xx answer means that it was taken."""
        body = json.dumps(dict(letter.fields), sort_keys=True).encode()
        address = self._address()
        try:
            with requests.Session() as session:
                session.trust_env = False  # no proxy of the environment: it would read what is signed
                answer = session.post(
                    address,
                    data=body,
                    headers=self._headers(letter, body),
                    timeout=(CONNECT_SECONDS, READ_SECONDS),
                    allow_redirects=False,
                )
        except requests.RequestException as error:
            raise DeliveryError(
                f"web hook of connection {self.settings.name!r} did not answer: {type(error).__name__}"
            ) from None
        if not 200 <= answer.status_code < 300:
            raise DeliveryError(f"web hook of connection {self.settings.name!r} answered {answer.status_code}")

    def _headers(self, letter: Letter, body: bytes) -> dict[str, str]:
        if not self.settings.password:
            raise ChannelError(
                f"connection {self.settings.name!r} has no password: it is the secret that signs the web hook's "
                "messages"
            )
        timestamp = str(int(time.time()))
        return {
            "Content-Type": "application/json",
            "User-Agent": "updraft-alerts/1",
            "X-Updraft-Delivery": letter.delivery_id,
            "X-Updraft-Attempt": str(letter.attempt),
            "X-Updraft-Timestamp": timestamp,
            "X-Updraft-Signature": sign(body, timestamp=timestamp, secret=self.settings.password),
        }

    def _address(self) -> str:
        settings = self.settings
        if "://" in settings.host:
            address = settings.host
        else:
            is_protocol = settings.schema in {"http", "https"}
            protocol = settings.schema if is_protocol else settings.conn_type
            port = f":{settings.port}" if settings.port else ""
            address = f"{protocol}://{settings.host}{port}/{'' if is_protocol else settings.schema.lstrip('/')}"
        if not urlsplit(address).hostname:
            raise ChannelError(
                f"connection {settings.name!r} names no host: give the web hook's whole address as the host"
            )
        return address


def sign(body: bytes, *, timestamp: str, secret: str) -> str:
    """
    Signature of a body.

    Parameters
    ----------
    body : bytes
        As it is sent.
    timestamp : str
        Seconds since 1970. A receiver refuses one that is minutes away from its own clock, so that no old message can
        be played again.
    secret : str
        What both sides know.

    Returns
    -------
    str
        "sha256=" and 64 hexadecimal digits.

    """
    return "sha256=" + hmac.new(secret.encode(), timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()
