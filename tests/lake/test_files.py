"""Small files: whole or absent, never changed, never outside the lake."""

from __future__ import annotations

import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from include.errors import LakeError
from include.lake.files import append_line, delete_files, get_file, list_files, put_file
from include.lake.store import Lake


def test_a_file_is_read_as_it_was_written(lake: Lake) -> None:
    uri = put_file(lake, "parcels/_splits/a-1.parquet", b"\x00\xff")
    assert uri == f"{lake.uri}/parcels/_splits/a-1.parquet"
    assert get_file(lake, "parcels/_splits/a-1.parquet") == b"\x00\xff"


def test_files_are_listed_by_folder(lake: Lake) -> None:
    for path in ("parcels/_training/t2/trials/b.json", "parcels/_training/t1/a.json", "parcels/_training2/c.json"):
        put_file(lake, path, b"{}")
    assert list_files(lake, "parcels/_training") == [
        "parcels/_training/t1/a.json",
        "parcels/_training/t2/trials/b.json",
    ]
    assert list_files(lake, "parcels/_training/") == list_files(lake, "parcels/_training")
    assert list_files(lake, "parcels/nothing") == []


def test_a_file_never_changes(lake: Lake) -> None:
    put_file(lake, "a.json", b"1")
    put_file(lake, "a.json", b"1")
    with pytest.raises(LakeError, match=r"'a\.json' exists in the lake with other content"):
        put_file(lake, "a.json", b"2")
    assert get_file(lake, "a.json") == b"1"


def test_a_file_that_does_not_fit_is_not_there(folder_lake: Lake) -> None:
    """
    The system takes the first megabyte without a word, as a disk does that is nearly full; the next one
    it refuses.
    """
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, before[1]))
    try:
        with pytest.raises(OSError, match="File too large"):
            put_file(folder_lake, "a.bin", bytes(2**21))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert list(Path(folder_lake.uri).rglob("*")) == []


def test_each_line_of_a_log_is_there_whoever_added_it(lake: Lake) -> None:
    lines = {f"{number} {'x' * 500}".encode() for number in range(64)}
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda line: append_line(lake, "parcels/_crawls/t1/log", line), lines))
    found = [line for path in list_files(lake, "parcels/_crawls/t1") for line in get_file(lake, path).splitlines()]
    assert (len(found), set(found)) == (64, lines)


def test_files_are_removed_and_others_stay(lake: Lake) -> None:
    for path in ("parcels/_crawls/t1/a.json", "parcels/_crawls/t2/b.json"):
        put_file(lake, path, b"1")
    delete_files(lake, ["parcels/_crawls/t1/a.json", "parcels/_crawls/t1/gone.json"])
    assert list_files(lake, "parcels") == ["parcels/_crawls/t2/b.json"]
    with pytest.raises(LakeError, match="is no path of a file"):
        delete_files(lake, ["parcels/_delta_log/0.json"])


def test_a_missing_file_is_named(lake: Lake) -> None:
    with pytest.raises(LakeError, match=r"has no file 'parcels/missing\.json'"):
        get_file(lake, "parcels/missing.json")


@pytest.mark.parametrize(
    "path",
    [
        "../x",
        "a/../x",
        "/etc/passwd",
        "a//b",
        "",
        "a/",
        ".hidden",
        "a/.b",
        "a\x00b",
        "a\nb",
        "C:\\x",
        "a/%2e%2e/x",
        "é",
        "x" * 201,
        "t/_delta_log/0.json",
    ],
)
def test_no_path_leaves_the_lake(folder_lake: Lake, path: str) -> None:
    with pytest.raises(LakeError, match="is no path of a file in the lake"):
        put_file(folder_lake, path, b"x")
    with pytest.raises(LakeError, match="is no path of a file in the lake"):
        get_file(folder_lake, path)
    assert not Path(folder_lake.uri).exists()


def test_a_killed_writers_rest_is_not_listed(folder_lake: Lake) -> None:
    put_file(folder_lake, "a/b.json", b"1")
    (Path(folder_lake.uri) / "a/.0123.tmp").write_bytes(b"half")
    assert list_files(folder_lake, "a") == ["a/b.json"]
