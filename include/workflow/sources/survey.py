"""
A survey: answers of people, under a privacy policy that is declared with the source and kept from the
first byte on.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import Field, SerializeAsAny, field_validator, model_validator

from include.workflow.durations import Duration
from include.workflow.part import Part
from include.workflow.source import Cells, Identifier, Source

Column = Annotated[str, Field(pattern=Identifier)]
KINDS = ("database", "files", "file")


class Band(Part):
    """A number becomes the lower bound of its band: 37 in bands of 10 becomes 30."""

    by: Literal["band"] = "band"
    width: float = Field(gt=0)
    start: float = Field(default=0, description="lower bound of some band")


class Round(Part):
    """A number is rounded to so many digits after the decimal point; negative: before it."""

    by: Literal["round"] = "round"
    digits: int = Field(default=0, ge=-12, le=12)


class Truncate(Part):
    """A text keeps its first characters: a postcode its region."""

    by: Literal["truncate"] = "truncate"
    length: int = Field(ge=1)


class Year(Part):
    """A date becomes its year."""

    by: Literal["year"] = "year"


class AsIs(Part):
    """
    A value stays as it came: for a column of few values, such as a region. It counts among those that k respondents
    must share.
    """

    by: Literal["as_is"] = "as_is"


Generalisation = Annotated[Band | Round | Truncate | Year | AsIs, Field(discriminator="by")]


class Consent(Part):
    """The column that says whether a respondent agrees, and the answers that count as a yes (as text, in any case)."""

    column: Column
    accepted: tuple[str, ...] = Field(default=("yes", "true", "1"), min_length=1)


class Privacy(Part):
    """
    What becomes of every column of a survey, before anything is stored. A column that no field names stops the
    partition.

    Direct identifiers are dropped; a pseudonym, keyed with the secret `UPDRAFT_PSEUDONYM_KEY`, may stand for one. Of
    the generalised quasi-identifiers fewer than `k` respondents of a partition never share the same values.
    """

    identifiers: tuple[Column, ...] = Field(description="columns that name a person; dropped, all of them")
    pseudonym: dict[Column, Column] = Field(
        default_factory=dict,
        description="new columns, each made of an identifier; the first one tells respondents apart",
    )
    quasi_identifiers: dict[Column, Generalisation] = Field(
        default_factory=dict, description="columns that together may point at a person"
    )
    sensitive: tuple[Column, ...] = Field(default=(), description="answers that are kept, and shown nowhere")
    keep: tuple[Column, ...] = Field(default=(), description="other columns that are kept as they are")
    free_text: dict[Column, Literal["drop", "keep"]] = Field(
        default_factory=dict, description="columns in which people may write anything"
    )
    k: int = Field(default=5, ge=2, le=1000, description="respondents that share their quasi-identifiers, at least")
    consent: Consent | None = Field(default=None, description="without it, every answer counts as given with consent")
    retention: Duration = Field(description="age by event time at which rows are removed from every table")
    remove_files: bool = Field(
        default=False, description="whether the source's own files go as well once their partition is so old"
    )
    times: Literal["exact", "day"] = Field(
        default="exact",
        description="'day' keeps the day of the event, and the start of the day after that of the known time",
    )

    @model_validator(mode="after")
    def _check_columns(self) -> Privacy:
        consent = () if self.consent is None else (self.consent.column,)
        named = [*self.identifiers, *self.quasi_identifiers, *self.sensitive, *self.keep, *self.free_text]
        twice = sorted({name for name in named if named.count(name) > 1} | set(consent).intersection(self.identifiers))
        if twice:
            raise ValueError(f"{twice[0]!r} is named twice: a column has one treatment, name it in one field")
        for column, made_of in self.pseudonym.items():
            if made_of not in self.identifiers:
                raise ValueError(
                    f"pseudonym {column!r} is made of {made_of!r}, which is no identifier: name it in identifiers"
                )
            if column in (*named, *consent):
                raise ValueError(f"pseudonym {column!r} has the name of another column: give it one of its own")
        if self.retention < timedelta(days=1):
            raise ValueError("retention is enforced once a day: give at least 1 day")
        return self

    @property
    def respondent(self) -> str | None:
        """The column that tells respondents apart; without one, each row counts as one."""
        return next(iter(self.pseudonym), None)

    @property
    def kept(self) -> tuple[str, ...]:
        """Columns that are kept as they are."""
        texts = (name for name, treatment in self.free_text.items() if treatment == "keep")
        return (*self.sensitive, *self.keep, *texts)


class SurveySource(Source):
    """
    Answers in files or in a database, under a privacy policy.

    `event_time`, `known_time`, `timeout_seconds` and `replay` are those of the inner source unless stated; so is `key`,
    with a pseudonym in the place of an identifier.
    """

    kind: Literal["survey"] = "survey"
    source: SerializeAsAny[Source]
    privacy: Privacy

    @model_validator(mode="before")
    @classmethod
    def _take_over(cls, values: Any) -> Any:
        inner = values.get("source") if isinstance(values, dict) else None
        if not isinstance(inner, Source):
            return values
        taken: dict[str, Any] = {
            name: getattr(inner, name) for name in ("event_time", "known_time", "timeout_seconds", "replay")
        }
        privacy = values.get("privacy")
        if isinstance(privacy, Privacy):
            made_of = {identifier: pseudonym for pseudonym, identifier in reversed(privacy.pseudonym.items())}
            taken["key"] = tuple(made_of.get(column, column) for column in inner.key)
        return {**taken, **values}

    @field_validator("source", mode="before")
    @classmethod
    def _check_source(cls, source: Any) -> Any:
        if not isinstance(source, Source) or source.kind not in KINDS:
            raise ValueError(
                "a survey is read from files or a database: give a FileSource(...) or a DatabaseSource(...)"
            )
        if source.replay == "archived":
            raise ValueError(
                "an archive keeps what came, identifiers and all: a survey's source has to be 'replayable' or "
                "'forward_only'"
            )
        return source

    @model_validator(mode="after")
    def _check_roles(self) -> SurveySource:
        privacy = self.privacy
        gone = {*privacy.identifiers, *(name for name, treatment in privacy.free_text.items() if treatment == "drop")}
        for role, columns in (
            ("event_time", (self.event_time,)),
            ("known_time", (self.known_time,)),
            ("key", self.key),
        ):
            for column in columns:
                if column in gone or (column in privacy.quasi_identifiers and role != "key"):
                    raise ValueError(
                        f"{role} names {column!r}, which the policy drops or changes: use a pseudonym or another column"
                    )
        if privacy.remove_files and (
            self.source.kind != "files" or "{partition_key}" not in getattr(self.source, "path", "")
        ):
            raise ValueError(
                "privacy.remove_files needs a FileSource with {partition_key} in its path: it tells how old a file is"
            )
        if self.replay != self.source.replay:
            raise ValueError(
                f"replay={self.replay!r} is not that of the inner source, {self.source.replay!r}: state it there"
            )
        return self

    @property
    def connection_types(self) -> tuple[str, ...]:  # type: ignore[override]
        """Types of connection that the inner source can be read by."""
        return self.source.connection_types

    @property
    def connection(self) -> str | None:
        """Connection of the inner source."""
        return self.source.connection

    @property
    def files(self) -> dict[str, str]:
        """Files that the inner source names."""
        return self.source.files

    @property
    def pseudonyms(self) -> tuple[str, ...]:
        """
        Columns that tell respondents apart: a model would learn persons by heart, and keep their pseudonyms in its
        package.
        """
        return tuple(self.privacy.pseudonym)

    @property
    def cells(self) -> Cells | None:
        """Which columns k respondents must share."""
        privacy = self.privacy
        if not privacy.quasi_identifiers:
            return None
        return Cells(columns=tuple(privacy.quasi_identifiers), respondent=privacy.respondent, k=privacy.k)
