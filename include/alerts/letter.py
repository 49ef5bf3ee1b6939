"""One message as every channel gets it, and what a channel is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol


@dataclass(frozen=True, kw_only=True)
class Letter:
    """
    A message in the forms that channels need.

    `delivery_id` is the same for every copy of one message on one channel, `fields` what a program reads. `attempt`
    counts from 1.
    """

    delivery_id: str
    attempt: int
    is_recovery: bool
    subject: str
    text: str
    html: str
    fields: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class ChannelSettings:
    """An Airflow connection, as a channel needs it. What may be secret is left out of its repr."""

    name: str
    conn_type: str
    host: str = ""
    port: int | None = None
    login: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    schema: str = ""
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Channel(Protocol):
    """Whatever carries a letter to somebody."""

    def send(self, letter: Letter) -> None:
        """Hand the letter over; raise DeliveryError if it was not taken."""
