"""
Read one partition of 1 and 5 million rows x 12 from PostgreSQL: Updraft's stream beside `pandas.read_sql`. Then 1
million rows joined with two more tables, of which one holds restatements: each row gets the version that was known at
its own time.

Each side runs in a process of its own, against one embedded server; memory is what the process's peak grows by while it
reads. `python -m benchmarks.database_read` prints the ratios.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median

from benchmarks.report import Finding
from embedded.postgres import running_server
from include.settings import PROJECT_ROOT

N_ROWS = 1_000_000
GROWTH = 5
REPEAT = 3
START = datetime(2026, 1, 1, tzinfo=UTC)
STEP = timedelta(milliseconds=10)
COLUMNS = "id, sent_at, known_at, code, a, b, c, name, carrier, is_late, gust, digest"

_TABLE = """
CREATE TABLE readings AS
SELECT i::bigint AS id, TIMESTAMPTZ '2026-01-01 00:00+00' + i * INTERVAL '10 ms' AS sent_at,
       TIMESTAMPTZ '2026-01-01 01:00+00' + i * INTERVAL '10 ms' AS known_at, i % 1000 AS code, random() AS a,
       random() * 100 AS b,
       random() AS c, 'name ' || (i % 50) AS name, 'carrier ' || (i % 16) AS carrier, i % 7 = 0 AS is_late,
       CASE WHEN i % 10 <> 0 THEN random() END AS gust, md5(i::text) AS digest
FROM generate_series(0, {last}) AS i;
CREATE INDEX ON readings (sent_at);
CREATE TABLE carriers AS SELECT 'carrier ' || i AS carrier, md5(i::text) AS country FROM generate_series(0, 15) AS i;
CREATE TABLE tariffs AS
SELECT code, random() AS tariff, TIMESTAMPTZ '2026-01-01 00:00+00' + n * INTERVAL '1 hour' AS known_from,
       TIMESTAMPTZ '2026-01-01 00:00+00' + (n + 1) * INTERVAL '1 hour' AS known_until
FROM generate_series(0, 999) AS code, generate_series(0, 3) AS n;
"""
_BETWEEN = "WHERE sent_at >= :partition_start AND sent_at < :partition_end"
QUERIES = {
    "one table": f"SELECT {COLUMNS} FROM readings {_BETWEEN}",
    "joined": f"""
SELECT {COLUMNS}, country, tariff FROM readings JOIN carriers USING (carrier)
LEFT JOIN tariffs USING (code) {_BETWEEN} AND (known_from IS NULL OR (known_from <= sent_at
       AND sent_at < known_until))""",
}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """What one read cost."""

    seconds: float
    growth_mb: float


def measure() -> list[Finding]:
    """Seconds and memory of both sides, as ratios within this run."""
    with tempfile.TemporaryDirectory() as folder, running_server(Path(folder)) as server:
        _fill(server.uri())
        # Alternating, so that a change of the machine's load meets both.
        pairs = {query: [_read_both(server.uri(), query) for _ in range(REPEAT)] for query in QUERIES}
        large = [_read("updraft", server.uri(), GROWTH * N_ROWS) for _ in range(REPEAT)]
    small_mb, large_mb = _memory([updraft for _, updraft in pairs["one table"]]), _memory(large)
    return [
        *(finding for query, found in pairs.items() for finding in _compare(query, found)),
        Finding(
            what=f"database read: memory of {GROWTH} M rows over 1 M",
            observed=large_mb / small_mb,
            bound=1.25,
            note=f"{large_mb:.0f} MB; flat is 1",
        ),
    ]


def _read_both(uri: str, query: str) -> tuple[Reading, Reading]:
    return _read("pandas", uri, N_ROWS, query), _read("updraft", uri, N_ROWS, query)


def _compare(query: str, pairs: list[tuple[Reading, Reading]]) -> list[Finding]:
    pandas, updraft = ([pair[side] for pair in pairs] for side in (0, 1))
    return [
        Finding(
            what=f"database read, {query}: times pandas.read_sql's speed",
            observed=_seconds(pandas) / _seconds(updraft),
            bound=4,
            at_least=True,
            note=f"{_seconds(updraft):.2f} s beside {_seconds(pandas):.2f} s",
        ),
        Finding(
            what=f"database read, {query}: share of pandas.read_sql's memory",
            observed=_memory(updraft) / _memory(pandas),
            bound=1 / 8,
            note=f"{_memory(updraft):.0f} MB beside {_memory(pandas):.0f} MB",
        ),
    ]


def _fill(uri: str) -> None:
    import psycopg2

    connection = psycopg2.connect(uri)
    connection.autocommit = True
    with connection.cursor() as cursor:
        cursor.execute(_TABLE.format(last=GROWTH * N_ROWS - 1))
        cursor.execute("VACUUM ANALYZE readings")
    connection.close()


def _read(side: str, uri: str, n_rows: int, query: str = "one table") -> Reading:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "BENCHMARK_URI": uri}
    command = [sys.executable, "-m", "benchmarks.database_read", side, str(n_rows), query]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ, cwd=PROJECT_ROOT)
    return Reading(**json.loads(done.stdout))


def _seconds(readings: list[Reading]) -> float:
    return median(reading.seconds for reading in readings)


def _memory(readings: list[Reading]) -> float:
    return median(reading.growth_mb for reading in readings)


def _measure_side(side: str, n_rows: int, query: str) -> Reading:
    from time import monotonic

    read = {"pandas": _read_with_pandas, "updraft": _read_with_updraft}[side]
    read(os.environ["BENCHMARK_URI"], 10, query)  # imports and the first connection are not what is compared
    before, start = _peak_kb(), monotonic()
    if read(os.environ["BENCHMARK_URI"], n_rows, query) != n_rows:
        raise RuntimeError(f"{side} did not read {n_rows} rows")
    return Reading(seconds=monotonic() - start, growth_mb=(_peak_kb() - before) / 1024)


def _peak_kb() -> int:
    # Not by getrusage(): its peak is inherited from whoever started the process.
    found = re.search(r"VmHWM:\s*(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"))
    if found is None:
        raise RuntimeError("/proc/self/status tells no peak: measure on Linux")
    return int(found[1])


def _read_with_pandas(uri: str, n_rows: int, query: str) -> int:
    import pandas as pd
    import sqlalchemy

    with sqlalchemy.create_engine(uri.replace("postgresql://", "postgresql+psycopg2://")).connect() as connection:
        bounds = {"partition_start": START, "partition_end": START + n_rows * STEP}
        return len(pd.read_sql(sqlalchemy.text(QUERIES[query]), connection, params=bounds))


def _read_with_updraft(uri: str, n_rows: int, query: str) -> int:
    from include.sources.database import open_partition
    from include.workflow import DatabaseSource
    from include.workflow.partitions import PartitionWindow

    source = DatabaseSource(conn_id="readings", query="readings.sql", event_time="sent_at", known_time="known_at")
    window = PartitionWindow(key="readings", start=START, end=START + n_rows * STEP)
    with open_partition(source, QUERIES[query], uri, window) as reader:
        return sum(batch.num_rows for batch in reader)


def _main(arguments: list[str]) -> None:
    if arguments:
        reading = _measure_side(arguments[0], int(arguments[1]), arguments[2])
        print(json.dumps({"seconds": reading.seconds, "growth_mb": reading.growth_mb}))
        return
    for finding in measure():
        print(finding.line())


if __name__ == "__main__":
    _main(sys.argv[1:])
