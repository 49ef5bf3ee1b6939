"""Sensors that publish over MQTT."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, model_validator

from include.workflow.durations import Duration, describe_duration
from include.workflow.part import Part
from include.workflow.source import ConnectionId, Identifier, Source

FieldType = Literal["text", "integer", "number", "boolean", "timestamp", "unix_seconds", "unix_milliseconds"]
TIME_TYPES = ("timestamp", "unix_seconds", "unix_milliseconds")
RECEIVED_AT = "received_at"
# Columns that every row of a source has beside its payload's fields.
_OWN = frozenset({RECEIVED_AT, "source_name", "source_error", "source_position", "partition_key", "row_id"})
_NAME = re.compile(Identifier)


class Lag(Part):
    """What the same device read exactly `by` before a row's own event time."""

    field: str = Field(pattern=Identifier, description="a field of the payload")
    by: Duration


class SensorSource(Source):
    """
    Readings of devices, one message each, from an MQTT broker.

    The broker queues what comes while nobody listens; a run drains the queue, and acknowledges a message only once it
    is durable in the lake. Each row has the payload's declared `fields`, and `received_at`, our own clock's time of its
    arrival.
    """

    kind: Literal["sensor"] = "sensor"
    conn_id: str = Field(pattern=ConnectionId, description="Airflow connection: mqtt or mqtts")
    topics: tuple[str, ...] = Field(min_length=1, description="topic filters; + and # are MQTT's wildcards")
    payload: Literal["json", "cbor"] = "json"
    fields: dict[str, FieldType] = Field(
        min_length=1, description="the payload's fields that become columns, and their types"
    )
    device: str = Field(pattern=Identifier, description="field that says which device it was")
    sequence: str | None = Field(
        default=None, pattern=Identifier, description="field that counts a device's readings, without a hole"
    )
    every: Duration | None = Field(default=None, description="how often each device sends: tells a silent one, too")
    key: tuple[str, ...] = Field(min_length=1, description="fields that identify a reading")
    known_time: str = Field(
        default=RECEIVED_AT, pattern=Identifier, description="received_at, or a field of the payload"
    )
    lateness: Duration = Field(default=timedelta(days=2), description="how late a reading may arrive and still count")
    clock_tolerance: Duration = Field(
        default=timedelta(minutes=10), description="how far a device's clock may be ahead of ours"
    )
    client_id: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9_-]{1,64}$",
        description="whose queue at the broker; by default updraft-<workflow>",
    )
    max_messages: int = Field(default=1_000_000, ge=1, description="bound on one collection; the rest stays queued")
    max_seconds: float = Field(default=300, gt=0, description="bound on one collection; the rest stays queued")
    idle_seconds: float = Field(default=2, gt=0, description="a queue that gives nothing for so long is empty")
    max_payload_bytes: int = Field(
        default=65_536, ge=2, le=16 * 2**20, description="a larger payload is quarantined, unread"
    )
    lags: dict[str, Lag] = Field(
        default_factory=dict, description="columns that hold earlier readings of the same device"
    )
    lead: Duration | None = Field(
        default=None,
        description="how long before a row's event its forecast is made: what was not known by then is in no lag "
        "(default: the shortest)",
    )
    replay: Literal["archived"] = "archived"

    connection_types: ClassVar[tuple[str, ...]] = ("mqtt", "mqtts")

    @model_validator(mode="after")
    def _check_columns(self) -> SensorSource:
        for name in self.fields:
            if not _NAME.fullmatch(name):
                raise ValueError(f"fields names {name!r}: write letters, digits and _ only, as a column's name")
            if name.lower() in _OWN:
                raise ValueError(
                    f"fields names {name!r}, which is a column that Updraft adds itself: let the devices send another "
                    "name"
                )
        self._check_type("event_time", self.event_time, TIME_TYPES)
        if self.known_time != RECEIVED_AT:
            self._check_type("known_time", self.known_time, TIME_TYPES)
        self._check_type("device", self.device, ("text", "integer"))
        if self.sequence is not None:
            self._check_type("sequence", self.sequence, ("integer",))
        for name in self.key:
            if name not in self.fields:
                raise ValueError(f"key names {name!r}, which is none of the fields {', '.join(self.fields)}")
        return self

    @model_validator(mode="after")
    def _check_lags(self) -> SensorSource:
        for name, lag in self.lags.items():
            if not _NAME.fullmatch(name) or name in self.fields or name.lower() in _OWN:
                raise ValueError(
                    f"lags names {name!r}: give a column's name (letters, digits and _) that no other column has"
                )
            if lag.field not in self.fields:
                raise ValueError(
                    f"lags: {name} is of {lag.field!r}, which is none of the fields {', '.join(self.fields)}"
                )
            if self.lead is not None and lag.by < self.lead:
                raise ValueError(
                    f"lags: {name} is of {describe_duration(lag.by)} before, which is after the forecast was made "
                    f"(lead={describe_duration(self.lead)}): take an earlier reading, or shorten lead"
                )
        return self

    @property
    def late_columns(self) -> frozenset[str]:
        """
        With lags a row is a reading that is yet to come: all that it says itself is not known when it is
        forecast.
        """
        if not self.lags:
            return super().late_columns | {RECEIVED_AT}
        return frozenset({*self.fields, RECEIVED_AT} - {self.event_time, self.device})

    @model_validator(mode="after")
    def _check_topics(self) -> SensorSource:
        for topic in self.topics:
            levels = topic.split("/")
            is_wild = any(("+" in level or "#" in level) and len(level) > 1 for level in levels) or "#" in levels[:-1]
            if not topic or is_wild or "\0" in topic or len(topic) > 1024:
                raise ValueError(
                    f"topics names {topic!r}: + stands for one whole level, # for all that follow, at the end"
                )
        return self

    def _check_type(self, role: str, name: str, types: tuple[str, ...]) -> None:
        found = self.fields.get(name)
        if found not in types:
            what = "none of the fields" if found is None else f"a {found}"
            raise ValueError(f"{role}={name!r} is {what}: declare it in fields as {' or '.join(types)}")
