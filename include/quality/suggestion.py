"""
Suggest a suite from what has been seen: plain rules with room around them, each with a note of what it was seen on, for
a person to review.

A rule is suggested only where enough rows bear it out, and never one that the data it comes from would break. Bounds
leave half of what was seen as margin on either side; a set of texts is closed only if each is common. Nothing is
suggested on distributions: how far a column may drift is a decision, not a finding.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError
from include.lake.partitions import list_partitions, read_partition
from include.lake.store import Lake, table_exists
from include.quality.frames import utc_times
from include.quality.profile import profile_table
from include.quality.rows import ADDED_COLUMNS, SOURCE_ERROR, SOURCE_NAME
from include.quality.suggested_rules import MIN_VALUES, Expectation, SeenPartition, rules_of
from include.workflow import Source, Workflow
from include.workflow.partitions import window_of_key
from include.workflow.sources.survey import SurveySource

MAX_PARTITIONS = 28


@dataclass(frozen=True, kw_only=True)
class Suggestion:
    """Suggested expectations, and the partitions of which table they come from."""

    name: str
    table: str
    partition_keys: tuple[str, ...]
    n_rows: int
    expectations: tuple[Expectation, ...]

    def write_beside(self, suite: Path) -> Path:
        """
        Write the suggestion beside a suite, which stays as it is: `expectations.suggested.json` beside
        `expectations.json`.

        An older suggestion is replaced. One expectation a line, so that a reviewer can take lines over.
        """
        path = suite.with_name(f"{suite.stem}.suggested.json")
        lines = ",\n".join(f"    {json.dumps(expectation, ensure_ascii=False)}" for expectation in self.expectations)
        meta = json.dumps({"suggested_from": self._origin()})
        text = f'{{\n  "name": "{self.name}",\n  "expectations": [\n{lines}\n  ],\n  "meta": {meta}\n}}\n'
        path.write_text(text, encoding="utf-8")
        return path

    def _origin(self) -> dict[str, Any]:
        first, last = self.partition_keys[0], self.partition_keys[-1]
        return {
            "table": self.table,
            "partitions": len(self.partition_keys),
            "first": first,
            "last": last,
            "rows": self.n_rows,
        }


def suggest_suite(workflow: Workflow, *, lake: Lake, progress: Callable[[str], None] = lambda line: None) -> Suggestion:
    """
    Suggest a suite from the newest partitions of a workflow.

    Parameters
    ----------
    workflow : Workflow
        Its published rows are looked at; if there are none yet, its raw ones. Of a survey no value is taken into the
        suggestion, but of the columns that its policy keeps as they are.
    lake : Lake
        Where they are.
    progress : callable, optional
        Is told what is being read, a line at a time.

    Raises
    ------
    DataError
        If there is nothing to learn from, or too little.

    """
    table = _table_of(workflow, lake)
    keys = list_partitions(lake, table)[-MAX_PARTITIONS:]
    partitions = []
    for number, key in enumerate(keys, start=1):
        seen = _look_at(workflow, key, lake=lake, table=table)
        progress(f"{number} of {len(keys)}: {table} {key}, {seen.n_rows:,} rows")
        partitions.append(seen)
    partitions = [seen for seen in partitions if seen.n_rows]
    n_rows = sum(seen.n_rows for seen in partitions)
    if n_rows < MIN_VALUES:
        raise DataError(
            f"{table} holds {n_rows} rows, too few to suggest rules from ({MIN_VALUES}): ingest more partitions first"
        )
    return Suggestion(
        name=workflow.name,
        table=table,
        partition_keys=tuple(seen.key for seen in partitions),
        n_rows=n_rows,
        expectations=rules_of(partitions, workflow.source),
    )


def _table_of(workflow: Workflow, lake: Lake) -> str:
    for name in ("validated", "raw"):
        table = f"{workflow.name}/{name}"
        if table_exists(lake, table) and list_partitions(lake, table):
            return table
    raise DataError(
        f"the lake holds no rows of {workflow.name!r} to learn from: run {workflow.name}.ingest for a few partitions "
        "first"
    )


def _look_at(workflow: Workflow, key: str, *, lake: Lake, table: str) -> SeenPartition:
    source, window = workflow.source, window_of_key(workflow.partition.every, key)
    rows = read_partition(lake, table, key)
    if SOURCE_ERROR in rows.column_names:
        rows = rows.filter(pc.is_null(rows[SOURCE_ERROR]))
    roles = {source.event_time, source.known_time}
    own = rows.drop_columns(
        [name for name in rows.column_names if name in (ADDED_COLUMNS | {SOURCE_NAME, SOURCE_ERROR}) - roles]
    )
    event, known = utc_times(rows, source.event_time), utc_times(rows, source.known_time)
    newest = pc.max(event).as_py() or window.start
    lags = pc.drop_null(pc.subtract(known.cast(pa.int64()), event.cast(pa.int64())))
    lag = int(pc.quantile(lags, q=0.95, interpolation="higher")[0].as_py()) if len(lags) else 0
    return SeenPartition(
        key=key,
        n_rows=own.num_rows,
        length=window.end - window.start,
        gap=window.end - newest,
        known_lag=timedelta(microseconds=max(lag, 0)),
        columns=profile_table(own, hidden=_personal(source, own.column_names)),
    )


def _personal(source: Source, columns: Sequence[str]) -> frozenset[str]:
    """Columns of which no value may be told."""
    return frozenset(columns) - frozenset(source.privacy.keep) if isinstance(source, SurveySource) else frozenset()
