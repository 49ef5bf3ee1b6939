"""What holds for every database."""

import pyarrow as pa
import pytest

from include.errors import SourceQueryError, SourceUnavailableError
from include.sources.database import open_partition
from include.workflow.partitions import window_of_key
from tests.sources.conftest import DAY, QUERY, declare, rows

UTC = pa.timestamp("us", tz="UTC")


def read(uri, query=QUERY, window=DAY, **changes) -> pa.Table:
    with open_partition(declare(**changes), query, uri, window) as reader:
        return reader.read_all()


def test_a_partition_is_the_rows_of_its_window_in_the_querys_order(uri):
    table = read(uri)
    assert table.schema == pa.schema(
        [("id", pa.int64()), ("sent_at", UTC), ("recorded_at", UTC), ("note", pa.string())]
    )
    assert [tuple(row.values()) for row in table.to_pylist()] == rows()[:1440]


def test_an_hour_is_cut_exactly(uri):
    table = read(uri, window=window_of_key("hour", "2026-01-05T07"))
    assert table["id"].to_pylist() == list(range(420, 480))


def test_a_window_without_rows_gives_the_schema_and_no_rows(uri):
    table = read(uri, window=window_of_key("day", "2030-01-01"))
    assert (table.num_rows, table.schema.names) == (0, ["id", "sent_at", "recorded_at", "note"])


def test_a_bound_is_never_pasted(uri):
    """The text of a bound in a string stays text."""
    query = QUERY.replace("note FROM", "':partition_start' AS note FROM")
    assert read(uri, query)["note"].unique().to_pylist() == [":partition_start"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("FROM shipments", "FROM nowhere"), "refuses the query: .*nowhere"),
        (("id, sent_at", "idd, sent_at"), "refuses the query: .*idd"),
        (("SELECT", "SELEKT"), "refuses the query: .*syntax error"),
        (("AND sent_at < :partition_end", ""), "extract.sql: does not name :partition_end"),
        (
            ("sent_at, recorded_at", "sent_at AS event, recorded_at"),
            "has no column 'sent_at', which source.event_time names",
        ),
        (("recorded_at, note", "note"), "has no column 'recorded_at', which source.known_time names"),
        (("note FROM", "note, note FROM"), "repeats the column 'note'|duplicate column name: note"),
        (("note FROM", "note AS row_id FROM"), "'row_id' is a name that Updraft gives itself"),
        (("id, sent_at", "id AS sent_at"), "'sent_at' is int64, not a time"),
        (
            ("AND sent_at < :partition_end", "OR sent_at < :partition_end"),
            "2880 of the first 2880 rows|1440 of the first 2880 rows",
        ),
    ],
)
def test_a_wrong_query_is_named_and_not_retried(uri, change, message):
    query = QUERY.replace(*change)
    assert query != QUERY
    with pytest.raises(SourceQueryError, match=message) as refusal:
        read(uri, query)
    assert not refusal.value.is_retryable
    assert "extract.sql" in str(refusal.value)
    assert len(str(refusal.value).splitlines()) <= 3


def test_a_missing_key_column_is_named(uri):
    with pytest.raises(
        SourceQueryError, match=r"no column 'parcel_id', which source\.key names: it has id, sent_at, recorded_at, note"
    ):
        read(uri, key=("parcel_id",))


def test_a_row_without_event_time_is_kept(uri):
    query = QUERY.replace("sent_at, rec", "CASE WHEN id <> 3 THEN sent_at END AS sent_at, rec")
    assert read(uri, query)["sent_at"].null_count == 1


def test_the_deadline_bounds_the_whole_read(uri):
    with pytest.raises(SourceUnavailableError, match=r"extract.sql: not read within 1e-06 s"):
        read(uri, timeout_seconds=1e-6)


def test_an_error_in_the_consumer_is_its_own(uri):
    with pytest.raises(OSError, match="disk full"), open_partition(declare(), QUERY, uri, DAY):
        raise OSError("disk full")


def test_a_consumer_that_hides_the_cause_gives_it_back(uri):
    """Delta's writer turns an error of the stream into text: the real one comes out."""
    query = QUERY.replace("AND sent_at <", "OR sent_at <")

    def consume():
        with open_partition(declare(), query, uri, DAY) as reader:
            try:
                reader.read_all()
            except Exception as error:
                raise RuntimeError("C stream failed") from error

    with pytest.raises(SourceQueryError, match="outside"):
        consume()
