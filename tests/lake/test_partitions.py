"""Replace and read partitions, in a folder and on S3."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from include.errors import (
    ConcurrentWriteError,
    CorruptDataError,
    DataError,
    LakeError,
    PartitionError,
    PartitionNotFoundError,
    StaleWriterError,
    TableNotFoundError,
)
from include.lake import partitions
from include.lake.digests import digest_table
from include.lake.partitions import list_partitions, read_partition, read_partitions, replace_partition, scan_partition
from include.lake.store import Lake, table_version
from tests.factories import parcel_rows

TABLE, KEY = "parcels/raw", "2026-01-05T01:00"


def rows(**columns: Any) -> pa.Table:
    return pa.table({"parcel_id": [1, 2, 3], "depot": ["north", None, "east"], **columns})


def files_of(lake: Lake) -> dict[str, str]:
    return {
        str(path): hashlib.sha256(path.read_bytes()).hexdigest() for path in Path(lake.uri).rglob("*") if path.is_file()
    }


def test_what_was_written_is_read(lake: Lake) -> None:
    written = rows(reasons=pa.array([["a", "b"], [], None], pa.list_(pa.string())))
    commit = replace_partition(lake, TABLE, KEY, written, token=1)
    found = read_partition(lake, TABLE, KEY)
    assert found.to_pydict() == written.to_pydict()
    assert digest_table(found) == digest_table(written) == commit.digest
    assert (commit.n_rows, commit.is_changed, commit.version) == (3, True, table_version(lake, TABLE))
    assert scan_partition(lake, TABLE, KEY).read_all().equals(found)


def test_the_same_content_again_writes_nothing(lake: Lake) -> None:
    first = replace_partition(lake, TABLE, KEY, parcel_rows(), token=1)
    again = replace_partition(lake, TABLE, KEY, parcel_rows().to_reader(max_chunksize=7), token=2)
    assert (again.version, again.digest, again.is_changed) == (first.version, first.digest, False)
    assert table_version(lake, TABLE) == first.version


def test_the_same_content_again_touches_no_byte(folder_lake: Lake) -> None:
    replace_partition(folder_lake, TABLE, KEY, rows(run_id=["a"] * 3), token=1, ignore_in_digest=["run_id"])
    before = files_of(folder_lake)
    commit = replace_partition(folder_lake, TABLE, KEY, rows(run_id=["b"] * 3), token=2, ignore_in_digest=["run_id"])
    assert not commit.is_changed
    assert files_of(folder_lake) == before


def test_new_content_replaces_one_partition_and_leaves_old_versions_readable(lake: Lake) -> None:
    first = replace_partition(lake, TABLE, KEY, rows(), token=1)
    replace_partition(lake, TABLE, "2026-01-06", rows(), token=1)
    replace_partition(lake, TABLE, KEY, rows().slice(1), token=2)
    assert read_partition(lake, TABLE, KEY)["parcel_id"].to_pylist() == [2, 3]
    assert read_partition(lake, TABLE, KEY, version=first.version)["parcel_id"].to_pylist() == [1, 2, 3]
    assert list_partitions(lake, TABLE) == [KEY, "2026-01-06"]
    assert list_partitions(lake, TABLE, version=first.version) == [KEY]
    both = read_partitions(lake, TABLE, ["2026-01-06", KEY], columns=["parcel_id", "partition_key"])
    assert both.to_pydict() == {"parcel_id": [1, 2, 3, 2, 3], "partition_key": ["2026-01-06"] * 3 + [KEY] * 2}


def test_an_older_try_is_fenced(lake: Lake) -> None:
    replace_partition(lake, TABLE, KEY, rows(), token=10)
    with pytest.raises(StaleWriterError, match="written by a newer try \\(token 10, this one has 9\\)"):
        replace_partition(lake, TABLE, KEY, rows().slice(1), token=9)
    assert read_partition(lake, TABLE, KEY).num_rows == 3
    assert replace_partition(lake, TABLE, KEY, rows().slice(1), token=10).is_changed


def test_a_writer_that_lost_the_commit_is_told(lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another writer commits between this one's look at the table and its commit."""
    replace_partition(lake, TABLE, KEY, rows(), token=1)
    upload = partitions.stage_rows

    def interrupted(*staged: Any) -> Any:
        monkeypatch.setattr(partitions, "stage_rows", upload)
        replace_partition(lake, TABLE, KEY, rows().slice(2), token=2)
        return upload(*staged)

    monkeypatch.setattr(partitions, "stage_rows", interrupted)
    with pytest.raises(
        ConcurrentWriteError, match="another writer changed partition '2026-01-05T01:00' of 'parcels/raw'"
    ):
        replace_partition(lake, TABLE, KEY, rows().slice(1), token=3)
    assert read_partition(lake, TABLE, KEY)["parcel_id"].to_pylist() == [3]


