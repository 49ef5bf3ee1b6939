import sqlite3
import subprocess
import sys

import pyarrow as pa
import pytest

from include.errors import SourceQueryError, SourceUnavailableError
from include.sources.database import open_partition
from tests.sources.conftest import DAY, QUERY, declare
from tests.sources.test_database import read

N_ROWS = 70_000  # more than one batch


def mixed(path, declaration: str, values) -> str:
    """A table whose column `value` holds these values, in this order."""
    connection = sqlite3.connect(path)
    connection.execute(f"CREATE TABLE t (id INTEGER PRIMARY KEY, value {declaration})")
    connection.executemany("INSERT INTO t (value) VALUES (?)", [(value,) for value in values])
    connection.commit()
    connection.close()
    return f"sqlite:///{path}"


def query_of(expression: str = "value") -> str:
    return f"""
    SELECT '2026-01-05 10:00:00' AS sent_at, '2026-01-05' AS recorded_at, {expression} AS value
    FROM t WHERE sent_at >= :partition_start AND sent_at < :partition_end ORDER BY id
    """


@pytest.mark.parametrize(
    ("declaration", "values", "type_", "expected"),
    [
        ("REAL", [None] * N_ROWS + [1, 2.5], pa.float64(), [1.0, 2.5]),
        ("", [1] * N_ROWS + [2.5], pa.float64(), [1.0, 2.5]),
        ("", [1] * N_ROWS + ["x"], pa.string(), ["1", "x"]),
        ("", [None] * N_ROWS + ["x"], pa.string(), [None, "x"]),
        ("", [None] * N_ROWS + [b"x"], pa.binary(), [None, b"x"]),
        ("VARCHAR(9)", [None] * N_ROWS + ["x"], pa.string(), [None, "x"]),
        ("NUMERIC", [1, 2], pa.float64(), [1.0, 2.0]),
        ("DECIMAL(10,2)", [None, 1], pa.float64(), [None, 1.0]),
        ("BOOLEAN", [None, None], pa.int64(), [None, None]),
        ("BOOLEAN", [True, False], pa.int64(), [1, 0]),
        ("", [None, None], pa.string(), [None, None]),
        ("INTEGER", [None, None], pa.int64(), [None, None]),
        ("INTEGER", [2**62, -(2**62)], pa.int64(), [2**62, -(2**62)]),
    ],
)  # fmt: skip
def test_a_column_has_one_type_whatever_comes_first(tmp_path, declaration, values, type_, expected):
    table = read(mixed(tmp_path / "t.db", declaration, values), query_of())
    assert table.schema.field("value").type == type_
    assert table["value"].to_pylist()[-2:] == expected
    assert table.num_rows == len(values)


def test_a_cast_in_the_query_settles_the_type(tmp_path):
    table = read(mixed(tmp_path / "t.db", "", [None, None]), query_of("CAST(value AS REAL)"))
    assert table.schema.field("value").type == pa.float64()


@pytest.mark.parametrize(
    ("declaration", "values", "message"),
    [
        ("INTEGER", [1, "x"], "'value' is integer but holds other values too: CAST it"),
        ("INTEGER", [1] * N_ROWS + ["x"], "'value' is integer but holds other values too: CAST it"),
        ("INTEGER", [1, 2.5], "'value' is integer but holds other values too"),
        ("REAL", [1.0] * N_ROWS + ["x"], "'value' is real but holds other values too"),
        ("", [1, b"x"], "'value' mixes blobs with other values"),
        ("TEXT", ["a", b"\xff\xfe"], "'value' is text but holds other values too"),
        ("TEXT", ["a"] * N_ROWS + [b"\xff\xfe"], "bytes that are no UTF-8"),
    ],
)
def test_a_value_that_does_not_fit_is_an_error_and_no_silent_change(tmp_path, declaration, values, message):
    with pytest.raises(SourceQueryError, match=message):
        read(mixed(tmp_path / "t.db", declaration, values), query_of())


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2026-01-05", "2026-01-05 00:00:00+00:00"),
        ("2026-01-05 10:11:12", "2026-01-05 10:11:12+00:00"),
        ("2026-01-05T10:11:12.345678Z", "2026-01-05 10:11:12.345678+00:00"),
        ("2026-01-05 10:11:12.5", "2026-01-05 10:11:12.500000+00:00"),
        ("2026-01-05T10:11:12+02:00", "2026-01-05 08:11:12+00:00"),
        ("2026-01-05T10:11", "2026-01-05 10:11:00+00:00"),
    ],
)
def test_iso_text_is_parsed_to_utc(tmp_path, text, expected):
    query = query_of().replace("'2026-01-05' AS", f"'{text}' AS")
    assert str(read(mixed(tmp_path / "t.db", "", [1]), query)["recorded_at"][0]) == expected


