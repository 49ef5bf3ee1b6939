"""
What became of what was predicted: served rows and their labels.

A label comes from the workflow's own rows, once they are validated: a request and a row belong together if they agree
in the columns of `monitoring.label_key` (without it, of the source's key). Whose requests carry no such columns hands
labels in by request, with `record_labels`; those count before the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import DataError, LakeError
from include.lake.digests import digest_table
from include.lake.landing import append_batch
from include.lake.partitions import list_partitions, read_partitions
from include.lake.store import Lake, table_exists
from include.modeling.model import ModelManifest
from include.modeling.schema import InputColumn, iterate_rows
from include.monitoring.served import ServedRows
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, key_of_moment, windows_between

MAX_PARTITIONS = 62  # that one window's labels are looked for in
_HANDED_IN = ("request_id", "row_index", "label", "known_time")


@dataclass(frozen=True, kw_only=True)
class Truth:
    """
    Labels of served rows, None where there is none yet; `notes` say why rows are without one, if it is not that they
    are young.
    """

    values: tuple[Any, ...]
    notes: tuple[str, ...]

    @property
    def n_labelled(self) -> int:
        """Rows that have a label."""
        return sum(value is not None for value in self.values)


def record_labels(workflow: Workflow, rows: pa.Table, *, lake: Lake) -> bool:
    """
    Hand in what turned out to be true, by request; the same rows again change nothing.

    Parameters
    ----------
    workflow : Workflow
        Whose predictions.
    rows : Table of shape (n_rows, 4)
        `request_id` and `row_index` as in `<name>/predictions`; `label`, as the target column would hold it;
        `known_time`.

    Returns
    -------
    bool
        False if these rows are there already.

    Raises
    ------
    DataError
        If a column is missing, or holds a null.

    """
    missing = [name for name in _HANDED_IN if name not in rows.schema.names]
    if missing:
        raise DataError(f"labels of {workflow.name!r} lack the column {missing[0]!r}: hand in {', '.join(_HANDED_IN)}")
    rows = rows.select(_HANDED_IN)
    empty = [name for name in _HANDED_IN if rows[name].null_count]
    if empty:
        raise DataError(
            f"labels of {workflow.name!r} hold nulls in {empty[0]!r}: hand in what is known, and the rest later"
        )
    rows = rows.set_column(1, "row_index", pc.cast(rows["row_index"], pa.int64()))
    rows = rows.set_column(3, "known_time", pc.cast(rows["known_time"], pa.timestamp("us", tz="UTC")))
    if not rows.num_rows:
        return False
    day = key_of_moment("day", pc.max(rows["known_time"]).as_py())
    return append_batch(
        lake, f"{workflow.name}/labels", rows, partition_key=day, batch_id=f"labels:{digest_table(rows)}"
    )


def match_labels(
    workflow: Workflow,
    manifest: ModelManifest,
    served: ServedRows,
    *,
    window: PartitionWindow,
    lake: Lake,
    now: datetime,
) -> Truth:
    """Find the labels of a window's rows that are known at a moment."""
    by_request = _by_request(workflow, served, window=window, lake=lake, now=now)
    by_key, notes = _by_key(workflow, manifest, served, window=window, lake=lake, now=now)
    values = [value if request is None else request for request, value in zip(by_request, by_key, strict=True)]
    return Truth(values=tuple(values), notes=() if all(value is not None for value in by_request) else notes)


def _by_request(
    workflow: Workflow, served: ServedRows, *, window: PartitionWindow, lake: Lake, now: datetime
) -> list[Any]:
    table = f"{workflow.name}/labels"
    wanted = list(zip(served.table["request_id"].to_pylist(), served.table["row_index"].to_pylist(), strict=True))
    if not table_exists(lake, table):
        return [None] * len(wanted)
    first = key_of_moment("day", window.start)
    rows = read_partitions(
        lake, table, [key for key in list_partitions(lake, table) if key >= first], columns=_HANDED_IN
    )
    rows = rows.filter(pc.less_equal(rows["known_time"], _moment(now))).sort_by("known_time")
    rows = rows.filter(pc.is_in(rows["request_id"], value_set=served.table["request_id"].combine_chunks()))
    ids = zip(rows["request_id"].to_pylist(), rows["row_index"].to_pylist(), strict=True)
    # What became known later corrects what was known before.
    found = dict(zip(ids, rows["label"].to_pylist(), strict=True))
    return [found.get(identity) for identity in wanted]


