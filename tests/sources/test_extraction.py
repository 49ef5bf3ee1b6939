import json
from dataclasses import asdict
from datetime import timedelta

import pytest

from include.errors import PartitionError, SourceQueryError, StaleWriterError
from include.lake.partitions import list_partitions, read_partition
from include.lake.store import Lake
from include.sources.extraction import extract_partition
from include.workflow import DatabaseSource
from tests.factories import START, declare_workflow, parcel_rows
from tests.sources.conftest import QUERY, rows


@pytest.fixture
def lake(tmp_path):
    return Lake(uri=str(tmp_path / "lake"), storage_options={})


@pytest.fixture
def shipments(tmp_path):
    workflow = declare_workflow(
        tmp_path / "w",
        source=DatabaseSource(conn_id="db", query="extract.sql", event_time="sent_at", known_time="recorded_at"),
    )
    (workflow.folder / "extract.sql").write_text(QUERY)
    return workflow


def test_a_partition_is_archived_as_it_came_with_its_positions(shipments, uri, lake):
    report = extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=1)
    archived = read_partition(lake, "parcels/raw", "2026-01-05", version=report.version)
    columns = ["id", "sent_at", "recorded_at", "note"]
    assert [tuple(row.values()) for row in archived.select(columns).to_pylist()] == rows()[:1440]
    assert archived["source_position"].to_pylist() == list(range(1440))
    assert (report.table, report.partition_key, report.n_rows, report.is_changed) == (
        "parcels/raw",
        "2026-01-05",
        1440,
        True,
    )
    assert json.loads(json.dumps(asdict(report))) == asdict(report)


def test_a_repeated_extraction_writes_nothing(shipments, uri, lake):
    first = extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=1)
    second = extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=2)
    assert (second.is_changed, second.version, second.digest) == (False, first.version, first.digest)


def test_a_failed_read_writes_nothing_and_says_why(shipments, uri, lake):
    """The writer is outside Python: what stopped the stream still comes out as itself."""
    (shipments.folder / "extract.sql").write_text(QUERY.replace("AND sent_at <", "OR sent_at <"))
    with pytest.raises(SourceQueryError, match=r"extract.sql: \d+ of the first \d+ rows have a 'sent_at' outside"):
        extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=1)
    (shipments.folder / "extract.sql").write_text(QUERY)
    extract_partition(shipments, "2026-01-06", connection_uri=uri, lake=lake, token=1)
    assert list_partitions(lake, "parcels/raw") == ["2026-01-06"]


def test_a_stale_try_is_fenced(shipments, sqlite_path, lake):
    uri = f"sqlite:///{sqlite_path}"
    extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=5)
    (shipments.folder / "extract.sql").write_text(QUERY.replace("ORDER BY", "AND id > 9 ORDER BY"))
    with pytest.raises(StaleWriterError):
        extract_partition(shipments, "2026-01-05", connection_uri=uri, lake=lake, token=4)


@pytest.mark.parametrize("key", ["2026-1-5", "2026-01-05; DROP TABLE x", "../x"])
def test_a_malformed_key_reaches_nothing(shipments, lake, key):
    with pytest.raises(PartitionError, match="is not a day"):
        extract_partition(shipments, key, connection_uri="sqlite:////nowhere.db", lake=lake, token=1)


def test_the_parcels_of_the_shared_factory_pass(workflow, execute, postgres, lake):
    """The workflow that all tests share, read for real."""
    execute(
        "CREATE TABLE IF NOT EXISTS parcels (parcel_id bigint, sent_at timestamptz, recorded_at timestamptz,"
        " depot text, distance_km float8, weight_kg float8, is_late bool)"
    )
    table = parcel_rows(day=START + timedelta(days=1), n_rows=50)
    for row in table.to_pylist():
        execute("INSERT INTO parcels VALUES (%s, %s, %s, %s, %s, %s, %s)", tuple(row.values()))
    extract_partition(workflow, "2026-01-06", connection_uri=postgres.uri("sources"), lake=lake, token=1)
    archived = read_partition(lake, "parcels/raw", "2026-01-06")
    assert (
        archived.select(table.schema.names).sort_by([("parcel_id", "ascending")]).to_pylist()
        == table.sort_by([("parcel_id", "ascending")]).to_pylist()
    )
