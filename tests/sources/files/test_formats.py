"""Excel, JSON lines and Parquet are read as strictly as CSV."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from include.errors import SourceQueryError, UnreadableFileError
from tests.sources.files.conftest import AT_REST, COLUMNS, declare, read, values
from tests.sources.files.workbook import Raw, workbook

NOON = datetime(2026, 1, 5, 12)


def json_lines(folder: Path, **changes: Any):
    return declare(folder, **{"path": f"{folder}/{{partition_key}}.jsonl", "format": "json_lines", **changes})


def excel(folder: Path, **changes: Any):
    return declare(folder, **{"path": f"{folder}/{{partition_key}}.xlsx", "format": "excel", **changes})


def parquet(folder: Path, **changes: Any):
    return declare(folder, **{"path": f"{folder}/{{partition_key}}.parquet", "format": "parquet", **changes})


GOOD = '{"id": 1, "sent_at": "2026-01-05T10:00:00Z", "name": "a", "amount": 1.5}'


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"id": 2, "sent_at": "2026-01-05", "name": "a"}', "field 'amount' is missing"),
        ('{"id": 2, "id": 3, "sent_at": "2026-01-05", "name": "a", "amount": 1}', "line gives a field twice"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": "a", "amount": NaN}', "line holds NaN, which is no JSON"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": "a", "amount": "1"}', "column 'amount' holds no number"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": 7, "amount": 1}', "column 'name' holds no text"),
        ('{"id": 2.0, "sent_at": "2026-01-05", "name": "a", "amount": 1}', "column 'id' holds no integer"),
        (
            '{"id": 9223372036854775808, "sent_at": "2026-01-05", "name": "a", "amount": 1}',
            "column 'id' holds no integer",
        ),
        ('{"id": 2, "sent_at": "2026-01-05", "name": "a", "amount": 1e999}', "column 'amount' holds no number"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": ["a"], "amount": 1}', "column 'name' holds no text"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": "\\ud800", "amount": 1}', "column 'name' holds no text"),
        ('{"id": 2, "sent_at": "2026-01-05", "name": "\\u0000", "amount": 1}', "column 'name' holds no text"),
        ('{"id": ' + "9" * 5000 + "}", "line holds a number of more than 400 digits"),
        ("[" * 100_000 + "]" * 100_000, "line is nested too deeply"),
        ('{"id": 2, "sent_at": "2026-01-05"', "line is no JSON"),
        ('{"id": 2} {"id": 3}', "line is no JSON"),
        ("[1, 2]", "line is no JSON object"),
    ],
)
def test_a_bad_json_line_is_one_bad_row(put, folder: Path, line: str, reason: str) -> None:
    put(f"{GOOD}\n\n{line}\n{GOOD}", "2026-01-05.jsonl")
    rows, letters = read(json_lines(folder))
    assert [(row["id"], row["source_error"]) for row in rows] == [(1, None), (None, reason), (1, None)]
    assert [(letter["byte_offset"], letter["bytes"]) for letter in letters] == [
        (len(GOOD) + 2, f"{line}\n".encode()[:65_536])
    ]


def test_json_keeps_every_digit(put, folder: Path) -> None:
    put(
        GOOD.replace('"id": 1', '"id": 9007199254740993').replace("1.5", "12345678901234567890.25") + "\n",
        "2026-01-05.jsonl",
    )
    rows, _ = read(json_lines(folder, columns={**COLUMNS, "amount": "decimal(30,2)"}))
    assert (rows[0]["id"], rows[0]["amount"]) == (2**53 + 1, Decimal("12345678901234567890.25"))


def test_control_a_plain_reader_of_json_loses_a_digit_and_a_twin() -> None:
    line = '{"id": 1, "id": 2, "amount": 12345678901234567890.25}'
    assert (
        json.loads(line) == {"id": 2, "amount": 12345678901234567890.25} == {"id": 2, "amount": 12345678901234567168.0}
    )


def test_a_file_without_any_json_stops(put, folder: Path) -> None:
    put("id,name\n1,x\n", "2026-01-05.jsonl")
    with pytest.raises(SourceQueryError, match="none of its 2 lines is a JSON object"):
        read(json_lines(folder))


ROWS = [
    ["id", "sent_at", "name", "amount"],
    [1, NOON, "00123", 1.5],
    [None, None, None, None],
    [2, "2026-01-05T10:00", "NA", 2],
]


def test_a_sheet_is_read_as_it_is(put, folder: Path) -> None:
    put(workbook({"data": ROWS}, first_row=3), "2026-01-05.xlsx")
    rows, letters = read(excel(folder))
    assert [(row["id"], row["sent_at"], row["name"], row["amount"]) for row in rows] == [
        (1, NOON.replace(tzinfo=UTC), "00123", 1.5),
        (2, datetime(2026, 1, 5, 10, tzinfo=UTC), "NA", 2.0),
    ]
    assert values(rows, "source_name") == ["2026-01-05.xlsx#data"] * 2
    assert not letters


@pytest.mark.parametrize(
    ("cells", "reason"),
    [
        ([1.5, NOON, "x", 1], "column 'id' holds no integer"),
        ([float(2**53), NOON, "x", 1], "column 'id' holds no integer"),
        ([True, NOON, "x", 1], "column 'id' holds no integer"),
        (["0012", NOON, "x", 1], "column 'id' holds no integer"),
        ([1, 46027.5, "x", 1], "column 'sent_at' holds no timestamp"),
        ([1, NOON, 123, 1], "column 'name' holds no text"),
        ([1, NOON, "x", "one"], "column 'amount' holds no number"),
        ([1, NOON, "x", Raw('t="e"><v>#N/A</v>')], "column 'amount' holds an error of Excel"),
        ([1, NOON, "x", 1, "more"], "row has 5 cells, the header has 4"),
    ],
)
def test_a_bad_row_of_a_sheet_is_one_bad_row(put, folder: Path, cells: list[Any], reason: str) -> None:
    put(workbook({"data": [*ROWS, cells]}), "2026-01-05.xlsx")
    rows, letters = read(excel(folder))
    assert values(rows, "source_error") == [None, None, reason]
    assert values(letters, "row_number") == [5]
    assert values(letters, "reason") == [reason]


def test_control_pandas_reads_an_error_of_excel_as_missing_and_rounds(put) -> None:
    path = put(workbook({"data": [["id", "amount"], [2**53 + 1, Raw('t="e"><v>#N/A</v>')]]}), "control.xlsx")
    frame = pd.read_excel(path, engine="calamine")
    assert frame["id"].iloc[0] != 2**53 + 1
    assert frame["amount"].isna().all()


@pytest.mark.parametrize(
    ("sheets", "changes", "message"),
    [
        ({"a": ROWS, "b": ROWS}, {}, "has 2 sheets"),
        ({"a": ROWS}, {"sheet": "c"}, "has no sheet 'c': it has 'a'"),
        ({"a": [["id"], [1]]}, {}, "has no column 'sent_at'"),
    ],
)
def test_another_sheet_stops(put, folder: Path, sheets: dict[str, Any], changes: dict[str, Any], message: str) -> None:
    put(workbook(sheets), "2026-01-05.xlsx")
    with pytest.raises(SourceQueryError, match=message):
        read(excel(folder, **changes))


def put_parquet(folder: Path, table: pa.Table, name: str = "2026-01-05.parquet") -> Path:
    import os

    pq.write_table(table, folder / name, row_group_size=50, write_page_checksum=True)
    os.utime(folder / name, (AT_REST, AT_REST))
    return folder / name


def shipments(n_rows: int = 3, **changes: Any) -> pa.Table:
    columns = {
        "id": pa.array(range(n_rows), pa.int32()),
        "sent_at": pa.array([NOON] * n_rows, pa.timestamp("ns")),
        "name": pa.array(["00123"] * n_rows).dictionary_encode(),
        "amount": pa.array([1.5] * n_rows, pa.float32()),
    }
    return pa.table({**columns, **changes})


@pytest.mark.parametrize("columns", [COLUMNS, {}])
def test_parquet_keeps_its_types(folder: Path, columns: dict[str, str]) -> None:
    put_parquet(folder, shipments())
    rows, letters = read(parquet(folder, columns=columns))
    assert [(row["id"], row["sent_at"], row["name"], row["amount"]) for row in rows] == [
        (i, NOON.replace(tzinfo=UTC), "00123", 1.5) for i in range(3)
    ]
    assert not letters


def test_a_value_of_parquet_that_would_not_survive_is_a_bad_row(folder: Path) -> None:
    put_parquet(
        folder, shipments(id=pa.array([1, 2**63, 3], pa.uint64()), amount=pa.array([1, 2, 2**53 + 1], pa.int64()))
    )
    rows, letters = read(parquet(folder))
    assert values(rows, "source_error") == [None, "column 'id' holds no integer", "column 'amount' holds no number"]
    assert values(letters, "row_number") == [2, 3]


def test_another_type_of_parquet_stops(folder: Path) -> None:
    put_parquet(folder, shipments(id=pa.array(["1", "2", "3"])))
    with pytest.raises(SourceQueryError, match="the column 'id' is string, int64 is declared"):
        read(parquet(folder))


def test_parquet_files_without_a_declaration_have_the_columns_of_the_first(folder: Path) -> None:
    source = parquet(folder, columns={}, path=f"{folder}/{{partition_key}}*.parquet")
    put_parquet(folder, shipments(), "2026-01-05-a.parquet")
    put_parquet(folder, shipments(more=pa.array([1, 2, 3])), "2026-01-05-b.parquet")
    with pytest.raises(SourceQueryError, match="not those of the first file"):
        read(source)


def test_a_flipped_bit_of_a_page_is_found(folder: Path) -> None:
    path = put_parquet(folder, shipments(1000, amount=pa.array([float(i) for i in range(1000)])))
    data = bytearray(path.read_bytes())
    data[len(data) // 4] ^= 1
    path.write_bytes(data)
    import os

    os.utime(path, (AT_REST, AT_REST))
    with pytest.raises(UnreadableFileError, match="damaged"):
        read(parquet(folder))


def test_a_date_and_a_decimal_come_as_such(put, folder: Path) -> None:
    columns = {"id": "integer", "sent_at": "date", "amount": "decimal(8,2)", "is_late": "boolean"}
    put(
        workbook({"data": [["id", "sent_at", "amount", "is_late"], [1, datetime(2026, 1, 5), 10.25, True]]}),
        "2026-01-05.xlsx",
    )
    rows, _ = read(excel(folder, columns=columns))
    assert (rows[0]["sent_at"], rows[0]["amount"], rows[0]["is_late"]) == (date(2026, 1, 5), Decimal("10.25"), True)


def test_an_error_on_another_sheet_is_none_of_this_one(put, folder: Path) -> None:
    rows = [list(COLUMNS), [1, "2026-01-05", "a", 0.5]]
    other = [["x"], [Raw('t="e"><v>#REF!</v>')], *[["y"]] * 3]
    put(workbook({"other & older": other, "data": rows}), "2026-01-05.xlsx")
    source = declare(folder, path=f"{folder}/{{partition_key}}.xlsx", format="excel", sheet="data")
    found, _ = read(source)
    assert (values(found, "id"), values(found, "source_error")) == ([1], [None])


def test_an_error_is_found_where_the_sheet_is(put, folder: Path) -> None:
    """The sheet begins below the first row, and its member is the second one."""
    rows = [list(COLUMNS), [1, "2026-01-05", "a", 0.5], [2, "2026-01-05", Raw('t="e"><v>#REF!</v>'), 0.5]]
    put(workbook({"other": [["x"]], "data": rows}, first_row=4), "2026-01-05.xlsx")
    found, _ = read(declare(folder, path=f"{folder}/{{partition_key}}.xlsx", format="excel", sheet="data"))
    assert values(found, "source_error") == [None, "column 'name' holds an error of Excel"]
