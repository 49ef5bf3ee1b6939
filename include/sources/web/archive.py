"""
The archive of a site: every response that brought something new, as it was received.

Bodies lie in `<name>/_pages/<sha256>`, once each; the landing table `<name>/responses` says which page answered with
which body, and when.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, fields
from datetime import datetime
from typing import Any

import pyarrow as pa

from include.errors import CorruptDataError
from include.lake.crash_points import crash_point
from include.lake.digests import digest_bytes
from include.lake.files import get_file, put_file
from include.lake.landing import append_batch
from include.lake.partitions import list_partitions, read_partitions
from include.lake.store import Lake, table_exists
from include.sources.times import UTC_TIMESTAMP
from include.sources.web.fetching import Fetched

_KEPT_HEADERS = (
    "Cache-Control",
    "Content-Encoding",
    "Content-Language",
    "Content-Type",
    "Date",
    "ETag",
    "Last-Modified",
    "Server",
)
_TYPES = {"int": pa.int64(), "datetime": UTC_TIMESTAMP}


@dataclass(frozen=True, kw_only=True)
class Stored:
    """One archived response: a line of the landing table."""

    url: str
    role: str  # "page" or "robots"
    final_url: str
    status: int
    headers: str
    etag: str | None
    last_modified: str | None
    content_type: str | None
    encoding: str | None
    body_digest: str | None
    n_bytes: int
    fetched_at: datetime
    crawl_id: str


class Archive:
    """What lies in a workflow's archive now."""

    def __init__(self, lake: Lake, name: str) -> None:
        self.lake, self.name = lake, name
        self._by_url: dict[str, list[Stored]] = defaultdict(list)
        for stored in _read(lake, table_of(name)):
            self._by_url[stored.url].append(stored)

    def history(self, url: str) -> list[Stored]:
        """All responses of an address, oldest first."""
        return self._by_url.get(url, [])

    def newest(self, url: str) -> Stored | None:
        """Return the last archived response of an address."""
        history = self.history(url)
        return history[-1] if history else None

    @property
    def pages(self) -> list[str]:
        """Addresses of all archived pages, sorted."""
        return sorted(url for url, history in self._by_url.items() if history[-1].role == "page")

    def conditions(self, url: str) -> dict[str, str]:
        """Headers by which a server need not send again what we have of an address."""
        known = self.newest(url)
        named = {"If-None-Match": known.etag, "If-Modified-Since": known.last_modified} if known is not None else {}
        return {name: value for name, value in named.items() if value}

    @property
    def last_crawl(self) -> list[Stored]:
        """What the crawl landed that landed last."""
        newest = max((history[-1] for history in self._by_url.values()), key=_order, default=None)
        if newest is None:
            return []
        return [stored for history in self._by_url.values() for stored in history if stored.crawl_id == newest.crawl_id]

    def body(self, stored: Stored) -> bytes:
        """
        Bytes of an archived response.

        Raises
        ------
        CorruptDataError
            If they are not those that were received.

        """
        if stored.body_digest is None:
            return b""
        data = get_file(self.lake, _path(self.name, stored.body_digest))
        if digest_bytes(data) != stored.body_digest:
            raise CorruptDataError(
                f"{_path(self.name, stored.body_digest)}: the archived page differs from its digest: restore it"
            )
        return data

    def keep_body(self, body: bytes) -> str:
        """Put a body into the archive, once, and return its digest."""
        digest = digest_bytes(body)
        put_file(self.lake, _path(self.name, digest), body)
        crash_point("crawl.after_body")
        return digest


def table_of(name: str) -> str:
    """Landing table of a workflow's pages."""
    return f"{name}/responses"


def describe(fetched: Fetched, *, role: str, encoding: str | None, body_digest: str | None, crawl_id: str) -> Stored:
    """Line of the landing table for a response."""
    headers = {name: fetched.headers[name] for name in _KEPT_HEADERS if name in fetched.headers}
    return Stored(
        url=fetched.url if role == "robots" else fetched.final_url,
        role=role,
        final_url=fetched.final_url,
        status=fetched.status,
        headers=json.dumps(headers, sort_keys=True),
        etag=fetched.headers.get("ETag"),
        last_modified=fetched.headers.get("Last-Modified"),
        content_type=fetched.headers.get("Content-Type"),
        encoding=encoding,
        body_digest=body_digest,
        n_bytes=len(fetched.body or b""),
        fetched_at=fetched.fetched_at,
        crawl_id=crawl_id,
    )


def land(lake: Lake, name: str, responses: list[Stored], *, crawl_id: str) -> None:
    """Append one crawl's responses, in one commit."""
    if responses:
        day = min(stored.fetched_at for stored in responses).date().isoformat()
        rows = pa.Table.from_pylist([vars(stored) for stored in sorted(responses, key=_order)], schema=_schema())
        append_batch(lake, table_of(name), rows, partition_key=day, batch_id=crawl_id)


def _read(lake: Lake, table: str) -> list[Stored]:
    if not table_exists(lake, table):
        return []
    keys = list_partitions(lake, table)
    rows = read_partitions(lake, table, keys).to_pylist()
    return sorted((Stored(**row) for row in rows), key=_order)


def _order(stored: Stored) -> tuple[Any, ...]:
    return (stored.fetched_at, stored.url, stored.crawl_id)


def _schema() -> pa.Schema:
    # The annotations are texts: "int", "str | None", "datetime".
    return pa.schema([pa.field(field.name, _TYPES.get(str(field.type), pa.string())) for field in fields(Stored)])


def _path(name: str, digest: str) -> str:
    return f"{name}/_pages/{digest}"
