"""
The rows of one training: pinned by table version and digest, and point in time.

A row belongs to the snapshot as of T if its event lies in the window and it was known at T (`known_time <= T`). So
training as of a past date gives what training on that date would have given.

    train_start            validation_start     test_start           test_end = as_of
        |------- train -----------|---- validation ---|------- test ------|
        |------------------ fit (window) -------------|
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

from include.errors import (
    ConcurrentWriteError,
    CorruptDataError,
    HistoryTooShortError,
    PartitionNotFoundError,
    TrainingError,
)
from include.lake.digests import digest_bytes, digest_table
from include.lake.ledger import RUNS, read_ledger
from include.lake.partitions import list_partitions, read_partitions
from include.lake.schemas import PARTITION_COLUMN
from include.lake.store import Lake, table_exists, table_version
from include.workflow import Workflow
from include.workflow.durations import describe_duration
from include.workflow.partitions import PartitionWindow, windows_between

Part = Literal["train", "validation", "test", "fit"]

# of the window's partitions: less history than this is another, shorter window than the declared one
MINIMUM_COVERAGE = 0.5


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """
    What a model is trained and judged on. Times are ISO text in UTC; bounds are half-open. `Snapshot(**asdict(s))`
    gives it back.

    `snapshot_id` follows from the rows' digest and the bounds, not from the table's version: the same rows at a later
    version, which has more days, are the same snapshot.
    """

    workflow: str
    as_of: str
    table_version: int
    digest: str
    train_start: str
    train_end: str
    validation_start: str
    test_start: str
    test_end: str
    n_train: int
    n_validation: int
    n_test: int
    n_not_yet_known: int
    missing_partitions: tuple[str, ...]
    snapshot_id: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "missing_partitions", tuple(self.missing_partitions))  # JSON has lists only


def pin_snapshot(workflow: Workflow, as_of: datetime, *, lake: Lake) -> Snapshot:
    """
    Pin the rows that a training as of a moment may use.

    Each partition must be what its latest line in the ledger says, so that no half-finished publication is trained on.
    Partitions of the window that were never published are listed, not fatal, as long as at least half
    (`MINIMUM_COVERAGE`) of those to fit on are there.

    Parameters
    ----------
    workflow : Workflow
        What to train.
    as_of : datetime
        Aware. No row enters whose event is not before it, or which became known after it.
    lake : Lake
        Where the validated rows are.

    Raises
    ------
    HistoryTooShortError
        If partitions or rows are too few to fit, to choose or to judge on.
    ConcurrentWriteError
        If a partition is being published at this moment: retry.
    TrainingError
        If `as_of` has no time zone.

    """
    if as_of.tzinfo is None:
        raise TrainingError(
            f"as_of={as_of.isoformat()} has no time zone: give it in UTC, as in 2026-11-23T00:00:00+00:00"
        )
    table = _table(workflow)
    if not table_exists(lake, table):
        raise HistoryTooShortError(
            f"nothing of {workflow.name!r} has been published yet: run or backfill {workflow.name}.ingest first"
        )
    empty = _empty_snapshot(workflow, as_of, version=table_version(lake, table))
    keys = [window.key for window in _windows(workflow, empty)]
    rows, missing = _read_published(workflow, lake, keys, version=empty.table_version)
    in_window = _between(rows, empty.train_start, empty.test_end)
    known = _known_by(in_window, empty.as_of)
    counted = replace(
        empty,
        digest=digest_table(known),
        n_train=_part_of(known, empty, "train").num_rows,
        n_validation=_part_of(known, empty, "validation").num_rows,
        n_test=_part_of(known, empty, "test").num_rows,
        n_not_yet_known=in_window.num_rows - known.num_rows,
        missing_partitions=tuple(missing),
    )
    _require_history(workflow, counted)
    content = {name: value for name, value in asdict(counted).items() if name not in {"table_version", "snapshot_id"}}
    return replace(counted, snapshot_id=digest_bytes(json.dumps(content, sort_keys=True).encode())[:16])


def read_snapshot(workflow: Workflow, snapshot: Snapshot, *, lake: Lake, part: Part) -> pa.Table:
    """
    Rows of one part of a snapshot, in the order of partitions and of their source. All rows are verified, whatever the
    part.

    Raises
    ------
    CorruptDataError
        If the rows differ from the snapshot's digest.

    """
    return _part_of(_verified_rows(workflow, snapshot, lake=lake), snapshot, part)


def read_parts(workflow: Workflow, snapshot: Snapshot, *, lake: Lake) -> tuple[pa.Table, pa.Table]:
    """
    Rows to fit on and rows to judge on, as `read_snapshot` gives each, read and verified once.

    Raises
    ------
    CorruptDataError
        If the rows differ from the snapshot's digest.

    """
    rows = _verified_rows(workflow, snapshot, lake=lake)
    return _part_of(rows, snapshot, "fit"), _part_of(rows, snapshot, "test")


def partitions_of(workflow: Workflow, snapshot: Snapshot) -> list[str]:
    """Keys of the partitions that a snapshot's rows lie in, the oldest first."""
    missing = set(snapshot.missing_partitions)
    return [window.key for window in _windows(workflow, snapshot) if window.key not in missing]


