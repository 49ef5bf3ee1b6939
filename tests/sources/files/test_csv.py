"""CSV is read exactly, or not at all."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from include.errors import SourceQueryError, UnreadableFileError
from tests.sources.files.conftest import AT_REST, HEADER, declare, read, values

# (type, text as it stands in the file, what it is; REFUSED where it is none of that type)
REFUSED = object()
NASTY = [
    ("text", "00123", "00123"),
    ("text", "NA", "NA"),
    ("text", "null", "null"),
    ("text", "None", "None"),
    ("text", "nan", "nan"),
    ("text", " padded ", " padded "),
    ("text", "1e5", "1e5"),
    ("text", "TRUE", "TRUE"),
    ("text", "2026-01-05", "2026-01-05"),
    ("text", '"say ""hi"""', 'say "hi"'),
    ("text", '"a,b"', "a,b"),
    ("text", "\ufeffbom", "\ufeffbom"),
    ("text", "é\u0301\u200b", "é\u0301\u200b"),
    ("text", "=1+1", "=1+1"),
    ("text", "0x1A", "0x1A"),
    ("integer", "00123", REFUSED),
    ("integer", "9007199254740993", 9007199254740993),
    ("integer", "9223372036854775808", REFUSED),
    ("integer", "1.0", REFUSED),
    ("integer", "1e3", REFUSED),
    ("integer", " 7", REFUSED),
    ("integer", "+7", REFUSED),
    ("integer", "1_000", REFUSED),
    ("integer", "٣", REFUSED),
    ("integer", "NA", REFUSED),
    ("number", "9007199254740993", REFUSED),
    ("number", "0.1", 0.1),
    ("number", "1e400", REFUSED),
    ("number", "1e-400", REFUSED),
    ("number", "nan", REFUSED),
    ("number", "inf", REFUSED),
    ("number", '"1,5"', REFUSED),
    ("number", "0.12345678901234567890", REFUSED),
    ("number", "1 000", REFUSED),
    ("boolean", "yes", REFUSED),
    ("boolean", "true", True),
    ("timestamp", "2026-02-30", REFUSED),
    ("timestamp", "05/01/2026", REFUSED),
    ("date", "2023-02-29", REFUSED),
    ("date", "20260105", REFUSED),
]


@pytest.mark.parametrize(("kind", "text", "expected"), NASTY)
def test_a_nasty_cell_is_exact_or_refused(put, folder: Path, kind: str, text: str, expected: object) -> None:
    put(f"id,sent_at,cell\n1,2026-01-05,{text}\n")
    rows, letters = read(declare(folder, columns={"id": "integer", "sent_at": "timestamp", "cell": kind}))
    if expected is REFUSED:
        assert rows == [
            {
                **dict.fromkeys(rows[0]),
                "source_name": "2026-01-05.csv",
                "modified_at": rows[0]["modified_at"],
                "source_error": f"column 'cell' holds no {kind}",
            }
        ]
        assert letters[0]["bytes"] == f"1,2026-01-05,{text}\n".encode()
    else:
        assert (values(rows, "cell"), values(rows, "source_error"), letters) == ([expected], [None], [])


