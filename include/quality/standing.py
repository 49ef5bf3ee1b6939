"""
Where each partition of a workflow stands: published, with how many rows in quarantine, or landed and not
published.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import pyarrow as pa

from include.errors import PartitionError, PartitionNotFoundError
from include.lake.ledger import RUNS, RunRecord, read_ledger
from include.lake.records import record_of_row
from include.lake.schemas import PARTITION_COLUMN
from include.lake.store import Lake, open_table, table_exists
from include.workflow import Workflow
from include.workflow.partitions import window_of_key

_MAX_NAMED = 5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """
    One partition. `line` is its latest publication, if it has any.

    `rows_waiting` counts rows that landed and are in no publication: validation has stopped them, or has yet to judge
    them.
    """

    partition_key: str
    line: RunRecord | None
    rows_waiting: int = 0

    @property
    def is_held_back(self) -> bool:
        """Whether a replay could publish some row of it that is not published."""
        return bool(self.rows_waiting or (self.line and self.line.rows_quarantined))


@dataclass(frozen=True, kw_only=True)
class _Landed:
    n_rows: int
    written_at: datetime


def read_standings(lake: Lake, workflow_name: str) -> list[Standing]:
    """
    Return where each partition stands, in the order of their keys. It reads the ledger and the log of
    `raw`, no row.
    """
    lines = {
        row["partition_key"]: record_of_row(RunRecord, row)
        for row in read_ledger(lake, RUNS, workflow=workflow_name).to_pylist()
    }
    landed = _read_landed(lake, f"{workflow_name}/raw")
    return [_standing(key, lines.get(key), landed.get(key)) for key in sorted({*lines, *landed})]


def is_waiting(lake: Lake, line: RunRecord) -> bool:
    """Whether rows of the partition have landed since, and are in no publication."""
    landed = _read_landed(lake, f"{line.workflow}/raw").get(line.partition_key)
    return _standing(line.partition_key, line, landed).rows_waiting > 0


def _standing(key: str, line: RunRecord | None, landed: _Landed | None) -> Standing:
    is_waiting = landed is not None and (line is None or landed.written_at > line.recorded_at)
    return Standing(
        partition_key=key, line=line, rows_waiting=landed.n_rows if landed is not None and is_waiting else 0
    )


def _read_landed(lake: Lake, table: str) -> dict[str, _Landed]:
    """Rows and age of each partition's files: the log tells both."""
    if not table_exists(lake, table):
        return {}
    files = pa.table(open_table(lake, table).get_add_actions(flatten=True))
    if not files.num_rows:
        return {}
    column = f"partition.{PARTITION_COLUMN}"
    grouped = files.group_by(column).aggregate([("num_records", "sum"), ("modification_time", "max")]).to_pylist()
    return {
        part[column]: _Landed(
            n_rows=part["num_records_sum"] or 0,
            written_at=datetime.fromtimestamp(part["modification_time_max"] / 1000, UTC),
        )
        for part in grouped
    }


def choose_partitions(
    lake: Lake, workflow: Workflow, *, keys: Sequence[str] = (), first: str | None = None, last: str | None = None
) -> list[str]:
    """
    Say which partitions a replay is about, in the order of time.

    Parameters
    ----------
    lake, workflow
        Whose partitions.
    keys : sequence of str
        These, each of which has to be there.
    first, last : str, optional
        All that have landed from one to the other, both included. Neither of the three: all of which some rows are held
        back.

    Raises
    ------
    PartitionError
        If a key is malformed, or keys and bounds are given at once, or the bounds are in the wrong order.
    PartitionNotFoundError
        If nothing of a partition in `keys` has landed.

    """
    for key in (*keys, *(bound for bound in (first, last) if bound)):
        window_of_key(workflow.partition.every, key)
    if keys and (first or last):
        raise PartitionError(
            f"{len(keys)} partitions are listed, and a range is given too ({first} to {last}): give one of the two"
        )
    if first and last and first > last:
        raise PartitionError(f"the range ends before it begins: {first} to {last}")
    standings = {standing.partition_key: standing for standing in read_standings(lake, workflow.name)}
    if keys:
        missing = sorted({key for key in keys if key not in standings})
        if missing:
            more = f" and {len(missing) - _MAX_NAMED} more" if len(missing) > _MAX_NAMED else ""
            raise PartitionNotFoundError(
                f"nothing of {workflow.name} {', '.join(missing[:_MAX_NAMED])}{more} has landed, so there is nothing "
                f"to replay: run {workflow.name}.ingest for it, which asks the source"
            )
        return sorted(set(keys))
    if first or last:
        return [key for key in standings if (not first or key >= first) and (not last or key <= last)]
    return [key for key, standing in standings.items() if standing.is_held_back]
