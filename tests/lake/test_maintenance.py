"""Compaction, vacuum and the rewriting of partitions: readers see the same rows, and no other writer's work is lost."""

from __future__ import annotations

import os
import threading
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from include.errors import CorruptDataError, StaleWriterError
from include.lake import maintenance
from include.lake.digests import digest_table
from include.lake.fencing import new_token
from include.lake.file_history import data_files, file_spans
from include.lake.landing import append_batch
from include.lake.ledger import RUNS, append_run, read_ledger
from include.lake.maintenance import (
    compact,
    list_tables,
    maintain_ledger,
    maintain_table,
    maintain_tables,
    remove_old_spools,
)
from include.lake.partitions import read_partition, replace_partition
from include.lake.rewriting import rewrite_partition
from include.lake.store import Lake, table_version
from tests.crashes import KILLED
from tests.forks import run_snippet
from tests.lake.workers import run

pytestmark = pytest.mark.claim("lake")

KEY, TABLE = "2026-01-05", "panel/landed"
NOW = datetime.now(UTC)
LATER = NOW + timedelta(days=8)


def batch(number: int, n_rows: int = 3) -> pa.Table:
    return pa.table({"batch": pa.repeat(number, n_rows), "text": [f"row {i} of {number}" for i in range(n_rows)]})


def land(lake: Lake, n_batches: int, *, table: str = TABLE) -> None:
    for number in range(n_batches):
        append_batch(lake, table, batch(number), partition_key=KEY, batch_id=str(number))


def generation(number: int, n_rows: int = 100) -> pa.Table:
    return pa.table({"generation": pa.repeat(number, n_rows), "source_position": pa.array(range(n_rows), pa.int64())})


def test_compaction_keeps_the_rows_their_order_and_their_digest(lake):
    land(lake, 6)
    append_batch(lake, TABLE, batch(9), partition_key="2026-01-06", batch_id="other day")
    before = digest_table(read_partition(lake, TABLE, KEY))
    assert compact(lake, TABLE, dry_run=True) == compact(lake, TABLE) == 6
    assert digest_table(read_partition(lake, TABLE, KEY)) == before
    assert len([span for span in file_spans(lake, TABLE).values() if span.removed is None]) == 2
    assert compact(lake, TABLE) == 0


def test_appends_during_compactions_are_never_lost(folder_lake):
    """Four writers append while the partition is compacted again and again."""
    land(folder_lake, 4)

    def append(writer: int) -> None:
        for number in range(12):
            append_batch(
                folder_lake, TABLE, batch(1000 * writer + number), partition_key=KEY, batch_id=f"{writer} {number}"
            )

    threads = [threading.Thread(target=append, args=(writer,)) for writer in range(1, 5)]
    for thread in threads:
        thread.start()
    n_merges = 0
    while any(thread.is_alive() for thread in threads):
        rewrite_partition(folder_lake, TABLE, KEY, lambda rows: rows)
        n_merges += 1
    found = read_partition(folder_lake, TABLE, KEY)["batch"].value_counts().to_pylist()
    assert n_merges >= 1
    assert sorted((item["values"], item["counts"]) for item in found) == sorted(
        (number, 3) for number in [*range(4), *(1000 * writer + i for writer in range(1, 5) for i in range(12))]
    )


def test_control_a_replacement_of_what_was_read_loses_an_append(folder_lake):
    """What compaction would be without the look at the files: read, then replace."""
    land(folder_lake, 4)
    rows = read_partition(folder_lake, TABLE, KEY)
    append_batch(folder_lake, TABLE, batch(99), partition_key=KEY, batch_id="late")
    replace_partition(folder_lake, TABLE, KEY, rows, token=new_token())
    assert 99 not in read_partition(folder_lake, TABLE, KEY)["batch"].to_pylist()


def test_a_rewrite_that_meets_a_replacement_starts_from_it(folder_lake):
    replace_partition(folder_lake, TABLE, KEY, generation(0), token=1)
    seen = []

    def change(rows: pa.Table) -> pa.Table:
        seen.append(rows["generation"][0].as_py())
        if len(seen) == 1:
            replace_partition(folder_lake, TABLE, KEY, generation(1), token=2)
        return rows.slice(0, 10)

    done = rewrite_partition(folder_lake, TABLE, KEY, change)
    assert (seen, done.n_before, done.n_after) == ([0, 1], 100, 10)
    assert read_partition(folder_lake, TABLE, KEY)["generation"].unique().to_pylist() == [1]


def test_compaction_fences_nobody_and_a_removal_fences_older_tries(folder_lake):
    replace_partition(folder_lake, TABLE, KEY, generation(0), token=5)
    rewrite_partition(folder_lake, TABLE, KEY, lambda rows: rows)
    replace_partition(folder_lake, TABLE, KEY, generation(1), token=6)
    rewrite_partition(folder_lake, TABLE, KEY, lambda rows: rows.slice(0, 1), token=9)
    with pytest.raises(StaleWriterError):
        replace_partition(folder_lake, TABLE, KEY, generation(2), token=8)


