"""Up to when a workflow has rows to train on."""

from __future__ import annotations

from datetime import datetime

import pyarrow.compute as pc

from include.errors import PartitionError
from include.lake.ledger import RUNS, read_ledger
from include.lake.store import Lake
from include.workflow.partitions import Every, window_of_key


def ends_of_published(lake: Lake, workflow: str, *, every: Every) -> list[datetime]:
    """
    Return when the partitions end that rows were published of, in order of time.

    A partition that came without rows, or was stopped, has nothing to train on; nor have those from a time when the
    workflow was partitioned otherwise.
    """
    runs = read_ledger(lake, RUNS, workflow=workflow)
    ends = []
    for key in set(runs.filter(pc.field("rows_published") > 0)["partition_key"].to_pylist()):
        try:
            ends.append(window_of_key(every, key).end)
        except PartitionError:
            continue
    return sorted(ends)
