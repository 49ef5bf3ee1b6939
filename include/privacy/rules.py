"""Which rows of a survey have to go: those that are too old, and those of respondents who were erased."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import PartitionError, PrivacyError
from include.lake.erasures import erased_digests
from include.lake.store import Lake
from include.sources.survey.pseudonyms import pseudonym_digest
from include.sources.times import UTC_TIMESTAMP
from include.workflow import SurveySource, Workflow
from include.workflow.partitions import window_of_key

PREDICTIONS = "predictions"
_PSEUDONYM = re.compile(r"\b[0-9a-f]{64}\b")


def survey_of(workflow: Workflow) -> SurveySource:
    """
    Return a workflow's source, which has to be a survey.

    Raises
    ------
    PrivacyError
        If it is none: nothing of it tells persons apart.

    """
    if not isinstance(workflow.source, SurveySource):
        raise PrivacyError(
            f"{workflow.name!r} reads no survey (its source is of kind {workflow.source.kind!r}): nothing in it is a "
            "person's"
        )
    return workflow.source


@dataclass(frozen=True, kw_only=True)
class Forgetting:
    """
    What is to be forgotten of one workflow.

    Attributes
    ----------
    workflow : Workflow
        A survey's.
    cutoff : datetime, optional
        Rows of events before it are too old.
    erased : frozenset of str
        Digests of the pseudonyms of erased respondents.

    """

    workflow: Workflow
    cutoff: datetime | None
    erased: frozenset[str]

    @property
    def columns(self) -> tuple[str, ...]:
        """Columns by which a row is judged, in whatever table."""
        source = survey_of(self.workflow)
        respondent = source.privacy.respondent
        return tuple(
            dict.fromkeys(
                [*([respondent] if respondent else []), source.event_time, "event_time", "predicted_at", "inputs"]
            )
        )

    def is_over(self, table: str, partition_key: str) -> bool:
        """Whether all of a partition is too old, whatever stands in it."""
        if self.cutoff is None:
            return False
        every = "day" if table.endswith(f"/{PREDICTIONS}") else self.workflow.partition.every
        try:
            return window_of_key(every, partition_key).end <= self.cutoff
        except PartitionError:  # a table of another cut: its rows tell their time
            return False

    def is_gone(self, rows: pa.Table, *, table: str, partition_key: str) -> np.ndarray:
        """Which rows have to go: ndarray of bool, of shape (n_rows,)."""
        if self.is_over(table, partition_key):
            return np.ones(rows.num_rows, dtype=bool)
        gone = np.zeros(rows.num_rows, dtype=bool)
        for name in self.columns:
            if name in rows.column_names and rows.num_rows:
                gone |= self._tells(rows.column(name))
        return gone

    def _tells(self, column: pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
            if self.cutoff is None:
                return np.zeros(len(column), dtype=bool)
            is_old = pc.less(column.cast(UTC_TIMESTAMP), pa.scalar(self.cutoff, UTC_TIMESTAMP))
            return np.asarray(pc.fill_null(is_old, False).to_numpy())
        if not self.erased or not pa.types.is_string(column.type):
            return np.zeros(len(column), dtype=bool)
        texts = column.to_pylist()
        known = {text: self._names_erased(text) for text in set(texts)}
        return np.array([known[text] for text in texts], dtype=bool)

    def _names_erased(self, text: str | None) -> bool:
        return text is not None and any(pseudonym_digest(found) in self.erased for found in _PSEUDONYM.findall(text))


def retention_of(workflow: Workflow, *, lake: Lake, now: datetime) -> Forgetting:
    """Return what has to be forgotten of a survey by now: what is too old, and all erased respondents."""
    source = survey_of(workflow)
    return Forgetting(
        workflow=workflow, cutoff=now - source.privacy.retention, erased=erased_digests(lake, workflow.name)
    )
