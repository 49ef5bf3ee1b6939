"""What the crash tests of images run in processes of their own, to be killed there."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
from deltalake import write_deltalake

from include.lake.crash_points import crash_point
from include.lake.store import Lake
from include.rehearsal import ingest
from include.sources.kinds import open_rows
from include.workflow import ImageSource, Quality, Workflow
from include.workflow.partitions import window_of_key
from tests.crashes import KILLED
from tests.forks import PROCESSES
from tests.sources.images.pictures import KEY, declare

ANNOTATIONS = {"class_folders": None, "coco": "labels/all.json", "pascal_voc": "labels/*.xml"}


def photos(folder: Path, layout: str) -> Workflow:
    source = ImageSource(
        root=f"{folder}/photos/{{partition_key}}",
        layout=layout,
        annotations=ANNOTATIONS[layout],
        event_time="partition_start",
        known_time="partition_start",
        workers=1,
    )
    return declare(folder / "w", source, quality=Quality(max_quarantined=0.9))


def run(folder: Path, layout: str, crash_at: str, is_naive: bool) -> None:
    os.environ |= {"UPDRAFT_CRASH_AT": crash_at, "UPDRAFT_HOME": str(folder / "home")}
    workflow, lake = photos(folder, layout), Lake(uri=str(folder / "lake"))
    if is_naive:
        append_naively(workflow, lake)
    else:
        ingest(workflow, KEY, connection_uri=None, lake=lake, run_id="run")


def append_naively(workflow: Workflow, lake: Lake) -> None:
    """The control: rows are appended as they come, then the run is told to be over."""
    with open_rows(
        workflow.source, workflow=workflow, window=window_of_key("day", KEY), connection_uri=None, lake=lake
    ) as reader:
        rows = pa.Table.from_batches(reader)
    rows = rows.append_column("partition_key", pa.array([KEY] * rows.num_rows))
    write_deltalake(f"{lake.uri}/{workflow.name}/validated", rows, mode="append", partition_by=["partition_key"])
    crash_point("publish.before_ledger")


def ends(
    folder: Path,
    layout: str = "class_folders",
    *,
    crash_at: str = "",
    is_naive: bool = False,
    after_seconds: float | None = None,
) -> bool:
    """
    Run in a process of its own; tell whether it was killed, by itself at a crash point or after a while, or else ended
    well.
    """
    process = PROCESSES.Process(target=run, args=(folder, layout, crash_at, is_naive))
    process.start()
    process.join(after_seconds)
    process.kill()
    process.join()
    if process.exitcode not in (0, KILLED):
        raise AssertionError(f"exit status {process.exitcode} at {crash_at!r}")
    return process.exitcode == KILLED
