"""
10,000 bad records in files of every format: each is counted, quarantined for its reasons, and a dead letter where it is
no row.
"""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.lake.fencing import new_token
from include.lake.partitions import read_partition
from include.lake.store import Lake
from include.quality.replay import replay_partition
from include.rehearsal import ingest
from include.workflow import FileSource, Quality, Target, Workflow
from tests.factories import START, declare_workflow
from tests.injected import Expected, assert_accounted
from tests.sources.files.workbook import Raw, workbook

pytestmark = pytest.mark.claim("accounts")

KEY = "2026-01-05"
COLUMNS = {"id": "integer", "sent_at": "timestamp", "depot": "text", "amount": "number"}
NOT_WHOLE = ("id: key is missing", "sent_at: event time is missing")
AMOUNT, DEPOT = "amount: expect_column_values_to_be_between", "depot: expect_column_values_to_be_in_set"
STRAY = "source: column 'sent_at' lies outside the partition that the file is named for"
SUITE: dict[str, Any] = {
    "name": "sales",
    "expectations": [
        {
            "type": "expect_column_values_to_be_between",
            "kwargs": {"column": "amount", "min_value": 0, "max_value": 100},
        },
        {"type": "expect_column_values_to_be_in_set", "kwargs": {"column": "depot", "value_set": ["north", "south"]}},
    ],
}


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One kind of bad record: what makes it, from its number, and its reasons."""

    make: Callable[[int], Any]
    reasons: tuple[str, ...]


def no_row(make: Callable[[int], Any], error: str) -> Fault:
    return Fault(make=make, reasons=(f"source: {error}", *NOT_WHOLE))


def broken(make: Callable[[int], Any], *reasons: str) -> Fault:
    return Fault(make=make, reasons=reasons)


def moment(number: int) -> str:
    """A moment of its own: of rows without a key those that are alike are one."""
    return f"2026-01-05T{10 + number // 3600}:{number // 60 % 60:02d}:{number % 60:02d}Z"


def csv_line(number: int, *, at: str = "2026-01-05T10:00:00Z", depot: str = "north", amount: str = "5") -> str:
    return f"{number},{at},{depot},{amount}\n"


CSV = [
    no_row(lambda i: f"{i},2026-01-05,north\n", "line has 3 fields, the header has 4"),
    no_row(lambda i: f"{i},2026-01-05,north,5,6\n", "line has 5 fields, the header has 4"),
    no_row(lambda i: f'{i},2026-01-05,"north,5\n', "quote is not closed"),
    no_row(lambda i: f'{i},2026-01-05,no"rt"h,5\n', "quote stands where none may"),
    no_row(lambda i: f"{i},2026-01-05,no\0rth,5\n", "line holds a NUL byte"),
    no_row(lambda i: f"00{i},2026-01-05,north,5\n", "column 'id' holds no integer"),
    no_row(lambda i: csv_line(i, at="2026-02-30"), "column 'sent_at' holds no timestamp"),
    no_row(lambda i: csv_line(i, amount="9007199254740993"), "column 'amount' holds no number"),
    no_row(lambda i: csv_line(i, amount="NA"), "column 'amount' holds no number"),
    no_row(lambda i: csv_line(i).encode().replace(b"north", b"n\xf6rth"), "bytes are not UTF-8"),
    broken(lambda i: csv_line(i, at="2026-01-06"), STRAY),
    broken(lambda i: csv_line(i, amount="-1"), AMOUNT),
    broken(lambda i: csv_line(i, depot="moon"), DEPOT),
    broken(lambda i: csv_line(i, depot="moon", amount="101"), AMOUNT, DEPOT),
    broken(lambda i: f",{csv_line(i, at=moment(i)).partition(',')[2]}", "id: key is missing"),
]


def json_line(number: Any, *, at: str = '"2026-01-05T10:00:00Z"', depot: str = '"north"', amount: str = "5") -> str:
    return f'{{"id": {number}, "sent_at": {at}, "depot": {depot}, "amount": {amount}}}\n'


JSON = [
    no_row(lambda i: f"{json_line(i)[:-3]}\n", "line is no JSON"),
    no_row(lambda i: f"[{i}]\n", "line is no JSON object"),
    no_row(lambda i: f'{{"id": {i}, "sent_at": "2026-01-05", "depot": "north"}}\n', "field 'amount' is missing"),
    no_row(lambda i: json_line(i).replace("{", '{"id": 1, '), "line gives a field twice"),
    no_row(lambda i: json_line(f'"{i}"'), "column 'id' holds no integer"),
    no_row(lambda i: json_line(i, amount="true"), "column 'amount' holds no number"),
    no_row(lambda i: json_line(i, amount="NaN"), "line holds NaN, which is no JSON"),
    no_row(lambda i: json_line(i, depot='{"name": "north"}'), "column 'depot' holds no text"),
    no_row(lambda i: json_line(i).encode().replace(b"north", b"n\xf6rth"), "bytes are not UTF-8"),
    broken(lambda i: json_line(i, at='"2026-01-06"'), STRAY),
    broken(lambda i: json_line(i, at="null"), "sent_at: event time is missing"),
    broken(lambda i: json_line(i, amount="101"), AMOUNT),
]


def cells(number: Any, *, at: Any = "2026-01-05T10:00:00Z", depot: Any = "north", amount: Any = 5) -> list[Any]:
    return [number, at, depot, amount]


EXCEL = [
    no_row(lambda i: cells(i + 0.5), "column 'id' holds no integer"),
    no_row(lambda i: cells(i, depot=17), "column 'depot' holds no text"),
    no_row(lambda i: cells(i, amount="five"), "column 'amount' holds no number"),
    no_row(lambda i: cells(i, amount=Raw('t="e"><v>#DIV/0!</v>')), "column 'amount' holds an error of Excel"),
    no_row(lambda i: [*cells(i), 1], "row has 5 cells, the header has 4"),
    no_row(lambda i: cells(i, at="5.1.2026"), "column 'sent_at' holds no timestamp"),
    broken(lambda i: cells(i, at="2026-01-04"), STRAY),
    broken(lambda i: cells(None, at=moment(i)), "id: key is missing"),
    broken(lambda i: cells(i, depot="moon", amount=-1), AMOUNT, DEPOT),
    broken(lambda i: cells(i, amount=101), AMOUNT),
]
PARQUET = [
    no_row(lambda i: cells(2**63 + i), "column 'id' holds no integer"),
    no_row(lambda i: cells(i, amount=2**53 + 1 + 2 * i), "column 'amount' holds no number"),
    no_row(lambda i: cells(2**63 + i, amount=2**53 + 1), "column 'id' holds no integer"),
    broken(lambda i: cells(i, at="2026-01-06"), STRAY),
    broken(lambda i: cells(None, at=moment(i)), "id: key is missing"),
    broken(lambda i: cells(i, at=None), "sent_at: event time is missing"),
    broken(lambda i: cells(i, amount=101), AMOUNT),
    broken(lambda i: cells(i, depot="moon"), DEPOT),
    broken(lambda i: cells(i, depot="moon", amount=101), AMOUNT, DEPOT),
]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """
    A format: its faults, a good record, and how records become the files of a partition, by name as the
    rows tell it.
    """

    faults: Sequence[Fault]
    good: Callable[[int], Any]
    n_bad: int
    files: Callable[[list[Any]], dict[str, bytes]]
    inside: str = ""


def as_text(lines: Sequence[Any], header: str = "") -> bytes:
    return header.encode() + b"".join(line.encode() if isinstance(line, str) else line for line in lines)


def csv_files(lines: list[Any]) -> dict[str, bytes]:
    """A third of them plain, a third in gzip, a third in a zip."""
    third = len(lines) // 3
    parts = [as_text(lines[n * third : (n + 1) * third if n < 2 else None], ",".join(COLUMNS) + "\n") for n in range(3)]
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("rows.csv", parts[2])
    return {f"{KEY}-a.csv": parts[0], f"{KEY}-b.csv.gz": gzip.compress(parts[1]), f"{KEY}-c.csv.zip": packed.getvalue()}


def parquet_files(rows: list[Any]) -> dict[str, bytes]:
    ids, times, depots, amounts = (list(column) for column in zip(*rows, strict=True))
    moments = [None if time is None else datetime.fromisoformat(time).replace(tzinfo=UTC) for time in times]
    table = pa.table(
        {
            "id": pa.array(ids, pa.uint64()),
            "sent_at": pa.array(moments, pa.timestamp("us", "UTC")),
            "depot": pa.array(depots, pa.string()),
            "amount": pa.array(amounts, pa.int64()),
        }
    )
    sink = io.BytesIO()
    pq.write_table(table, sink)
    return {f"{KEY}-a.parquet": sink.getvalue()}


LAYOUTS = {
    "csv": Layout(faults=CSV, good=csv_line, n_bad=4_500, files=csv_files),
    "json_lines": Layout(
        faults=JSON, good=json_line, n_bad=2_500, files=lambda lines: {f"{KEY}-a.jsonl": as_text(lines)}
    ),
    "excel": Layout(
        faults=EXCEL,
        good=cells,
        n_bad=1_000,
        files=lambda rows: {f"{KEY}-a.xlsx": workbook({"data": [list(COLUMNS), *rows]})},
    ),
    "parquet": Layout(faults=PARQUET, good=cells, n_bad=2_000, files=parquet_files),
}
N_GOOD, N_TWICE = 300, 20


def declare(tmp_path: Path, layout: str, suite: dict[str, Any] = SUITE) -> Workflow:
    source = FileSource(
        path=f"{tmp_path}/data/{{partition_key}}*",
        format=layout,
        columns=COLUMNS,
        event_time="sent_at",
        known_time="modified_at",
        key=("id",),
    )
    changes = {"target": Target(column="depot", positive="north"), "quality": Quality(max_quarantined=None)}
    return declare_workflow(tmp_path / "sales", suite=suite, name="sales", source=source, **changes)


def inject(tmp_path: Path, layout: Layout) -> tuple[Expected, Counter[tuple[str, str]]]:
    """Write a partition's files; return what has to become of its rows, and its dead letters by file and reason."""
    good = [layout.good(100_000 + i) for i in range(N_GOOD)]
    records, reasons = [*good, *good[:N_TWICE]], {}
    for i in range(layout.n_bad):
        fault = layout.faults[i % len(layout.faults)]
        reasons[len(records)] = fault.reasons
        records.append(fault.make(1 + i))
    records += [layout.good(200_000 + i) for i in range(N_GOOD)]
    letters = [
        (position, found[0].removeprefix("source: "))
        for position, found in reasons.items()
        if NOT_WHOLE[0] in found[1:2]
    ]
    file_of = _write(tmp_path / "data", layout, records)
    expected = Expected(n_in=len(records), n_published=2 * N_GOOD, n_duplicate=N_TWICE, reasons_by_row=reasons)
    return expected, Counter((file_of(position), reason) for position, reason in letters)


