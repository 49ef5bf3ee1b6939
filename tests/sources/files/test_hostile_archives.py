"""An archive or a cell that would fill memory, or lead out of its folder, reaches nothing."""

from __future__ import annotations

import gzip
import io
import stat
import time
import zipfile
from datetime import datetime
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceQueryError, UnreadableFileError
from tests.memory import watched_memory
from tests.sources.files.conftest import HEADER, declare, read, values
from tests.sources.files.test_unreadable import CSV, source_of, zipped
from tests.sources.files.workbook import HEAD, MAIN, workbook

pytestmark = pytest.mark.claim("hostile")


def linked() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        info = zipfile.ZipInfo("a.csv")
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(info, "/etc/passwd")
    return buffer.getvalue()


def sheet(cells: str, *, before: str = "") -> bytes:
    return workbook(
        {"data": []},
        sheet_xml={"data": f'{HEAD}{before}<worksheet xmlns="{MAIN}"><sheetData>{cells}</sheetData></worksheet>'},
    )


def lies_about_its_size() -> bytes:
    """A member that says it has 10 bytes, and unpacks to 200 MB."""
    data = bytearray(zipped({"a.csv": b"0" * 200_000_000}))
    size = (200_000_000).to_bytes(4, "little")
    return bytes(data.replace(size, (10).to_bytes(4, "little")))


LAUGHS = "<!DOCTYPE x [" + "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10 if i else "ha"}">' for i in range(10)) + "]>"
HOSTILE = {
    "a gzip bomb": ("csv.gz", lambda: gzip.compress(b"0" * 300_000_000, 9), "more than 200 times its size"),
    "a zip bomb": ("csv.zip", lambda: zipped({"a.csv": b"0" * 300_000_000}), "more than 200 times its size"),
    "a bomb in many members": (
        "csv.zip",
        lambda: zipped({f"{i}.csv": CSV[:40] + b"\n" * 30_000_000 for i in range(9)}),
        "more than 200 times",
    ),
    "a member that lies about its size": ("csv.zip", lies_about_its_size, "cut or damaged|has no column"),
    "a nested zip": ("csv.zip", lambda: zipped({"a.csv": CSV, "b.zip": zipped({"c.csv": CSV})}), "a further archive"),
    "a path upwards": ("csv.zip", lambda: zipped({"../../a.csv": CSV}), "whose path leads out of it"),
    "an absolute path": ("csv.zip", lambda: zipped({"/etc/cron.d/a.csv": CSV}), "whose path leads out of it"),
    "a path of another system": ("csv.zip", lambda: zipped({"C:\\a.csv": CSV}), "whose path leads out of it"),
    "a link": ("csv.zip", linked, "a member that is a link"),
    "a workbook bomb": ("xlsx", lambda: sheet("<row/>" * 30_000_000), "more than 200 times its size"),
    "billion laughs in a workbook": (
        "xlsx",
        lambda: sheet('<row r="1"><c r="A1" t="inlineStr"><is><t>&l9;</t></is></c></row>', before=LAUGHS),
        "entities of its own",
    ),
    "two cells at a sheet's ends": (
        "xlsx",
        lambda: sheet('<row r="1"><c r="A1"><v>1</v></c></row><row r="1048576"><c r="XFD1048576"><v>1</v></c></row>'),
        "spans more than",
    ),
    "a gzip that says it is plain": ("csv", lambda: gzip.compress(CSV), "its name says plain bytes, its first bytes "
"say gzip"),
}  # fmt: skip


# Its first members are within the ratio of the whole archive, and are read: 70 MiB were seen, of 270 MB.
ALLOWED_MIB = {"a bomb in many members": 96}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_reaches_nothing(put, folder: Path, tmp_path: Path, name: str) -> None:
    ending, make, message = HOSTILE[name]
    put(make(), f"2026-01-05.{ending}")
    put(CSV, "good.csv")
    read(declare(folder, path=f"{folder}/good.csv"))  # what a first read loads is not what the archive takes
    before = sorted(path for path in tmp_path.rglob("*"))
    workflow = declare(
        folder, path=f"{folder}/{{partition_key}}.{ending}", format="excel" if ending == "xlsx" else "csv"
    )
    started = time.monotonic()
    with watched_memory() as growth_kib:
        with pytest.raises(SourceQueryError, match=message):
            read(workflow)
        assert growth_kib() < ALLOWED_MIB.get(name, 64) * 1024  # each unpacks to 180 MB at least
    assert sorted(path for path in tmp_path.rglob("*")) == before
    assert time.monotonic() - started < 20


def test_control_the_bombs_are_bombs() -> None:
    packed = gzip.compress(b"0" * 300_000_000, 9)
    assert len(gzip.decompress(packed)) > 900 * len(packed)
    assert (
        sum(info.file_size for info in zipfile.ZipFile(io.BytesIO(zipped({"a.csv": b"0" * 10**8}))).infolist()) == 10**8
    )


def test_a_parquet_bomb_is_refused(put, folder: Path) -> None:
    """A text of a megabyte, a million times: a few kilobytes packed."""
    buffer = io.BytesIO()
    n_rows = 1_000_000
    name = pa.DictionaryArray.from_arrays(pa.array([0] * n_rows, pa.int32()), ["x" * 1_000_000])
    times = pa.array([datetime(2026, 1, 5)], pa.timestamp("us")).take(pa.array([0] * n_rows))
    pq.write_table(
        pa.table({"id": pa.array([1] * n_rows), "sent_at": times, "name": name, "amount": pa.array([0.5] * n_rows)}),
        buffer,
        write_statistics=False,
    )
    put(buffer.getvalue(), "2026-01-05.parquet")
    with pytest.raises(UnreadableFileError, match=r"rows of it are larger|times its size"):
        read(source_of(folder, "parquet", max_ratio=10_000))


def test_a_cell_of_50_megabytes_is_one_bad_row_in_flat_memory(put, folder: Path) -> None:
    put(HEADER.encode() + b'1,2026-01-05,"' + b"x" * 50_000_000 + b'",1\n2,2026-01-05,b,1\n')
    with watched_memory() as growth_kib:
        rows, letters = read(declare(folder))
        assert growth_kib() < 64 * 1024
    assert values(rows, "source_error") == ["line is longer than 1048576 bytes", None]
    assert letters[0]["byte_length"] == 50_000_000 + len('1,2026-01-05,"",1\n')
    assert len(letters[0]["bytes"]) == 65_536