def test_commits_to_other_partitions_and_new_columns_are_no_conflict(
    folder_lake: Lake, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace_partition(folder_lake, TABLE, KEY, rows(), token=1)
    replace_partition(folder_lake, TABLE, "2026-01-06", rows(), token=1)
    upload = partitions.stage_rows

    def interrupted(*staged: Any) -> Any:
        monkeypatch.setattr(partitions, "stage_rows", upload)
        replace_partition(folder_lake, TABLE, "2026-01-06", rows(weight_kg=[1.0, 2.0, 3.0]), token=2)
        return upload(*staged)

    monkeypatch.setattr(partitions, "stage_rows", interrupted)
    commit = replace_partition(folder_lake, TABLE, KEY, rows(note=["x", None, "y"]), token=2)
    assert commit.version == 4
    assert read_partition(folder_lake, TABLE, KEY, columns=["note", "weight_kg"]).to_pydict() == {
        "note": ["x", None, "y"],
        "weight_kg": [None] * 3,
    }


def test_a_table_that_is_always_contended_gives_up(folder_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(partitions, "COMMIT_ATTEMPTS", 0)
    with pytest.raises(ConcurrentWriteError, match="changed by others at each of 0 attempts"):
        replace_partition(folder_lake, TABLE, KEY, rows(), token=1)


def test_an_empty_partition_is_a_partition(lake: Lake) -> None:
    replace_partition(lake, TABLE, KEY, rows(), token=1)
    emptied = replace_partition(lake, TABLE, KEY, rows().slice(0, 0), token=2)
    assert (emptied.n_rows, emptied.is_changed) == (0, True)
    assert not replace_partition(lake, TABLE, KEY, rows().slice(0, 0), token=3).is_changed
    assert list_partitions(lake, TABLE) == []
    assert read_partition(lake, TABLE, KEY).schema.names == ["parcel_id", "depot"]
    assert read_partition(lake, TABLE, KEY).num_rows == 0


def test_the_first_content_may_be_empty(folder_lake: Lake) -> None:
    assert replace_partition(folder_lake, TABLE, KEY, rows().slice(0, 0), token=1).is_changed
    assert read_partition(folder_lake, TABLE, KEY).num_rows == 0
    with pytest.raises(PartitionNotFoundError, match="holds no partition '2026-01-09' at version 1"):
        read_partition(folder_lake, TABLE, "2026-01-09")


def test_a_new_column_is_merged_and_changes_no_digest_of_older_partitions(lake: Lake) -> None:
    first = replace_partition(lake, TABLE, KEY, rows(), token=1)
    replace_partition(lake, TABLE, "2026-01-06", rows(weight_kg=[1.5, None, 2.5]), token=1)
    found = read_partition(lake, TABLE, KEY)
    assert found["weight_kg"].to_pylist() == [None] * 3
    assert digest_table(found) == first.digest
    assert not replace_partition(lake, TABLE, KEY, rows(), token=2).is_changed


def test_a_retyped_column_is_refused(lake: Lake) -> None:
    replace_partition(lake, TABLE, KEY, rows(), token=1)
    with pytest.raises(DataError, match="column 'depot' is int64, but the table holds it as string: cast it"):
        replace_partition(lake, TABLE, KEY, pa.table({"depot": [1]}), token=2)
    assert table_version(lake, TABLE) == 1


def test_a_column_of_nulls_takes_the_type_of_the_table(folder_lake: Lake) -> None:
    replace_partition(folder_lake, TABLE, KEY, rows(), token=1)
    replace_partition(folder_lake, TABLE, KEY, pa.table({"parcel_id": [4], "depot": [None]}), token=2)
    assert read_partition(folder_lake, TABLE, KEY)["depot"].type == pa.string()
    with pytest.raises(DataError, match="column 'note' has the type null"):
        replace_partition(folder_lake, TABLE, KEY, rows(note=pa.nulls(3)), token=3)


def test_types_that_delta_lacks_are_widened(lake: Lake) -> None:
    moment = datetime(2026, 1, 5, tzinfo=UTC)
    written = pa.table(
        {
            "small": pa.array([200], pa.uint8()),
            "large": pa.array(["a"], pa.large_string()),
            "view": pa.array(["b"], pa.string_view()),
            "coded": pa.array(["c"]).dictionary_encode(),
            "naive": pa.array([moment.replace(tzinfo=None)], pa.timestamp("ns")),
            "price": pa.array([Decimal("1.50")], pa.decimal128(9, 2)),
            "tags": pa.array([["x"]], pa.large_list(pa.large_string())),
            "place": pa.array([{"lat": 1.0}]),
            "blob": pa.array([b"12"], pa.binary(2)),
        }
    )
    replace_partition(lake, TABLE, KEY, written, token=1)
    found = read_partition(lake, TABLE, KEY)
    assert found.to_pylist()[0] == {**written.to_pylist()[0], "naive": moment}
    types = {field.name: str(field.type) for field in found.schema}
    assert types == {
        "small": "int16",
        "large": "string",
        "view": "string",
        "coded": "string",
        "naive": "timestamp[us, tz=UTC]",
        "price": "decimal128(9, 2)",
        "tags": "list<element: string>",
        "place": "struct<lat: double>",
        "blob": "binary",
    }
    assert not replace_partition(lake, TABLE, KEY, written, token=2).is_changed


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (pa.array([2**63], pa.uint64()), "column 'x' holds a value that int64 can't"),
        (pa.array([1], pa.timestamp("ns")), "column 'x' holds a value that timestamp"),
        (
            pa.array([1], pa.duration("s")),
            "column 'x' has the type duration\\[s\\], which the lake can't store: cast it",
        ),
    ],
)
def test_what_would_not_survive_is_refused(folder_lake: Lake, column: pa.Array, message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace_partition(folder_lake, TABLE, KEY, pa.table({"x": column}), token=1)


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a", "partition_key"], "the lake's own"), (["a", "A"], "columns 'A', 'a' have the same name")],
)
def test_names_that_clash_are_refused(folder_lake: Lake, names: list[str], message: str) -> None:
    with pytest.raises(DataError, match=message):
        replace_partition(
            folder_lake, TABLE, KEY, pa.Table.from_arrays([pa.array([1]), pa.array([2])], names=names), token=1
        )