def _by_key(
    workflow: Workflow,
    manifest: ModelManifest,
    served: ServedRows,
    *,
    window: PartitionWindow,
    lake: Lake,
    now: datetime,
) -> tuple[list[Any], tuple[str, ...]]:
    nothing = [None] * served.table.num_rows
    key = workflow.monitoring.label_key or workflow.source.key
    columns = {column.name: column for column in manifest.input_columns}
    unknown = [name for name in key if name not in columns]
    if not key or unknown:
        what = f"the model does not read {unknown[0]!r}" if unknown else "no key is declared"
        return nothing, (f"requests cannot be joined to validated rows ({what}): declare monitoring.label_key",)
    inputs = served.inputs(manifest.input_columns)
    partitions, notes = _partitions(
        workflow, inputs, window=window, lake=lake, has_time=workflow.source.event_time in columns
    )
    if not partitions:
        return nothing, ("no partition with these rows is published yet",)
    names = [*key, workflow.target.column, "row_id", "known_time"]
    try:
        rows = read_partitions(lake, f"{workflow.name}/validated", partitions, columns=list(dict.fromkeys(names)))
    except LakeError as error:
        return nothing, (str(error),)
    rows = rows.filter(pc.less_equal(rows["known_time"], _moment(now))).sort_by("known_time")
    truth, ambiguous = _truth_by_key(rows, [columns[name] for name in key], workflow.target.column)
    asked = [None if row is None else tuple(row[name] for name in key) for row in inputs]
    n_ambiguous = sum(identity in ambiguous for identity in asked)
    if n_ambiguous:
        notes = (
            *notes,
            f"{n_ambiguous} requests fit several rows: {', '.join(key)} do not tell rows apart, name more columns",
        )
    return [None if identity is None else truth.get(identity) for identity in asked], notes


def _partitions(
    workflow: Workflow,
    inputs: Sequence[Mapping[str, Any] | None],
    *,
    window: PartitionWindow,
    lake: Lake,
    has_time: bool,
) -> tuple[list[str], tuple[str, ...]]:
    """
    Where the rows that were asked for lie: by their event time if requests carry it, else from the window to the
    labels' delay.
    """
    every, table = workflow.partition.every, f"{workflow.name}/validated"
    there = set(list_partitions(lake, table)) if table_exists(lake, table) else set()
    if not has_time:
        # A window's rows may lie in the partition that it begins or ends in the middle of.
        end = window.end + workflow.monitoring.label_delay
        return [found.key for found in windows_between(every, window.start, end) if found.key in there], ()
    times = (row[workflow.source.event_time] for row in inputs if row is not None)
    counted = Counter(_key_of(every, moment) for moment in times if moment is not None)
    wanted = [key for key, _ in counted.most_common() if key in there]
    left_out = wanted[MAX_PARTITIONS:]
    notes = (f"{len(left_out)} partitions with few of the rows are left out",) if left_out else ()
    return sorted(wanted[:MAX_PARTITIONS]), notes


def _key_of(every: Any, moment: datetime) -> str:
    try:
        return key_of_moment(every, moment)
    except (OverflowError, ValueError):  # a year that a request made up
        return ""


def _truth_by_key(
    rows: pa.Table, key: Sequence[InputColumn], target: str
) -> tuple[dict[tuple[Any, ...], Any], set[Any]]:
    """Label by key, of rows in the order in which they became known; and the keys that rows of several ids share."""
    truth: dict[tuple[Any, ...], Any] = {}
    ids: dict[tuple[Any, ...], str] = {}
    ambiguous: set[Any] = set()
    labels, row_ids = rows[target].to_pylist(), rows["row_id"].to_pylist()
    for identity, label, row_id in zip(iterate_rows(rows, key), labels, row_ids, strict=True):
        if None in identity:
            continue
        if ids.setdefault(identity, row_id) != row_id:
            ambiguous.add(identity)
        truth[identity] = label
    for identity in ambiguous:
        del truth[identity]
    return truth, ambiguous


def _moment(moment: datetime) -> pa.Scalar:
    return pa.scalar(moment, pa.timestamp("us", tz="UTC"))


def is_mature(workflow: Workflow, window: PartitionWindow, now: datetime) -> bool:
    """Whether a window's labels have had the time that they take."""
    delay: timedelta = workflow.monitoring.label_delay
    return window.end + delay <= now