def rows_between(table: pa.Table, start: str, end: str) -> pa.Table:
    """Rows of a validated table whose event lies in `[start, end)`, both ISO text."""
    return _between(table, start, end)


def _verified_rows(workflow: Workflow, snapshot: Snapshot, *, lake: Lake) -> pa.Table:
    rows = read_partitions(lake, _table(workflow), partitions_of(workflow, snapshot), version=snapshot.table_version)
    known = _known_by(_between(rows, snapshot.train_start, snapshot.test_end), snapshot.as_of)
    if digest_table(known) != snapshot.digest:
        raise CorruptDataError(
            f"snapshot {snapshot.snapshot_id} of {_table(workflow)!r} at version {snapshot.table_version}: the rows "
            "differ from the pinned digest: pin a new snapshot, and look who changed the lake's files"
        )
    return known


def _table(workflow: Workflow) -> str:
    return f"{workflow.name}/validated"


def _empty_snapshot(workflow: Workflow, as_of: datetime, *, version: int) -> Snapshot:
    end = as_of.astimezone(UTC)
    test_start = end - workflow.training.test
    return Snapshot(
        workflow=workflow.name,
        as_of=end.isoformat(),
        table_version=version,
        digest="",
        train_start=(test_start - workflow.training.window).isoformat(),
        train_end=(test_start - workflow.training.validation).isoformat(),
        validation_start=(test_start - workflow.training.validation).isoformat(),
        test_start=test_start.isoformat(),
        test_end=end.isoformat(),
        n_train=0,
        n_validation=0,
        n_test=0,
        n_not_yet_known=0,
        missing_partitions=(),
    )


def _windows(workflow: Workflow, snapshot: Snapshot) -> Iterator[PartitionWindow]:
    start, end = datetime.fromisoformat(snapshot.train_start), datetime.fromisoformat(snapshot.test_end)
    return iter(windows_between(workflow.partition.every, start, end))


def _read_published(workflow: Workflow, lake: Lake, keys: list[str], *, version: int) -> tuple[pa.Table, list[str]]:
    """Rows of the partitions that are there, each as the ledger's last line says, and the keys of the others."""
    table = _table(workflow)
    runs = read_ledger(lake, RUNS, workflow=workflow.name)
    # In order of time: of several lines of one partition the last one stays.
    published = dict(zip(runs["partition_key"].to_pylist(), runs["digest"].to_pylist(), strict=True))
    there = set(published).union(list_partitions(lake, table, version=version))
    present = [key for key in keys if key in there]
    names = read_partitions(lake, table, [], version=version).schema.names
    try:
        rows = read_partitions(lake, table, present, version=version, columns=[*names, PARTITION_COLUMN])
    except PartitionNotFoundError as error:
        raise _being_published(table, str(error)) from error
    for key in present:
        digest = digest_table(rows.filter(pc.equal(rows[PARTITION_COLUMN], key)), ignore=[PARTITION_COLUMN])
        if digest != published.get(key):
            raise _being_published(table, f"partition {key} is not what the ledger's last line says")
    return rows.select(names), [key for key in keys if key not in there]


