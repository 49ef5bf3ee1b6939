"""What every source states, whatever its kind: when a row happened, when it became known, what identifies it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import AfterValidator, Field

from include.workflow.part import Part

Identifier = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
ConnectionId = r"^[A-Za-z0-9_.-]{1,200}$"
ReplayContract = Literal["replayable", "archived", "forward_only"]


def plain_file_name(value: str) -> str:
    """Check that a name is one of a file in the workflow's own folder."""
    if not value or "/" in value or "\\" in value or value.startswith("."):
        raise ValueError("name a file in the workflow's own folder, without a path")
    return value


FileName = Annotated[str, AfterValidator(plain_file_name)]


@dataclass(frozen=True, kw_only=True)
class Cells:
    """Rows that share the values of `columns` make a cell: `k` respondents at least, or it is not published."""

    columns: tuple[str, ...]
    respondent: str | None
    k: int


class Source(Part):
    """
    The base of all kinds of source.

    `replay` is the contract with a backfill: a `replayable` source is asked again; of an `archived` one everything that
    it ever said lies in the lake, and a backfill makes no call to it; a `forward_only` one is read as its time comes,
    and a backfill reuses what was read.
    """

    kind: str
    event_time: str = Field(pattern=Identifier, description="column that places a row in a partition")
    known_time: str = Field(pattern=Identifier, description="column that says when the row became known")
    key: tuple[str, ...] = Field(default=(), description="columns that identify a row; empty: the whole row does")
    may_be_empty: bool = Field(
        default=False, description="a partition without a row is no fault: nothing happened in its time"
    )
    timeout_seconds: float = Field(default=600, gt=0, description="bound on reading one partition")
    replay: ReplayContract = "replayable"
    restatements: Literal["latest", "all"] = Field(
        default="latest",
        description="of rows with one key: publish the one known last, or all (a training then sees the one known as "
        "of its time)",
    )

    connection_types: ClassVar[tuple[str, ...]] = ()
    """Airflow's types of connection that the source can be read by; empty: it needs none."""

    @property
    def connection(self) -> str | None:
        """Id of the Airflow connection that the source needs, if any."""
        return getattr(self, "conn_id", None)

    @property
    def files(self) -> dict[str, str]:
        """
        Files of the workflow's folder that the source names, by field: each must be there, and is part of the
        workflow's digest.
        """
        return {}

    @property
    def late_columns(self) -> frozenset[str]:
        """
        Columns that do not exist yet when a prediction is asked for, whatever `features.exclude` says: no feature may
        come from them.
        """
        return frozenset({self.known_time} - {self.event_time})

    @property
    def cells(self) -> Cells | None:
        """Which values a published row must share with others; None where rows are not about people."""
        return None

    @property
    def pseudonyms(self) -> tuple[str, ...]:
        """
        Columns that tell persons apart: no feature may come from them, and the first one is what an
        erasure goes by.
        """
        return ()