def _write(folder: Path, layout: Layout, records: list[Any]) -> Callable[[int], str]:
    folder.mkdir()
    for name, data in layout.files(records).items():
        (folder / name).write_bytes(data)
        os.utime(folder / name, (START.timestamp() + 3600,) * 2)
    names = sorted(path.name for path in folder.iterdir())
    if len(names) == 3:
        third, shown = len(records) // 3, [*names[:2], f"{names[2]}!rows.csv"]
        return lambda position: shown[min(position // third, 2)]
    suffix = "#data" if names[0].endswith(".xlsx") else ""
    return lambda position: names[0] + suffix


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))


def test_ten_thousand_are_injected_in_many_ways() -> None:
    assert sum(layout.n_bad for layout in LAYOUTS.values()) == 10_000
    assert {name: len({fault.reasons for fault in layout.faults}) for name, layout in LAYOUTS.items()} == {
        "csv": 14,
        "json_lines": 12,
        "excel": 10,
        "parquet": 8,
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_each_bad_record_is_accounted_for(tmp_path: Path, name: str) -> None:
    lake = Lake(uri=str(tmp_path / "lake"))
    expected, letters = inject(tmp_path, LAYOUTS[name])
    ingest(declare(tmp_path, name), KEY, connection_uri=None, lake=lake)
    assert_accounted(lake, "sales", expected, marker_column="source_position")
    found = read_partition(lake, "sales/dead_letters", KEY).to_pylist()
    assert Counter((letter["file"], letter["reason"]) for letter in found) == letters
    assert all(letter["row_number"] or letter["byte_offset"] for letter in found)

    # A suite that lets larger and negative amounts in heals the rows that had no other fault, and no others; twice the
    # same.
    mended = {
        **SUITE,
        "expectations": [
            {**SUITE["expectations"][0], "kwargs": {"column": "amount", "min_value": -9, "max_value": 999}}
        ],
    }
    mended["expectations"].append(SUITE["expectations"][1])
    workflow, before = declare(tmp_path, name, mended), dict(expected.reasons_by_row)
    left = {
        position: kept
        for position, reasons in before.items()
        if (kept := tuple(reason for reason in reasons if reason != AMOUNT))
    }
    healed = replace(expected, n_published=expected.n_published + len(before) - len(left), reasons_by_row=left)
    for number, is_changed in ((1, True), (2, False)):
        report = replay_partition(
            workflow, KEY, lake=lake, token=new_token(), run_id=f"replay {number}", try_id=str(number)
        )
        assert (report.rows_healed if is_changed else 0, report.is_changed) == (
            len(before) - len(left) if is_changed else 0,
            is_changed,
        )
        assert_accounted(lake, "sales", healed, marker_column="source_position")
    assert len(left) < len(before)