def test_rows_are_in_the_order_of_the_source(folder_lake: Lake) -> None:
    shuffled = pa.table({"x": [30, 10, 20], "source_position": [2, 0, 1]})
    commit = replace_partition(folder_lake, TABLE, KEY, shuffled, token=1)
    assert read_partition(folder_lake, TABLE, KEY, columns=["x"]).to_pydict() == {"x": [10, 20, 30]}
    assert digest_table(read_partition(folder_lake, TABLE, KEY)) == commit.digest
    with pytest.raises(DataError, match="must come in the order of 'source_position'"):
        replace_partition(folder_lake, TABLE, KEY, shuffled.to_reader(max_chunksize=1), token=2)


@pytest.mark.parametrize(
    "key", ["' OR 1=1", "a'b", "../x", "a/b", "", "-x", "a\n", "a%2e", "é", "x" * 201, "a;DROP TABLE x"]
)
def test_a_key_that_is_no_key_reaches_no_predicate(folder_lake: Lake, key: str) -> None:
    replace_partition(folder_lake, TABLE, KEY, rows(), token=1)
    before = files_of(folder_lake)
    for attempt in (
        lambda: replace_partition(folder_lake, TABLE, key, rows().slice(0, 0), token=2),
        lambda: read_partition(folder_lake, TABLE, key),
        lambda: scan_partition(folder_lake, TABLE, key),
    ):
        with pytest.raises(PartitionError, match="is no partition key"):
            attempt()
    assert files_of(folder_lake) == before