def test_control_pandas_changes_cells_in_silence() -> None:
    """What its defaults make of the same 40 cells."""
    silently = 0
    for _, text, _ in NASTY:
        cell = pd.read_csv(io.StringIO(f"id,cell\n1,{text}\n"))["cell"].iloc[0]
        silently += str(cell) != next(csv.reader([text]))[0]
    assert len(NASTY) == 40
    assert silently >= 10


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b"2,2026-01-05,x,1,5", "line has 5 fields, the header has 4"),
        (b"2,2026-01-05,x", "line has 3 fields, the header has 4"),
        (b'2,2026-01-05,"x,1', "quote is not closed"),
        (b'2,2026-01-05,x"y"z,1', "quote stands where none may"),
        (b'2,2026-01-05,"x"y,1', "quote stands where none may"),
        (b'2,2026-01-05,"x"y",1', "quote is not closed"),
        (b"2,2026-01-05,\xff,1", "bytes are not UTF-8"),
        (b"2,2026-01-05,\xc3,1", "bytes are not UTF-8"),
        (b"2,2026-01-05,a\0b,1", "line holds a NUL byte"),
        (b"2,2026-01-05,a\rb,1", "carriage return stands outside quotes"),
        (b"2,2026-01-05,x,one", "column 'amount' holds no number"),
        (b"2,yesterday,x,1", "column 'sent_at' holds no timestamp"),
        (b"two,2026-01-05,x,1", "column 'id' holds no integer"),
        (b"2,2026-01-05," + b"x" * 2_000_000 + b",1", "line is longer than 1048576 bytes"),
        (b" ", "line has 1 field, the header has 4"),
    ],
)
@pytest.mark.parametrize("newlines_in_values", [False, True])
def test_a_bad_line_is_one_bad_row_and_the_others_stay(
    put, folder: Path, line: bytes, reason: str, newlines_in_values: bool
) -> None:
    before = HEADER.encode() + b'1,2026-01-05,"a ""b""",1\n'
    put(before + line + b"\n3,2026-01-05,c,1\n")
    rows, letters = read(declare(folder, newlines_in_values=newlines_in_values))
    assert [(row["id"], row["name"], row["source_error"]) for row in rows] == [
        (1, 'a "b"', None),
        (None, None, reason),
        (3, "c", None),
    ]
    assert [(letter["byte_offset"], letter["byte_length"], letter["reason"]) for letter in letters] == [
        (len(before), len(line) + 1, reason)
    ]
    assert letters[0]["bytes"] == (line + b"\n")[:65_536]


def test_two_stray_quotes_swallow_nothing(put, folder: Path) -> None:
    """A quoted value is on one line, unless the source says otherwise."""
    text = HEADER + '1,2026-01-05,"a,1\n2,2026-01-05,b,1\n3,2026-01-05,c",1\n'
    put(text)
    assert [row["source_error"] for row in read(declare(folder))[0]] == [
        "quote is not closed",
        None,
        "quote is not closed",
    ]


def test_control_pandas_loses_the_rows_between_two_stray_quotes() -> None:
    text = HEADER + '1,2026-01-05,"a,1\n2,2026-01-05,b,1\n3,2026-01-05,c",1\n'
    assert len(pd.read_csv(io.StringIO(text))) == 1


TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=6) | st.text(
    '",\r\n;ab', max_size=8
)
TABLES = st.integers(1, 4).flatmap(
    lambda width: st.lists(st.lists(TEXT, min_size=width, max_size=width), min_size=1, max_size=8)
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    table=TABLES, form=st.sampled_from([(csv.QUOTE_MINIMAL, "\r\n"), (csv.QUOTE_ALL, "\r\n"), (csv.QUOTE_ALL, "\n")])
)
def test_what_the_csv_module_writes_is_read_back_exactly(
    put, folder: Path, table: list[list[str]], form: tuple[int, str]
) -> None:
    names = [f"c{i}" for i in range(len(table[0]))]
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, quoting=form[0], lineterminator=form[1])
    writer.writerow(["sent_at", *names])
    writer.writerows(["2026-01-05", *row] for row in table)
    put(buffer.getvalue())
    columns = {"sent_at": "timestamp", **dict.fromkeys(names, "text")}
    rows, letters = read(declare(folder, columns=columns, key=(), null_values=(), newlines_in_values=True))
    assert [[row[name] for name in names] for row in rows] == table
    assert not letters


@pytest.mark.claim("files")
def test_values_with_line_breaks_cross_the_blocks(put, folder: Path) -> None:
    """Two megabytes of them, and one stray quote among them that swallows nothing."""
    lines = [f'{i},2026-01-05,"{"line" * 5}\n{i}\r\n",1\n' for i in range(60_000)]
    lines.insert(30_000, '999999,2026-01-05,"stray,1\n')
    put(HEADER + "".join(lines))
    rows, letters = read(declare(folder, newlines_in_values=True))
    assert [row["source_error"] for row in rows].count(None) == 60_000
    assert values(letters, "reason") == ["quote is not closed"]
    assert rows[59_000]["name"] == f"{'line' * 5}\n58999\r\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "latin-1", "gb18030", "shift_jis"]
)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_each_encoding_and_line_break(put, folder: Path, encoding: str, end: str) -> None:
    name = {"gb18030": "数据", "shift_jis": "ソ能"}.get(encoding, "Müller")
    put((HEADER + f"1,2026-01-05,{name},1\n2,2026-01-05,x,2\n").replace("\n", end).encode(encoding))
    rows, _ = read(declare(folder, encoding="utf-8" if encoding == "utf-8-sig" else encoding))
    assert [(row["id"], row["name"], row["source_error"]) for row in rows] == [(1, name, None), (2, "x", None)]