@pytest.mark.parametrize("text", ["yesterday", "05/01/2026", "2026-13-01 00:00:00", ""])
def test_a_text_that_is_no_time_is_refused_without_its_value(tmp_path, text):
    query = query_of().replace("'2026-01-05' AS", f"'{text}' AS")
    with pytest.raises(SourceQueryError, match="'recorded_at' holds a text that is no ISO 8601 time") as refusal:
        read(mixed(tmp_path / "t.db", "", [1]), query)
    assert not text or text not in str(refusal.value)


def test_datetime_makes_other_forms_comparable(sqlite_path):
    connection = sqlite3.connect(sqlite_path)
    connection.execute("UPDATE shipments SET sent_at = replace(sent_at, ' ', 'T') || 'Z'")
    connection.commit()
    connection.close()
    query = QUERY.replace(
        "sent_at >= :partition_start AND sent_at",
        "datetime(sent_at) >= datetime(:partition_start) AND datetime(sent_at)",
    )
    assert read(f"sqlite:///{sqlite_path}", query).num_rows == 1440


def test_a_missing_file_is_named_and_not_created(tmp_path):
    with pytest.raises(SourceUnavailableError, match=r"SQLite file .*/none.db does not exist"):
        read(f"sqlite:///{tmp_path}/none.db")
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_is_no_database_is_refused(tmp_path):
    (tmp_path / "x.db").write_text("not a database, but long enough to be read as one " * 50)
    with pytest.raises(SourceQueryError, match="file is not a database"):
        read(f"sqlite:///{tmp_path}/x.db")


def test_a_locked_file_is_retried(sqlite_path):
    # Another process: SQLite's locks do not hold between two copies of the library in one.
    lock = """
import sqlite3, sys
sqlite3.connect(sys.argv[1], isolation_level=None).execute('BEGIN EXCLUSIVE')
print('locked', flush=True)
input()
"""
    with subprocess.Popen(
        [sys.executable, "-c", lock, str(sqlite_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as writer:
        assert writer.stdout.readline() == "locked\n"
        with pytest.raises(SourceUnavailableError, match="database is locked: retry"):
            read(f"sqlite:///{sqlite_path}")
        writer.communicate("\n", timeout=10)
    assert read(f"sqlite:///{sqlite_path}").num_rows == 1440


def test_the_source_is_never_written(sqlite_path):
    with pytest.raises(SourceQueryError):
        read(
            f"sqlite:///{sqlite_path}",
            "DELETE FROM shipments WHERE sent_at >= :partition_start AND sent_at < :partition_end RETURNING *",
        )
    assert read(f"sqlite:///{sqlite_path}").num_rows == 1440


def test_batches_are_bounded(tmp_path):
    with open_partition(declare(), query_of(), mixed(tmp_path / "t.db", "REAL", [1.0] * N_ROWS), DAY) as reader:
        sizes = [batch.num_rows for batch in reader]
    assert sum(sizes) == N_ROWS
    assert max(sizes) <= 65_536