@pytest.mark.parametrize("key", ["a:b=c_d.e-f", "2026-01-05T00:00:00", "0"])
def test_every_allowed_character_makes_a_key(lake: Lake, key: str) -> None:
    replace_partition(lake, TABLE, key, rows(), token=1)
    assert not replace_partition(lake, TABLE, key, rows(), token=2).is_changed
    assert list_partitions(lake, TABLE) == [key]


def test_what_is_not_there_is_named(folder_lake: Lake) -> None:
    with pytest.raises(TableNotFoundError, match="has no table 'parcels/raw': run the task that writes it"):
        read_partition(folder_lake, TABLE, KEY)
    replace_partition(folder_lake, TABLE, KEY, rows(), token=1)
    with pytest.raises(TableNotFoundError, match="'parcels/raw' has no version 99: it is at 1"):
        read_partition(folder_lake, TABLE, KEY, version=99)
    with pytest.raises(LakeError, match="no column 'colour': it has parcel_id, depot, partition_key"):
        read_partition(folder_lake, TABLE, KEY, columns=["colour"])
    assert read_partitions(folder_lake, TABLE, []).num_rows == 0


@pytest.mark.parametrize("damage", ["flip", "truncate", "remove"])
def test_a_damaged_file_is_noticed_and_written_anew(folder_lake: Lake, damage: str) -> None:
    replace_partition(folder_lake, TABLE, KEY, parcel_rows(), token=1)
    (file,) = Path(folder_lake.uri).rglob("*.parquet")
    content = bytearray(file.read_bytes())
    content[len(content) // 4] ^= 1
    file.write_bytes(content if damage == "flip" else content[:-9])
    if damage == "remove":
        file.unlink()
    with pytest.raises(CorruptDataError, match=r"part-\w+\.parquet"):
        read_partition(folder_lake, TABLE, KEY)
    assert replace_partition(folder_lake, TABLE, KEY, parcel_rows(), token=2).is_changed
    assert read_partition(folder_lake, TABLE, KEY).num_rows == 200


def test_a_stream_never_stands_in_memory(folder_lake: Lake) -> None:
    """Arrow's own count of bytes in use stays below a quarter of the 61 MB that flow through, at every batch."""
    schema = pa.schema([("x", pa.float64()), ("source_position", pa.int64())])
    before = peak = pa.total_allocated_bytes()  # what earlier tests left is not this one's

    def batches() -> Any:
        nonlocal peak
        for start in range(0, 4_000_000, 65_536):
            yield pa.record_batch([pa.array([0.5] * 65_536), pa.array(range(start, start + 65_536))], schema=schema)
            peak = max(peak, pa.total_allocated_bytes())

    commit = replace_partition(folder_lake, TABLE, KEY, pa.RecordBatchReader.from_batches(schema, batches()), token=1)
    for batch in scan_partition(folder_lake, TABLE, KEY):
        assert batch.num_rows <= 65_536
        peak = max(peak, pa.total_allocated_bytes())
    assert commit.n_rows == 62 * 65_536
    assert peak - before < 16e6
