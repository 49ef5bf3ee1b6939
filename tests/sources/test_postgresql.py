import math
import threading
import time

import psycopg2
import pyarrow as pa
import pytest

from embedded.postgres import free_port
from include.errors import SourceQueryError, SourceUnavailableError
from include.sources.database import open_partition
from tests.sources.conftest import DAY, QUERY, declare
from tests.sources.test_database import UTC, read

TYPES = """
SELECT TIMESTAMPTZ '2026-01-05 07:00+02' AS sent_at, TIMESTAMP '2026-01-05 09:00' AS recorded_at, {} AS value
WHERE now() >= :partition_start OR now() < :partition_end
"""


@pytest.mark.parametrize(
    ("sql", "type_", "value"),
    [
        ("12.50::numeric(10,2)", pa.float64(), 12.5),
        ("NULL::numeric", pa.float64(), None),
        ("'-12.5'::money", pa.float64(), -12.5),
        ("4294967295::oid", pa.int64(), 4294967295),
        ("ARRAY[1,NULL,3]", pa.string(), "[1,null,3]"),
        ("ARRAY[[1,2],[3,4]]", pa.string(), "[[1,2],[3,4]]"),
        ("ARRAY['a\"b']", pa.string(), '["a\\"b"]'),
        ("'{\"a\": 1}'::json", pa.string(), '{"a": 1}'),
        ("'{\"a\": 1}'::jsonb", pa.string(), '{"a": 1}'),
        ("'5b0e8a30-0000-4000-8000-000000000000'::uuid", pa.string(), "5b0e8a30-0000-4000-8000-000000000000"),
        ("'10.0.0.1'::inet", pa.string(), "10.0.0.1/32"),
        ("INTERVAL '90 minutes'", pa.string(), "01:30:00"),
        ("int4range(1, 5)", pa.string(), "[1,5)"),
        ("TIME WITH TIME ZONE '10:00+02'", pa.string(), "10:00:00+02"),
        ("true", pa.bool_(), True),
        ("1::smallint", pa.int16(), 1),
        ("'\\x00ff'::bytea", pa.binary(), b"\x00\xff"),
        ("'abc'::varchar(5)", pa.string(), "abc"),
    ],
)
def test_every_type_arrives_honestly(postgres_uri, sql, type_, value):
    table = read(postgres_uri, TYPES.format(sql))
    assert table.schema.field("value").type == type_
    assert table["value"].to_pylist() == [value]


def test_numeric_nan_is_nan(postgres_uri):
    assert math.isnan(read(postgres_uri, TYPES.format("'NaN'::numeric"))["value"][0].as_py())


def test_a_timestamp_without_zone_is_taken_as_utc(postgres_uri, execute):
    execute("ALTER ROLE reader SET timezone = 'America/New_York'")  # the session's zone must not matter
    try:
        table = read(postgres_uri, TYPES.format("1"))
    finally:
        execute("ALTER ROLE reader RESET timezone")
    assert table.schema.field("recorded_at").type == UTC
    assert [str(table[name][0]) for name in ("sent_at", "recorded_at")] == [
        "2026-01-05 05:00:00+00:00",
        "2026-01-05 09:00:00+00:00",
    ]


def test_an_infinite_timestamp_is_refused(postgres_uri):
    with pytest.raises(SourceQueryError, match="'value' holds an infinite timestamp"):
        read(postgres_uri, TYPES.format("TIMESTAMPTZ 'infinity'"))


