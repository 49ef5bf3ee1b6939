"""The lake's root, its tables' names, and fencing tokens."""

from __future__ import annotations

import pickle
import time
import uuid
from pathlib import Path

import pyarrow as pa
import pytest
from deltalake.exceptions import DeltaError

from include.errors import LakeError, TableNotFoundError
from include.lake.fencing import new_token, token_of_try
from include.lake.store import Lake, open_lake, open_or_create_table, table_exists, table_uri, table_version
from include.settings import read_settings

SCHEMA = pa.schema([("x", pa.int64()), ("partition_key", pa.string())])


def test_the_settings_name_the_lake() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "id", "AWS_SECRET_ACCESS_KEY": "secret-key"}
    settings = read_settings(
        {"UPDRAFT_LAKE_URI": "s3://bucket/lake", "UPDRAFT_S3_ENDPOINT_URL": "http://127.0.0.1:1", **keys}
    )
    lake = open_lake(settings)
    assert table_uri(lake, "parcels/raw") == "s3://bucket/lake/parcels/raw"
    assert pickle.loads(pickle.dumps(lake)) == lake  # noqa: S301 - our own object
    assert "secret-key" not in repr(lake)


@pytest.mark.parametrize(
    "table", ["../x", "a/../b", "A", "a b", "a//b", "/a", "a/", "", "1a", "a" * 64, "a'b", "_delta_log"]
)
def test_a_name_that_is_no_table_is_refused(folder_lake: Lake, table: str) -> None:
    with pytest.raises(LakeError, match="is no table name"):
        table_uri(folder_lake, table)


def test_a_table_exists_from_its_first_commit_on(lake: Lake) -> None:
    assert not table_exists(lake, "parcels/raw")
    with pytest.raises(TableNotFoundError, match="has no table 'parcels/raw'"):
        table_version(lake, "parcels/raw")
    open_or_create_table(lake, "parcels/raw", SCHEMA, partition_by="partition_key")
    assert open_or_create_table(lake, "parcels/raw", SCHEMA, partition_by="partition_key").version() == 0
    assert table_exists(lake, "parcels/raw")
    assert table_version(lake, "parcels/raw") == 0


def test_the_loser_of_a_creation_opens_what_the_winner_made(folder_lake: Lake, monkeypatch: pytest.MonkeyPatch) -> None:
    """It saw no table when it looked, and there is one when it creates."""
    open_or_create_table(folder_lake, "parcels/raw", SCHEMA, partition_by="partition_key")
    answers = iter([False, True])
    monkeypatch.setattr("include.lake.store.table_exists", lambda *_: next(answers))
    assert open_or_create_table(folder_lake, "parcels/raw", SCHEMA, partition_by="partition_key").version() == 0


def test_a_table_that_can_not_be_created_says_why(folder_lake: Lake) -> None:
    with pytest.raises(DeltaError, match="nowhere"):
        open_or_create_table(folder_lake, "parcels/raw", SCHEMA, partition_by="nowhere")


def test_a_damaged_log_is_not_taken_for_a_missing_table(folder_lake: Lake) -> None:
    open_or_create_table(folder_lake, "parcels/raw", SCHEMA, partition_by="partition_key")
    (Path(folder_lake.uri) / "parcels/raw/_delta_log/00000000000000000000.json").write_text("{")
    with pytest.raises(Exception, match=r"(?i)json|eof|parse"):
        table_version(folder_lake, "parcels/raw")


def test_tokens_grow_with_time() -> None:
    first = new_token()
    time.sleep(0.002)
    assert first < new_token() < 2**63
    assert abs((first >> 12) - time.time() * 1000) < 60_000


def test_the_token_of_a_try_is_the_head_of_its_uuid() -> None:
    milliseconds, random = 0x019B_8D00_0000, 0xABC
    try_id = uuid.UUID(int=milliseconds << 80 | 7 << 76 | random << 64 | 2 << 62)
    assert token_of_try(str(try_id)) == milliseconds << 12 | random
    assert token_of_try(str(uuid.UUID(int=(milliseconds + 1) << 80 | 7 << 76 | 2 << 62))) > token_of_try(str(try_id))


@pytest.mark.parametrize("try_id", ["", "try-1", str(uuid.UUID(int=4 << 76 | 2 << 62))])
def test_an_id_that_does_not_grow_is_refused(try_id: str) -> None:
    with pytest.raises(LakeError, match="is no UUIDv7"):
        token_of_try(try_id)
