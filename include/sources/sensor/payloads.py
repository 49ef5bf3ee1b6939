"""
From a message's payload to its declared fields: strictly. A value is what the device wrote, or it is refused; nothing
is bent to fit.

What is refused is named by field and fault, never by its value.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import cbor2
import pyarrow as pa

from include.sources.times import UTC_TIMESTAMP
from include.workflow import SensorSource

ARROW_TYPES: Mapping[str, pa.DataType] = {
    "text": pa.string(),
    "integer": pa.int64(),
    "number": pa.float64(),
    "boolean": pa.bool_(),
    "timestamp": UTC_TIMESTAMP,
    "unix_seconds": UTC_TIMESTAMP,
    "unix_milliseconds": UTC_TIMESTAMP,
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LARGEST_INTEGER = 2**63


class _RefusedError(Exception):
    """Raised with the fault, in words."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """
    What a payload says: a value for each field (None where there is none, or one that was refused), and the first
    fault.
    """

    values: tuple[Any, ...]
    error: str | None


class PayloadReader:
    """Reads the payloads of one source."""

    def __init__(self, source: SensorSource) -> None:
        self._decode = {"json": _decode_json, "cbor": _decode_cbor}[source.payload]
        self._fields = [(name, _CONVERTERS[kind]) for name, kind in source.fields.items()]
        self._nothing = (None,) * len(self._fields)
        self._limit = source.max_payload_bytes

    def read(self, payload: bytes | None) -> Reading:
        """Read one payload; None stands for one that was too large to keep."""
        if payload is None or len(payload) > self._limit:
            return Reading(values=self._nothing, error=f"payload: larger than {self._limit} bytes")
        try:
            found = self._decode(payload)
        except _RefusedError as fault:
            return Reading(values=self._nothing, error=f"payload: {fault}")
        values, error = [], None
        for name, convert in self._fields:
            value = found.get(name)
            if value is not None:
                try:
                    value = convert(value)
                except _RefusedError as fault:
                    value, error = None, error or f"{name}: {fault}"
            values.append(value)
        return Reading(values=tuple(values), error=error)


def _decode_json(payload: bytes) -> Mapping[Any, Any]:
    try:
        found = _JSON.decode(payload.decode("utf-8"))
    except UnicodeDecodeError:
        raise _RefusedError("not UTF-8") from None
    except RecursionError:
        raise _RefusedError("nested too deeply") from None
    except ValueError:
        raise _RefusedError("not JSON") from None
    return _object(found)


def _decode_cbor(payload: bytes) -> Mapping[Any, Any]:
    stream = io.BytesIO(payload)
    try:
        found = cbor2.load(stream)
    except RecursionError:
        raise _RefusedError("nested too deeply") from None
    except (cbor2.CBORDecodeError, ValueError, OverflowError, MemoryError, EOFError, TypeError):
        raise _RefusedError("not CBOR") from None
    if stream.tell() != len(payload):
        raise _RefusedError("more than one CBOR item")
    return _object(found)


def _object(found: Any) -> Mapping[Any, Any]:
    if not isinstance(found, Mapping):
        raise _RefusedError("no object of fields")
    return found


def _refuse_constant(_name: str) -> Any:
    raise _RefusedError("a number that JSON does not have (NaN or Infinity)")


def _object_of_pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _RefusedError("repeats a field")
    return found


_JSON = json.JSONDecoder(parse_constant=_refuse_constant, object_pairs_hook=_object_of_pairs)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise _RefusedError("no text")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _RefusedError("no Unicode text") from None
    return value


def _integer(value: Any) -> int:
    if type(value) is not int:
        raise _RefusedError("no whole number")
    if not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        raise _RefusedError("a whole number of more than 64 bits")
    return value


def _number(value: Any) -> float:
    if type(value) is int:
        try:
            number = float(value)
        except OverflowError:
            raise _RefusedError("too large a number") from None
        if int(number) != value:
            raise _RefusedError("a whole number that no 64-bit float holds exactly")
        return number
    if type(value) is not float:
        raise _RefusedError("no number")
    if not math.isfinite(value):
        raise _RefusedError("not a finite number")
    return value


def _boolean(value: Any) -> bool:
    if type(value) is not bool:
        raise _RefusedError("neither true nor false")
    return value


def _timestamp(value: Any) -> datetime:
    if isinstance(value, datetime):  # CBOR has times of its own
        found = value
    elif not isinstance(value, str) or ":" not in value:
        raise _RefusedError("no ISO 8601 date and time")
    else:
        try:
            found = datetime.fromisoformat(value)
        except ValueError:
            raise _RefusedError("no ISO 8601 date and time") from None
    if found.tzinfo is None:
        return found.replace(tzinfo=UTC)
    try:
        return found.astimezone(UTC)
    except (OverflowError, ValueError):
        raise _RefusedError("a time out of range") from None


def _since_epoch(unit: str) -> Callable[[Any], datetime]:
    def convert(value: Any) -> datetime:
        if isinstance(value, datetime):
            return _timestamp(value)
        try:
            return _EPOCH + timedelta(**{unit: _number(value)})
        except OverflowError:
            raise _RefusedError("a time out of range") from None

    return convert


_CONVERTERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "unix_seconds": _since_epoch("seconds"),
    "unix_milliseconds": _since_epoch("milliseconds"),
}
