"""
A database that stops in the midst of a read: nothing half is kept, the error says retry, and the retry reads
everything.
"""

from __future__ import annotations

import contextlib
import csv
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psycopg2
import pytest

from embedded.postgres import PostgresError, PostgresServer, prepare_server, wait_until_ready
from include.errors import SourceUnavailableError
from include.lake.partitions import read_partition
from include.lake.store import Lake, table_exists
from include.sources.extraction import extract_partition
from include.workflow import DatabaseSource, Workflow
from tests.factories import declare_workflow

pytestmark = pytest.mark.claim("database")

KEY, N_ROWS = "2026-01-05", 1440
# Wide rows, so that the first batches have arrived when the query naps; `pace` says for how long it does.
TABLES = f"""
CREATE TABLE shipments AS SELECT i AS id, TIMESTAMPTZ '2026-01-05 00:00+00' + i * INTERVAL '1 minute' AS sent_at,
    repeat(md5(i::text), 600) AS note FROM generate_series(0, {N_ROWS - 1}) AS i;
CREATE TABLE pace AS SELECT 300 AS seconds;
"""
QUERY = """
SELECT id, sent_at, sent_at AS recorded_at, note,
       pg_sleep((SELECT seconds FROM pace) * (id = 1300)::int)::text AS nap FROM shipments
WHERE sent_at >= :partition_start AND sent_at < :partition_end ORDER BY id
"""


class Server:
    """A PostgreSQL that a test may stop in any way and start again."""

    def __init__(self, folder: Path) -> None:
        self.parts: PostgresServer = prepare_server(folder)
        self._log = folder / "server.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """
        Start it; sessions that outlive a killed server hold its memory for a moment, and a new one refuses to start
        beside them.
        """
        for _ in range(50):
            with self._log.open("ab") as log:
                self.process = subprocess.Popen(self.parts.command(), stdout=log, stderr=log, start_new_session=True)
            with contextlib.suppress(PostgresError):
                wait_until_ready(self.parts, timeout_seconds=3)
            if self.process.poll() is None:
                wait_until_ready(self.parts)
                return
        raise PostgresError("the server did not start again")

    def stop(self, how: signal.Signals) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)

    def execute(self, sql: str) -> list[tuple[Any, ...]]:
        connection = psycopg2.connect(self.parts.uri())
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(sql)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(tmp_path_factory.mktemp("restarted"))
    server.start()
    server.execute(TABLES)
    yield server
    server.stop(signal.SIGINT)


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    source = DatabaseSource(
        conn_id="db", query="extract.sql", event_time="sent_at", known_time="recorded_at", timeout_seconds=600
    )
    workflow = declare_workflow(tmp_path / "w", source=source)
    (workflow.folder / "extract.sql").write_text(QUERY)
    return workflow


def stop_in_midst(server: Server, how: signal.Signals, read: Callable[[], Any]) -> Future[Any]:
    """Start a read in a thread, wait until its query naps, and stop the server."""
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read)
        while not server.execute("SELECT 1 FROM pg_stat_activity WHERE wait_event = 'PgSleep'"):
            assert not reading.done(), reading.exception()
            time.sleep(0.05)
        server.stop(how)
    return reading


# SIGQUIT is what `pg_ctl stop -m immediate` sends: no session is told, the next start recovers from the log.
@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGKILL], ids=["immediate stop", "killed"])
def test_a_read_that_its_server_left_keeps_nothing_and_its_retry_reads_all(server, workflow, tmp_path, how):
    lake = Lake(uri=str(tmp_path / "lake"))

    def extract() -> Any:
        return extract_partition(workflow, KEY, connection_uri=server.parts.uri(), lake=lake, token=1)

    error = stop_in_midst(server, how, extract).exception()
    assert isinstance(error, SourceUnavailableError)
    assert error.is_retryable
    assert re.fullmatch(
        r"extract\.sql: PostgreSQL database 'postgres' at 127\.0\.0\.1:\d+ broke off: .*: retry", str(error), re.DOTALL
    )
    assert not table_exists(lake, "parcels/raw")
    with pytest.raises(SourceUnavailableError, match=r"does not answer: .*: retry, or check that the server runs"):
        extract()
    server.start()
    server.execute("UPDATE pace SET seconds = 0")
    assert extract().n_rows == N_ROWS
    assert read_partition(lake, "parcels/raw", KEY)["id"].to_pylist() == list(range(N_ROWS))


def test_control_a_read_that_writes_as_it_goes_keeps_half_a_day(server, tmp_path):
    path = tmp_path / "day.csv"

    def read_naively() -> None:
        connection = psycopg2.connect(server.parts.uri())
        with contextlib.closing(connection), connection.cursor("stream") as cursor, path.open("w", newline="") as file:
            cursor.itersize = 100
            cursor.execute(
                QUERY.replace(":partition_start", "'2026-01-05 00:00+00'").replace(
                    ":partition_end", "'2026-01-06 00:00+00'"
                )
            )
            csv.writer(file).writerows(cursor)

    assert isinstance(stop_in_midst(server, signal.SIGQUIT, read_naively).exception(), psycopg2.Error)
    with path.open(newline="") as file:
        assert 0 < len(list(csv.reader(file))) < N_ROWS