def _being_published(table: str, seen: str) -> ConcurrentWriteError:
    return ConcurrentWriteError(
        f"a partition of {table!r} is being published ({seen}): retry; if it stays so, run its ingest again"
    )


def _require_history(workflow: Workflow, snapshot: Snapshot) -> None:
    start, test_start = datetime.fromisoformat(snapshot.train_start), datetime.fromisoformat(snapshot.test_start)
    to_fit_on = {window.key for window in windows_between(workflow.partition.every, start, test_start)}
    n_there = len(to_fit_on - set(snapshot.missing_partitions))
    said = f"{workflow.name!r} as of {snapshot.as_of}"
    if n_there < MINIMUM_COVERAGE * len(to_fit_on):
        raise HistoryTooShortError(
            f"{said}: of the {len(to_fit_on)} partitions to fit on (window "
            f"{describe_duration(workflow.training.window)}, from {snapshot.train_start} to {snapshot.test_start}) "
            f"{n_there} are published, at least half are needed: backfill {workflow.name}.ingest, train as of a later "
            "date, or declare a shorter training.window"
        )
    n_fit, minimum = snapshot.n_train + snapshot.n_validation, workflow.training.minimum_rows
    if n_fit < minimum:
        raise HistoryTooShortError(
            f"{said}: {n_fit} rows to fit on, training.minimum_rows={minimum} are needed ({snapshot.n_not_yet_known} "
            "more were not yet known): backfill more partitions or declare a longer training.window"
        )
    for part, n_rows in (("train", snapshot.n_train), ("validation", snapshot.n_validation), ("test", snapshot.n_test)):
        if n_rows == 0:
            raise HistoryTooShortError(
                f"{said}: the {part} part has no rows, at least 1 is needed: publish its partitions, or train as of "
                "another date"
            )


def _between(rows: pa.Table, start: str, end: str) -> pa.Table:
    event = rows["event_time"]
    return rows.filter(pc.and_(pc.greater_equal(event, _moment(start)), pc.less(event, _moment(end))))


def _known_by(rows: pa.Table, as_of: str) -> pa.Table:
    """
    What was known at a moment: of several versions of a row the one known last by then. A row without a known time is
    not known.
    """
    known = rows.filter(pc.less_equal(rows["known_time"], _moment(as_of)))
    if pc.count_distinct(known["row_id"]).as_py() == known.num_rows:
        return known
    numbered = known.select(["row_id", "known_time"]).append_column("number", pa.array(range(known.num_rows)))
    latest = numbered.group_by("row_id").aggregate([("known_time", "max")])
    # The known time may be the same in two versions only if validation let both through: then the first counts.
    newest = numbered.join(latest, keys="row_id").filter(pc.field("known_time") == pc.field("known_time_max"))
    kept = newest.group_by("row_id").aggregate([("number", "min")])["number_min"]
    return known.take(kept.sort())


def _part_of(rows: pa.Table, snapshot: Snapshot, part: str) -> pa.Table:
    bounds = {
        "train": (snapshot.train_start, snapshot.train_end),
        "validation": (snapshot.validation_start, snapshot.test_start),
        "test": (snapshot.test_start, snapshot.test_end),
        "fit": (snapshot.train_start, snapshot.test_start),
    }
    return _between(rows, *bounds[part])


def _moment(text: str) -> pa.Scalar:
    return pa.scalar(datetime.fromisoformat(text), pa.timestamp("us", tz="UTC"))