def test_another_encoding_than_the_declared_one_is_refused(put, folder: Path) -> None:
    put((HEADER + "1,2026-01-05,Müller,1\n").encode("cp1252"))
    assert values(read(declare(folder))[0], "source_error") == ["bytes are not UTF-8"]
    put((HEADER + "1,2026-01-05,Müller,1\n").encode("utf-16"))
    with pytest.raises(SourceQueryError, match=r"bytes are not UTF-8; is source\.encoding right"):
        read(declare(folder))
    put((HEADER + "1,2026-01-05,Müller,1\n").encode("utf-16")[:-1])
    with pytest.raises(UnreadableFileError, match="bytes are not utf-16, or the file was cut"):
        read(declare(folder, encoding="utf-16"))


def test_columns_may_come_in_any_order_and_under_other_names(put, folder: Path) -> None:
    put("Amount;name;ID;sent_at;extra\n1,5;x;1;2026-01-05;e\n1.5;x;2;2026-01-05;e\n")
    rows, _ = read(declare(folder, delimiter=";", decimal_comma=True, headers={"amount": "Amount", "id": "ID"}))
    assert [(row["id"], row["amount"], row["source_error"]) for row in rows] == [
        (1, 1.5, None),
        (None, None, "column 'amount' holds no number"),
    ]
    assert "extra" not in rows[0]


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ("id,sent_at,name", "has no column 'amount': it has 'id', 'sent_at', 'name'"),
        ("id,sent_at,name,amounts", "was 'amounts' renamed"),
        ("id,sent_at,name,amount,amount", "has 2 columns 'amount'"),
        ("1,2026-01-05,Secret,5", "does its first line name the columns"),
        ("id;sent_at;name;amount", "does its first line name the columns"),
    ],
)
def test_another_header_stops_the_partition(put, folder: Path, header: str, message: str) -> None:
    put(f"{header}\n1,2026-01-05,x,1\n")
    with pytest.raises(SourceQueryError, match=message) as caught:
        read(declare(folder))
    assert "Secret" not in str(caught.value)


def test_an_optional_column_may_be_missing(put, folder: Path) -> None:
    put("id,sent_at,name\n1,2026-01-05,x\n")
    assert values(read(declare(folder, optional=("amount",)))[0], "amount") == [None]


def test_null_is_what_is_declared_as_null(put, folder: Path) -> None:
    put(HEADER + "1,2026-01-05,NA,\n2,2026-01-05,-,-\n")
    rows, _ = read(declare(folder, null_values=("", "-")))
    assert [(row["name"], row["amount"]) for row in rows] == [("NA", None), (None, None)]


def test_without_a_key_in_the_path_a_partition_keeps_the_rows_of_its_time(put, folder: Path) -> None:
    """A row without a time is in the partition of its file's arrival, and only there are its bytes."""
    put(HEADER + "1,2026-01-05,a,1\n2,2026-01-04,b,1\nx,2026-01-04,c,1\n", "a.csv")
    put(HEADER + "3,2026-01-05,d,1\ny,2026-01-05,e,1\n", "b.csv", modified=AT_REST + 86_400)
    rows, letters = read(declare(folder, path=f"{folder}/*.csv"))
    assert [(row["id"], row["source_name"]) for row in rows] == [(1, "a.csv"), (None, "a.csv"), (3, "b.csv")]
    assert values(letters, "bytes") == [b"x,2026-01-04,c,1\n"]


def test_a_row_of_another_day_than_its_files_is_kept_with_a_reason(put, folder: Path) -> None:
    put(HEADER + "1,2026-01-06,a,1\n")
    rows, letters = read(declare(folder))
    assert values(rows, "source_error") == ["column 'sent_at' lies outside the partition that the file is named for"]
    assert (values(rows, "id"), letters) == ([1], [])


def test_bytes_can_be_kept_out(put, folder: Path) -> None:
    put(HEADER + "x,2026-01-05,Secret,1\n")
    _, letters = read(declare(folder), keep_bytes=False)
    assert (letters[0]["bytes"], letters[0]["digest"], letters[0]["reason"]) == (
        None,
        None,
        "column 'id' holds no integer",
    )
