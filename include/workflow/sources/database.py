"""A database source."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from include.workflow.durations import Duration
from include.workflow.source import ConnectionId, ReplayContract, Source


class DatabaseSource(Source):
    """
    A query against a database, one partition at a time, or what has changed since the last time.

    The query is a file beside the declaration. It names its bounds (UTC, half-open), which are bound, never pasted:
    `:partition_start` and `:partition_end` for the event time; with `incremental`, `:known_after` and `:known_until`
    for the known time.
    """

    kind: Literal["database"] = "database"
    conn_id: str = Field(pattern=ConnectionId, description="Airflow connection: postgres or sqlite")
    query: str = Field(min_length=1, description="SQL file in the workflow's folder")
    incremental: bool = Field(
        default=False, description="land what became known since the last collection, restatements and all"
    )
    overlap: Duration = Field(
        default=timedelta(hours=1), description="how long a row may take from its known time until it can be read"
    )
    replay: ReplayContract = Field(
        default="replayable", description="'forward_only' where the database keeps no history"
    )

    connection_types: ClassVar[tuple[str, ...]] = ("postgres", "postgresql", "sqlite")

    @model_validator(mode="before")
    @classmethod
    def _set_what_incremental_means(cls, values: Any) -> Any:
        if isinstance(values, dict) and values.get("incremental") is True:
            return {"replay": "archived", "restatements": "all", **values}
        return values

    @model_validator(mode="after")
    def _check_incremental(self) -> DatabaseSource:
        if self.incremental != (self.replay == "archived"):
            raise ValueError(
                f"replay={self.replay!r} does not go with incremental={self.incremental}: "
                "an incremental source is 'archived', and no other database source is"
            )
        if self.incremental and not self.key:
            raise ValueError(
                "incremental needs the key: name the columns that identify a row, without them none is the "
                "restatement of another"
            )
        return self

    @property
    def files(self) -> dict[str, str]:
        """The query's file."""
        return {"source.query": self.query}
