"""
From a declared source to the module that reads it.

Each kind's module offers

    open_rows(source, *, workflow, window, connection_uri, lake) -> ContextManager[pa.RecordBatchReader]

the rows of one partition as they came, streamed; and, if its replay contract is `archived`,

    collect(source, *, workflow, window, connection_uri, lake, token) -> CollectReport

which asks the outside world and lands what it says, durably, before anything is parsed; its `open_rows` then reads the
lake alone.
"""

from __future__ import annotations

import importlib
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from include.lake.store import Lake
from include.workflow import Source, Workflow
from include.workflow.partitions import PartitionWindow

_MODULES = {
    "database": "include.sources.database",
    "files": "include.sources.files",
    "images": "include.sources.images",
    "survey": "include.sources.survey",
    "sensor": "include.sources.sensor",
    "web": "include.sources.web",
}


@dataclass(frozen=True, kw_only=True)
class CollectReport:
    """
    What one collection brought.

    `reopened` are the keys of published partitions, other than the run's own, whose rows have changed by it: they have
    to be extracted again. `counts` is for people: requests made, messages landed, bytes.
    """

    is_new: bool
    reopened: tuple[str, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)


def open_rows(
    source: Source, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake
) -> AbstractContextManager[pa.RecordBatchReader]:
    """
    Open one partition of any source.

    Yields
    ------
    RecordBatchReader
        The source's columns. Two more are the source's to give: `source_name` (text: which file, page, topic or image a
        row is from) and `source_error` (text: why the source could make no whole row of what it found there, null for a
        good one). Such a row is quarantined with that reason, so the text may not hold a value of the row.

    """
    reader: AbstractContextManager[pa.RecordBatchReader] = _module_of(source).open_rows(
        source, workflow=workflow, window=window, connection_uri=connection_uri, lake=lake
    )
    return reader


def collect(
    source: Source, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake, token: int
) -> CollectReport:
    """Ask an `archived` source for what is new, and land it. `window` is the run's own partition."""
    report: CollectReport = _module_of(source).collect(
        source, workflow=workflow, window=window, connection_uri=connection_uri, lake=lake, token=token
    )
    return report


def _module_of(source: Source) -> Any:
    return importlib.import_module(_MODULES[source.kind])
