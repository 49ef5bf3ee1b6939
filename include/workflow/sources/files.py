"""Files in a folder or on an object store."""

from __future__ import annotations

import codecs
import re
from datetime import timedelta
from typing import Annotated, ClassVar, Literal

from pydantic import Field, StringConstraints, field_validator, model_validator

from include.workflow.durations import Duration
from include.workflow.source import ConnectionId, Identifier, ReplayContract, Source

FileFormat = Literal["csv", "excel", "json_lines", "parquet"]
ColumnType = Annotated[
    str, StringConstraints(pattern=r"^(text|integer|number|boolean|timestamp|date|decimal(\(\d{1,2},\s?\d{1,2}\))?)$")
]
ColumnName = Annotated[str, StringConstraints(pattern=Identifier)]

PARTITION_KEY = "{partition_key}"
MODIFIED_AT = "modified_at"
_WILD = re.compile(r"[*?\[\]]")


class FileSource(Source):
    """
    Files of one layout, read strictly: what is not exactly what is declared is refused, never bent.

    With `{partition_key}` in the path, a partition reads its own files. Without it, each partition reads all of them
    and keeps the rows of its time. The known time may be `modified_at`: the moment at which the row's file was last
    changed.
    """

    kind: Literal["files"] = "files"
    path: str = Field(
        description="'/folder/{partition_key}/*.csv' or 's3://bucket/prefix_{partition_key}.csv.gz'; *, ? and [] are "
        "wild"
    )
    conn_id: str | None = Field(
        default=None, pattern=ConnectionId, description="Airflow connection: aws; without it, the machine's own"
    )
    format: FileFormat
    columns: dict[ColumnName, ColumnType] = Field(
        default_factory=dict, description="each column's type; only parquet may leave it out"
    )
    headers: dict[str, str] = Field(
        default_factory=dict, description="what the file calls a column, where that is not its name"
    )
    optional: tuple[str, ...] = Field(default=(), description="columns that a file may lack: null then")
    null_values: tuple[str, ...] = Field(default=("",), description="texts that mean 'no value'")
    delimiter: str = Field(default=",", pattern=r"^[\x09\x20-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]$")
    quote: str | None = Field(
        default='"',
        pattern=r"^[\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e]$",
        description="None: quotes are characters as any other",
    )
    encoding: str = "utf-8"
    decimal_comma: bool = Field(default=False, description="numbers are written 1,5")
    newlines_in_values: bool = Field(default=False, description="a quoted value may hold line breaks")
    final_newline: Literal["required", "optional"] = Field(
        default="required", description="'optional': the last line may end without a break"
    )
    sheet: str | None = Field(default=None, description="the workbook's sheet; without it, there must be only one")
    member: str | None = Field(default=None, description="which members of a zip are read, for instance '*.csv'")
    settled: Duration = Field(
        default=timedelta(minutes=1), description="a file that was changed more recently may still be growing"
    )
    done_marker: str | None = Field(
        default=None, description="'{file}.done' (each file has its own) or '_SUCCESS' (each folder has one)"
    )
    max_bytes: int = Field(default=4 * 2**30, gt=0, description="bound on one file's bytes, unpacked")
    max_ratio: float = Field(default=200, gt=1, description="bound on unpacked bytes for each packed one")
    on_unreadable: Literal["stop", "dead_letter"] = Field(
        default="stop", description="what becomes of a truncated or damaged file"
    )
    replay: ReplayContract = Field(default="replayable", description="'forward_only' where files are taken away again")

    connection_types: ClassVar[tuple[str, ...]] = ("aws",)

    @field_validator("path")
    @classmethod
    def _check_path(cls, value: str) -> str:
        if not re.match(r"^(/|s3://[^/]+/)[^/]", value):
            raise ValueError("give an absolute path or s3://bucket/prefix")
        rest = value.replace(PARTITION_KEY, "")
        if "{" in rest or "}" in rest:
            raise ValueError("the only name in braces is {partition_key}")
        segments = value.removeprefix("s3://").strip("/").split("/")
        if any(segment in ("", ".", "..", "**") for segment in segments):
            raise ValueError("a path has no empty segment, no '.', no '..' and no '**'")
        if value.startswith("s3://") and (_WILD.search(segments[0]) or PARTITION_KEY in segments[0]):
            raise ValueError("a bucket is named in full")
        return value

    @field_validator("encoding")
    @classmethod
    def _check_encoding(cls, value: str) -> str:
        try:
            name, is_plain = codecs.lookup(value).name, "a\n".encode(value) == b"a\n"
        except (LookupError, UnicodeError, TypeError):
            raise ValueError(
                "Python knows no such text encoding: for instance 'utf-8', 'utf-16', 'cp1252' or 'latin-1'"
            ) from None
        if not is_plain and not name.startswith(("utf-8", "utf-16", "utf-32")):
            raise ValueError("its line breaks can't be found: use one that holds ASCII, or utf-16 or utf-32")
        return value

    @field_validator("done_marker")
    @classmethod
    def _check_marker(cls, value: str | None) -> str | None:
        if value is not None and ("/" in value or not value.replace("{file}", "")):
            raise ValueError("name a file beside the data, for instance '{file}.done' or '_SUCCESS'")
        return value

    @model_validator(mode="after")
    def _check_columns(self) -> FileSource:
        if not self.columns:
            if self.format != "parquet":
                raise ValueError(
                    f"columns is missing: a {self.format} file does not say its types, so declare each column's"
                )
            return self
        roles = [
            ("event_time", self.event_time),
            ("known_time", self.known_time),
            *(("key", name) for name in self.key),
        ]
        roles += [("headers", name) for name in self.headers] + [("optional", name) for name in self.optional]
        for role, name in roles:
            if name not in self.columns and (role, name) != ("known_time", MODIFIED_AT):
                raise ValueError(f"{role} names {name!r}, which is none of the columns: {', '.join(self.columns)}")
        self._check_types()
        return self

    def _check_types(self) -> None:
        for role, name in (("event_time", self.event_time), ("known_time", self.known_time)):
            if self.columns.get(name, "timestamp") not in ("timestamp", "date"):
                raise ValueError(
                    f"{role} names {name!r}, which is {self.columns[name]}: a time is a timestamp or a date"
                )
        in_file = [self.headers.get(name, name) for name in self.columns]
        if len(set(in_file)) < len(in_file):
            raise ValueError("headers gives two columns the same header")
        if self.delimiter == self.quote:
            raise ValueError("delimiter and quote are the same character")
        if self.decimal_comma and self.delimiter == "," and self.format == "csv":
            raise ValueError("decimal_comma needs another delimiter than the comma, for instance ';'")
        for name, kind in self.columns.items():
            digits = re.findall(r"\d+", kind)
            if digits and not 0 <= int(digits[1]) <= int(digits[0]) <= 38:
                raise ValueError(
                    f"columns: {name} is {kind}: write decimal(digits, of them after the point), at most 38 digits"
                )
            if digits and int(digits[0]) == 0:
                raise ValueError(f"columns: {name} is {kind}: a decimal has at least one digit")