def test_vacuum_waits_for_the_safety_window_and_spares_needed_versions(lake):
    versions = [replace_partition(lake, TABLE, KEY, generation(i), token=i + 1).version for i in range(4)]
    assert maintain_table(lake, TABLE, now=NOW, keep=()).n_outdated == 0
    assert maintain_table(lake, TABLE, now=LATER, keep=None).n_outdated == 0
    assert maintain_table(lake, TABLE, now=LATER, keep=[versions[1]], dry_run=True).n_outdated == 2
    assert maintain_table(lake, TABLE, now=LATER, keep=[versions[1]]).n_outdated == 2
    assert read_partition(lake, TABLE, KEY, version=versions[1])["generation"][0].as_py() == 1
    assert read_partition(lake, TABLE, KEY)["generation"][0].as_py() == 3
    with pytest.raises(CorruptDataError, match="lacks the file"):
        read_partition(lake, TABLE, KEY, version=versions[0])


def test_what_the_ledger_names_and_what_models_may_be_pinned_to_stays(folder_lake):
    for name in ("raw", "validated"):
        for i in range(3):
            replace_partition(folder_lake, f"parcels/{name}", KEY, generation(i), token=i + 1)
    append_run(folder_lake, run(raw_version=1, quarantine_version=1))
    reports = {report.table: report.n_outdated for report in maintain_tables(folder_lake, "parcels", now=LATER)}
    assert reports == {"parcels/raw": 1, "parcels/validated": 0}
    assert read_partition(folder_lake, "parcels/raw", KEY, version=1)["generation"][0].as_py() == 0


def test_files_of_killed_writers_go_after_a_day(folder_lake):
    replace_partition(folder_lake, TABLE, KEY, generation(0), token=1)
    snippet = (
        "from include.lake.partitions import replace_partition; from include.lake.store import Lake; import pyarrow "
        "as pa\n"
        "rows = pa.table({'generation': [7], 'source_position': [0]})\n"
        "replace_partition(Lake(uri=arguments), 'panel/landed', '2026-01-05', rows, token=2)"
    )
    assert run_snippet(snippet, arguments=folder_lake.uri, crash_at="replace_partition.before_commit") == KILLED
    assert len(data_files(folder_lake, TABLE)) == 2
    assert maintain_table(folder_lake, TABLE, now=NOW, keep=()).n_orphans == 0
    assert maintain_table(folder_lake, TABLE, now=NOW + timedelta(hours=25), keep=()).n_orphans == 1
    assert len(data_files(folder_lake, TABLE)) == 1
    assert read_partition(folder_lake, TABLE, KEY)["generation"][0].as_py() == 0


def test_the_ledger_is_merged_without_losing_a_line(lake):
    for i in range(6):
        append_run(lake, run(partition_key=f"day-{i}"))
    before = read_ledger(lake, RUNS)
    assert [report.n_merged for report in maintain_ledger(lake, now=NOW)] == [6]
    assert maintain_ledger(lake, now=LATER)[0].n_outdated == 6
    after = read_ledger(lake, RUNS)
    assert after.sort_by("partition_key") == before.sort_by("partition_key")


def test_a_dry_run_changes_no_byte(folder_lake):
    land(folder_lake, 5)
    rewrite_partition(folder_lake, TABLE, KEY, lambda rows: rows)
    land(folder_lake, 5, table="panel/other")
    before = sorted((file, file.stat().st_mtime_ns) for file in Path(folder_lake.uri).rglob("*"))
    reports = maintain_tables(folder_lake, "panel", now=LATER, dry_run=True)
    assert [(report.table, report.n_merged, report.n_outdated) for report in reports] == [
        ("panel/landed", 0, 5),
        ("panel/other", 5, 0),
    ]
    assert sorted((file, file.stat().st_mtime_ns) for file in Path(folder_lake.uri).rglob("*")) == before


def test_tables_are_found_and_other_folders_are_not(lake):
    land(lake, 1)
    land(lake, 1, table="panel/raw")
    land(lake, 1, table="other/raw")
    assert list_tables(lake, "panel") == ["panel/landed", "panel/raw"]
    assert list_tables(lake, "nothing") == []


def test_old_spools_go_and_those_in_use_stay(tmp_path, monkeypatch):
    monkeypatch.setattr(maintenance.tempfile, "tempdir", str(tmp_path))
    for name, age_hours in (
        ("updraft-spool-old", 30),
        ("updraft-file-old", 30),
        ("updraft-spool-new", 1),
        ("foreign", 30),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "rows.parquet").write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - 3600 * age_hours,) * 2)
    assert remove_old_spools(now=NOW, dry_run=True) == remove_old_spools(now=NOW) == 2
    assert sorted(folder.name for folder in tmp_path.iterdir()) == ["foreign", "updraft-spool-new"]


@pytest.mark.parametrize("crash_at", ["before_write", "before_commit", "after_commit"])
def test_a_killed_rewrite_leaves_the_old_or_the_new_rows(folder_lake, crash_at):
    land(folder_lake, 5)
    snippet = (
        "from include.lake.rewriting import rewrite_partition; from include.lake.store import Lake\n"
        "rewrite_partition(Lake(uri=arguments), 'panel/landed', '2026-01-05', lambda rows: rows.slice(3))"
    )
    version = table_version(folder_lake, TABLE)
    assert run_snippet(snippet, arguments=folder_lake.uri, crash_at=f"rewrite_partition.{crash_at}") == KILLED
    left = read_partition(folder_lake, TABLE, KEY)
    assert left.num_rows == (12 if crash_at == "after_commit" else 15)
    assert table_version(folder_lake, TABLE) == version + (crash_at == "after_commit")
    assert pc.count_distinct(left["text"]).as_py() == left.num_rows
