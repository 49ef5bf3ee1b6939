"""Bounds on what one client may ask of the endpoint."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Limits:
    """What a request may cost; beyond it the answer is a clear 4xx."""

    body_bytes: int = 1024 * 1024
    rows: int = 1_000
    depth: int = 16
    arrival_seconds: float = 10.0  # for the whole body, and for the headers of a connection
    header_bytes: int = 64 * 1024
    in_flight: int = 64  # larger requests being scored or waiting for a thread
    arriving: int = 256  # bodies being read at the same time
    arriving_bytes: int = 16 * 1024 * 1024  # of all unfinished bodies together
    inline_rows: int = 16  # up to here a request is scored without a thread hop
    inline_bytes: int = 16 * 1024  # a longer body is parsed in a thread
    threads: int = 2
    linger_bytes: int = 256 * 1024 * 1024  # read and thrown away after a refusal, so that the client gets to read it
