"""A source of web pages."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from include.workflow.durations import Duration
from include.workflow.source import ConnectionId, Identifier, Source

ColumnType = Literal["text", "integer", "number", "boolean", "time"]


class WebSource(Source):
    """
    Pages of a web site, crawled politely, archived as they were received, and read from the archive alone.

    A page's rows are what the CSS selector `item` finds; each column of a row is one of `fields`, a selector below the
    item with what to take of it: `"h2.title::text"`, `"a@href"`, `"@id"` (of the item itself). Where selectors are not
    enough, `parser` names a pure function of the workflow's folder that is given a BeautifulSoup of the page and gives
    the rows, each a mapping of columns.
    """

    kind: Literal["web"] = "web"
    start: tuple[str, ...] = Field(
        min_length=1, description="addresses to begin with; relative ones are the connection's"
    )
    conn_id: str | None = Field(
        default=None, pattern=ConnectionId, description="Airflow connection (http): base address and credentials"
    )
    follow: tuple[str, ...] = Field(
        default=(), description="regular expressions: links whose whole address one of them finds are followed"
    )
    hosts: tuple[str, ...] = Field(
        default=(), description="further hosts that may be crawled; without them, the hosts of `start` alone"
    )
    item: str | None = Field(default=None, description="CSS selector of what makes a row")
    fields: dict[str, str] = Field(
        default_factory=dict, description="column -> 'selector::text' or 'selector@attribute', below the item"
    )
    parser: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z_]\w*\.[A-Za-z_]\w*$",
        description="'module.function' in the workflow's folder: a soup in, rows out",
    )
    types: dict[str, ColumnType] = Field(
        default_factory=dict, description="column -> type; text unless named; all columns of a parser"
    )
    optional: tuple[str, ...] = Field(
        default=(), description="columns that may be missing: without any other the row is quarantined"
    )
    max_pages: int = Field(default=1_000, ge=1, description="more pages than this stop the crawl")
    max_page_bytes: int = Field(default=10_000_000, ge=1, description="of one page, also once decompressed")
    max_bytes: int = Field(default=500_000_000, ge=1, description="of one crawl")
    deadline: Duration = Field(default=timedelta(minutes=30), description="bound on one crawl")
    page_timeout_seconds: float = Field(
        default=60, gt=0, description="bound on one request, from resolving the name to the last byte"
    )
    delay_seconds: float = Field(
        default=1, ge=0, description="between two requests to a host; a longer Crawl-delay of its robots.txt wins"
    )
    concurrency: int = Field(default=4, ge=1, le=64, description="requests on their way at once")
    contact: str = Field(
        min_length=3, pattern=r"^[\x21-\x7e]+$", description="address or page of whoever answers for the crawl"
    )
    allow_private_hosts: tuple[str, ...] = Field(
        default=(), description="'host:port' that may lie inside our own network"
    )
    replay: Literal["archived"] = "archived"

    connection_types: ClassVar[tuple[str, ...]] = ("http", "https")

    @field_validator("follow")
    @classmethod
    def _check_patterns(cls, patterns: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in patterns:
            try:
                re.compile(pattern)
            except re.error as error:
                raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
        return patterns

    @field_validator("fields", "types")
    @classmethod
    def _check_names(cls, columns: dict[str, str]) -> dict[str, str]:
        for name in columns:
            if not re.fullmatch(Identifier, name):
                raise ValueError(f"{name!r} is no column's name: use letters, digits and _")
        return columns

    @field_validator("fields")
    @classmethod
    def _check_fields(cls, fields: dict[str, str]) -> dict[str, str]:
        for name, selector in fields.items():
            if not re.search(r"(::text|@[\w:-]+)$", selector):
                raise ValueError(f"{name}: {selector!r} does not say what to take: end it with ::text or @attribute")
        return fields

    @field_validator("allow_private_hosts")
    @classmethod
    def _check_hosts(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        for host in hosts:
            if not re.fullmatch(r"[^/@\s]+:\d{1,5}", host):
                raise ValueError(f"{host!r}: write host:port, for instance 127.0.0.1:8080")
        return hosts

    @model_validator(mode="after")
    def _check_rows(self) -> WebSource:
        if self.parser is None and (self.item is None or not self.fields):
            raise ValueError("give item and fields, or a parser: nothing else says what a row is")
        if self.parser is not None and (self.item is not None or self.fields):
            raise ValueError("a parser finds the rows by itself: leave item and fields out")
        if self.conn_id is None and not all(re.match(r"https?://[^/]", address) for address in self.start):
            raise ValueError(
                "start: write whole addresses (http://… or https://…), or name the connection that relative ones "
                "belong to"
            )
        for role, names in (("event_time", (self.event_time,)), ("known_time", (self.known_time,)), ("key", self.key)):
            missing = [name for name in names if name not in self.columns]
            if missing:
                raise ValueError(
                    f"{role} names {missing[0]!r}, which is no column: there are {', '.join(self.columns)}"
                )
        strangers = sorted({*self.types, *self.optional} - set(self.columns))
        if strangers:
            raise ValueError(
                f"types and optional name {strangers[0]!r}, which is no column: there are {', '.join(self.columns)}"
            )
        return self

    @property
    def columns(self) -> dict[str, ColumnType]:
        """Each column's type, in the order of its declaration; event and known time are times."""
        names = self.types if self.parser is not None else self.fields
        times = (self.event_time, self.known_time)
        return {name: "time" if name in times else self.types.get(name, "text") for name in names}

    @property
    def files(self) -> dict[str, str]:
        """The parser's module."""
        return {} if self.parser is None else {"source.parser": f"{self.parser.split('.')[0]}.py"}