def test_casts_keep_the_order_of_the_query(postgres_uri):
    query = QUERY.replace("note FROM", "note, id::numeric AS amount FROM").replace("ORDER BY id", "ORDER BY id DESC")
    assert read(postgres_uri, query)["amount"].to_pylist() == list(map(float, range(1439, -1, -1)))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        (QUERY.replace("shipments", "secrets"), r"permission denied for table secrets \(42501\): GRANT SELECT"),
        (QUERY.replace("shipments", "nowhere"), r"relation \"nowhere\" does not exist \(42P01\): check the table's "
r"name"),
        (QUERY.replace("id, sent", "ids, sent"), r"column \"ids\" does not exist .*\(42703\): .*id"),
        (QUERY.replace("note FROM", "note::int FROM"), r'invalid input syntax for type integer: "…"'),
        (QUERY.replace("id, sent", "1 / (id - 700), sent"), "division by zero"),
        ("WITH gone AS (DELETE FROM shipments WHERE sent_at >= :partition_start AND sent_at < :partition_end "
"RETURNING *) TABLE gone",
         "read-only|permission denied|data-modifying"),
    ],
)  # fmt: skip
def test_postgresqls_own_words_are_passed_on_without_values(postgres_uri, query, message):
    with pytest.raises(SourceQueryError, match=message) as refusal:
        read(postgres_uri, query)
    assert "note 1" not in str(refusal.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("pass%20word", "wrong-secret", "password authentication failed"),
        ("/sources", "/no_such_db", 'database "no_such_db" does not exist'),
        ("reader:", "nobody:", "password authentication failed"),
        ("pass%20word", "%zzsecret", "percent-encoded"),
        ("/sources", "/sources?nonsense=1", 'invalid URI query parameter: "nonsense"'),
    ],
)
def test_a_refused_login_is_not_retried_and_shows_no_password(postgres_uri, old, new, message):
    with pytest.raises(SourceQueryError, match=message) as refusal:
        read(postgres_uri.replace(old, new))
    assert not any(secret in repr(refusal.value) for secret in ("pass word", "pass%20word", "wrong-secret", "zzsecret"))
    assert refusal.value.__cause__ is None


def test_a_server_that_is_down_is_retried(postgres_uri, postgres):
    with pytest.raises(SourceUnavailableError, match=r"127.0.0.1:\d+ does not answer: .*refused"):
        read(postgres_uri.replace(str(postgres.port), str(free_port())))


def test_the_server_stops_a_slow_query_at_the_deadline(postgres_uri):
    started = time.monotonic()
    with pytest.raises(SourceUnavailableError, match=r"not read within 0\.5 s"):
        read(postgres_uri, QUERY.replace("note FROM", "note, pg_sleep(1)::text AS nap FROM"), timeout_seconds=0.5)
    assert time.monotonic() - started < 5


def test_a_connection_that_breaks_is_retried(postgres_uri, execute):
    timer = threading.Timer(
        0.7, execute, ["SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'"]
    )
    timer.start()
    with pytest.raises(SourceUnavailableError, match="broke off: terminating connection"):
        read(postgres_uri, QUERY.replace("note FROM", "note, pg_sleep(1)::text AS nap FROM"))
    timer.join()


def test_the_index_is_used_for_bound_settings(execute, postgres_uri, postgres):
    """The bounds are planned like parameters: an hour out of two days does not scan the table."""
    with psycopg2.connect(postgres.uri("sources")) as connection, connection.cursor() as cursor:
        cursor.execute("ANALYZE shipments; SELECT set_config('updraft.partition_start', '2026-01-05 07:00+00', true)")
        cursor.execute(
            "EXPLAIN SELECT note FROM shipments WHERE sent_at >= "
            "current_setting('updraft.partition_start')::timestamptz AND sent_at < "
            "current_setting('updraft.partition_start')::timestamptz + interval '1 hour'"
        )
        plan = "\n".join(line for (line,) in cursor.fetchall())
    connection.close()
    assert "Index Scan" in plan


def test_batches_stream_and_an_early_end_leaves_no_session(postgres_uri, postgres):
    query = """
    SELECT :partition_start AS sent_at, now() AS recorded_at, repeat('x', 200) AS pad FROM generate_series(1, 400000)
    WHERE now() > :partition_start OR now() < :partition_end
    """
    with open_partition(declare(), query, postgres_uri, DAY) as reader:
        assert 0 < reader.read_next_batch().num_rows <= 65_536
        assert _sessions(postgres) == 1
    for _ in range(50):
        if not _sessions(postgres):
            break
        time.sleep(0.1)
    assert _sessions(postgres) == 0


def _sessions(postgres) -> int:
    connection = psycopg2.connect(postgres.uri("sources"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE usename = 'reader'")
        (count,) = cursor.fetchone()
    connection.close()
    return int(count)
