# ruff: noqa: PT012 -- a file has to change between two steps of one read
"""A file that is cut, damaged, growing or hostile is never published in silence."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import re
import threading
import time
import zipfile
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceError, SourceQueryError, SourceUnavailableError, UnreadableFileError
from include.sources.files import read_files
from tests.sources.files.conftest import AT_REST, DAY, HEADER, declare, read, values
from tests.sources.files.workbook import Raw, workbook

N_ROWS = 400
LINES = [f"{i},2026-01-05T10:00:00Z,name {i},{i / 4}\n" for i in range(N_ROWS)]
CSV = (HEADER + "".join(LINES)).encode()
JSON = "".join(
    f'{{"id": {i}, "sent_at": "2026-01-05", "name": "name {i}", "amount": {i / 4}}}\n' for i in range(N_ROWS)
).encode()


def zipped(members: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def as_parquet() -> bytes:
    buffer = io.BytesIO()
    times = pa.array([datetime(2026, 1, 5)] * N_ROWS, pa.timestamp("us"))
    columns = {
        "id": pa.array(range(N_ROWS)),
        "sent_at": times,
        "name": [f"n{i}" for i in range(N_ROWS)],
        "amount": [0.5] * N_ROWS,
    }
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


def as_workbook() -> bytes:
    return workbook(
        {"data": [["id", "sent_at", "name", "amount"], *([i, "2026-01-05", f"n{i}", i / 4] for i in range(N_ROWS))]}
    )


WHOLE: dict[str, tuple[str, str, bytes]] = {
    "csv": ("csv", "csv", CSV),
    "csv.gz": ("csv", "csv.gz", gzip.compress(CSV)),
    "csv.zip": ("csv", "csv.zip", zipped({"a.csv": CSV})),
    "json_lines": ("json_lines", "jsonl", JSON),
    "parquet": ("parquet", "parquet", as_parquet()),
    "excel": ("excel", "xlsx", as_workbook()),
}


def source_of(folder: Path, kind: str, **changes: Any):
    form, ending, _ = WHOLE[kind]
    return declare(folder, **{"path": f"{folder}/{{partition_key}}*.{ending}", "format": form, **changes})


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_is_read(put, folder: Path, kind: str) -> None:
    put(WHOLE[kind][2], f"2026-01-05.{WHOLE[kind][1]}")
    rows, letters = read(source_of(folder, kind))
    assert values(rows, "id") == list(range(N_ROWS))
    assert not letters


@pytest.mark.parametrize("kind", WHOLE)
def test_none_of_20_cuts_is_published_in_silence(put, folder: Path, kind: str) -> None:
    """Each cut stops the partition, or leaves a bad row; it never leaves rows that look whole and are not."""
    data = WHOLE[kind][2]
    silent, named = [], 0
    for cut in range(20):
        size = len(data) * cut // 20 + cut % 3
        if kind in ("csv", "json_lines") and data[:size].endswith(b"\n"):
            size += 1
        put(data[:size], f"2026-01-05.{WHOLE[kind][1]}")
        try:
            rows, _ = read(source_of(folder, kind))
        except UnreadableFileError as error:
            named += "2026-01-05" in str(error) and error.byte_offset is not None
        else:
            silent += [size] if all(row["source_error"] is None for row in rows) else []
    assert silent == []
    assert named >= 15


def test_control_pandas_publishes_cut_files_in_silence() -> None:
    silent = sum(len(pd.read_csv(io.BytesIO(CSV[: len(CSV) * cut // 20 + cut % 3]))) < N_ROWS for cut in range(1, 20))
    assert silent == 19


def test_a_cut_in_the_last_value_leaves_a_bad_row(put, folder: Path) -> None:
    put(CSV[:-2])
    rows, _ = read(declare(folder))
    assert values(rows, "source_error") == [None] * (N_ROWS - 1) + ["the last line does not end: it may be cut short"]
    rows, _ = read(declare(folder, final_newline="optional"))
    assert values(rows, "source_error") == [None] * N_ROWS


def test_a_cut_between_two_lines_is_found_by_the_markers_digest(put, folder: Path) -> None:
    put(hashlib.sha256(CSV).hexdigest() + "  2026-01-05.csv\n", "2026-01-05.csv.done")
    put(CSV)
    source = declare(folder, done_marker="{file}.done")
    assert len(read(source)[0]) == N_ROWS
    put((HEADER + "".join(LINES[:-1])).encode())
    with pytest.raises(UnreadableFileError, match=r"not those whose SHA-256 stands in '2026-01-05\.csv\.done'"):
        read(source)


def test_control_without_a_marker_a_cut_between_two_lines_is_a_shorter_file(put, folder: Path) -> None:
    put((HEADER + "".join(LINES[:-1])).encode())
    assert len(read(declare(folder))[0]) == N_ROWS - 1


@pytest.mark.parametrize("kind", WHOLE)
def test_an_unreadable_file_can_go_to_the_dead_letters(put, folder: Path, kind: str) -> None:
    data, ending = WHOLE[kind][2], WHOLE[kind][1]
    put(data, f"2026-01-05-a.{ending}")
    put(data[: len(data) // 2 + 1], f"2026-01-05-b.{ending}")
    rows, letters = read(source_of(folder, kind, on_unreadable="dead_letter", key=()))
    assert values(rows, "id") == list(range(N_ROWS))
    assert [(letter["file"], letter["byte_length"]) for letter in letters] == [
        (f"2026-01-05-b.{ending}", len(data) // 2 + 1)
    ]
    assert letters[0]["digest"] == hashlib.sha256(data[: len(data) // 2 + 1]).hexdigest()
    assert letters[0]["bytes"] == data[: len(data) // 2 + 1][:65_536]


def test_a_file_that_changed_a_moment_ago_waits(put, folder: Path) -> None:
    put(CSV, modified=time.time() - 20)
    with pytest.raises(
        SourceUnavailableError, match=r"2026-01-05\.csv: changed 2\d s ago, .* 1 minute \(source.settled\)"
    ):
        read(declare(folder))
    put(CSV, modified=time.time() - 80)
    assert len(read(declare(folder))[0]) == N_ROWS


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "json_lines"])
@pytest.mark.parametrize("on_unreadable", ["stop", "dead_letter"])
def test_a_file_that_grows_while_it_is_read_is_not_published(put, folder: Path, kind: str, on_unreadable: str) -> None:
    path = put(WHOLE[kind][2][:-9], f"2026-01-05.{WHOLE[kind][1]}")
    source = source_of(folder, kind, on_unreadable=on_unreadable)
    with (
        pytest.raises(SourceUnavailableError, match="changed while it was read"),
        read_files(source, window=DAY, connection_uri=None) as reader,
    ):
        with path.open("ab") as file:
            file.write(WHOLE[kind][2][-9:])
        reader.read_all()


@pytest.mark.claim("kills")
def test_a_writer_that_goes_on_is_never_published_in_part(folder: Path) -> None:
    """A writer of 3 s beside a reader that asks all the time: it gets all of the file, or nothing."""
    path = folder / "2026-01-05.csv"
    source = declare(folder, settled=timedelta(seconds=1))

    def write() -> None:
        with path.open("wb") as file:
            for part in (CSV[:3000], *[CSV[i : i + 1000] for i in range(3000, len(CSV), 1000)]):
                file.write(part)
                file.flush()
                time.sleep(0.1)

    writer = threading.Thread(target=write)
    writer.start()
    outcomes = set()
    give_up_at = time.monotonic() + 30
    while N_ROWS not in outcomes and time.monotonic() < give_up_at:
        try:
            outcomes.add(len(read(source)[0]))
        except SourceUnavailableError:
            outcomes.add("wait")
        time.sleep(0.05)
    writer.join()
    assert outcomes == {"wait", N_ROWS}


def test_a_file_that_vanishes_can_be_retried(put, folder: Path) -> None:
    path = put(CSV)
    with (
        pytest.raises(SourceUnavailableError, match=r"vanished while it was read|no longer"),
        read_files(declare(folder), window=DAY, connection_uri=None) as reader,
    ):
        path.unlink()
        reader.read_all()


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"path": "/nowhere/{partition_key}.csv"}, SourceQueryError, "there is no folder /nowhere"),
        ({}, SourceUnavailableError, "no file is there for partition 2026-01-05"),
        (
            {"path": "FOLDER/*.dat", "done_marker": "_SUCCESS"},
            SourceUnavailableError,
            r"a\.dat: its marker '_SUCCESS' is not there yet",
        ),
        ({"path": "FOLDER/link.csv"}, SourceQueryError, r"link\.csv: is a link that leads out of"),
        ({"path": "FOLDER/pipe.csv"}, SourceQueryError, "is no regular file"),
        ({"path": "FOLDER/evil*"}, SourceQueryError, "characters that can't be shown"),
    ],
)
def test_what_is_not_there_or_not_a_file_is_named(
    put, folder: Path, changes: dict[str, Any], error: type, message: str
) -> None:
    put(CSV, "a.dat")
    put(CSV, "evil\x1b[2J.csv")
    (folder / "link.csv").symlink_to("/etc/passwd")
    os.mkfifo(folder / "pipe.csv")
    with pytest.raises(error, match=message):
        read(declare(folder, **{name: value.replace("FOLDER", str(folder)) for name, value in changes.items()}))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_named(put, folder: Path) -> None:
    put(CSV).chmod(0)
    with pytest.raises(SourceQueryError, match="may not be read"):
        read(declare(folder))


def test_permission_denied_is_explained_without_a_retry() -> None:
    """Root reads everything, so the error that the system would give is explained here as it comes."""
    from include.sources.files.storage import explained

    with pytest.raises(SourceQueryError, match=r"a\.csv: may not be read"), explained("a.csv"):
        raise PermissionError(13, "Permission denied")


def test_members_are_read_in_the_order_of_their_names(put, folder: Path) -> None:
    put(
        zipped(
            {
                "b.csv": f"{HEADER}2,2026-01-05,b,1\n".encode(),
                "a.csv": f"{HEADER}1,2026-01-05,a,1\n".encode(),
                "__MACOSX/a.csv": b"x",
                "readme.md": b"x",
            }
        ),
        "2026-01-05.csv.zip",
    )
    rows, _ = read(declare(folder, path=f"{folder}/{{partition_key}}.csv.zip"))
    assert values(rows, "source_name") == ["2026-01-05.csv.zip!a.csv", "2026-01-05.csv.zip!b.csv"]


def test_several_gzip_members_are_one_file(put, folder: Path) -> None:
    put(gzip.compress(CSV[:1000]) + gzip.compress(CSV[1000:]) + b"\0" * 512, "2026-01-05.csv.gz")
    assert len(read(source_of(folder, "csv.gz"))[0]) == N_ROWS
    put(gzip.compress(CSV) + b"rubbish", "2026-01-05.csv.gz")
    with pytest.raises(UnreadableFileError, match="damaged"):
        read(source_of(folder, "csv.gz"))


def test_an_error_of_a_sheet_in_an_empty_row_is_no_empty_row(put, folder: Path) -> None:
    put(workbook({"data": [["id", "sent_at", "name", "amount"], [Raw('t="e"><v>#REF!</v>')]]}), "2026-01-05.xlsx")
    rows, _ = read(source_of(folder, "excel"))
    assert values(rows, "source_error") == ["column 'id' holds an error of Excel"]


def test_too_slow_a_read_stops(put, folder: Path) -> None:
    put(CSV)
    with pytest.raises(SourceError, match=re.escape("raise source.timeout_seconds")):
        read(declare(folder, timeout_seconds=1e-9))
    assert AT_REST
