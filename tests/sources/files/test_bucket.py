# ruff: noqa: PT012 -- an object has to change between two steps of one read
"""
Files on a real S3 server: found, read and refused as in a folder; a store that fails is never taken for
a damaged file.
"""

from __future__ import annotations

import gzip
import hashlib
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from include.errors import SourceQueryError, SourceUnavailableError, UnreadableFileError
from include.sources.files.listing import find_files
from include.sources.files.parquet import read_parquet
from include.sources.files.storage import FoundFile
from tests.seaweedfs import BUCKET, S3Server
from tests.sources.files.conftest import DAY, declare, read, values
from tests.sources.files.test_unreadable import CSV, N_ROWS, WHOLE

Upload = Callable[..., str]
pytestmark = [pytest.mark.claim("s3"), pytest.mark.timeout(300)]


@pytest.fixture
def client(s3: S3Server) -> Iterator[Any]:
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
    )
    yield client
    client.close()


@pytest.fixture
def folder(request: pytest.FixtureRequest) -> str:
    """A prefix of the bucket of each test's own."""
    return f"s3://{BUCKET}/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"


@pytest.fixture
def upload(client: Any, folder: str) -> Upload:
    prefix = folder.removeprefix(f"s3://{BUCKET}/")

    def put(data: bytes, name: str) -> str:
        client.put_object(Bucket=BUCKET, Key=f"{prefix}/{name}", Body=data)
        return f"{prefix}/{name}"

    return put


def uri_of(s3: S3Server, *, secret: str | None = None, endpoint: str | None = None) -> str:
    key, password = quote(s3.access_key, safe=""), quote(secret or s3.secret_key, safe="")
    return f"aws://{key}:{password}@/?endpoint_url={quote(endpoint or s3.endpoint_url, safe='')}&region_name=us-east-1"


def source_of(folder: str, kind: str = "csv", **changes: Any):
    form, ending, _ = WHOLE[kind]
    # What was just put there counts as at rest.
    settled = timedelta(microseconds=1)
    return declare(
        folder,
        **{"path": f"{folder}/{{partition_key}}*.{ending}", "format": form, "settled": settled, "key": (), **changes},
    )


@pytest.mark.parametrize("kind", WHOLE)
def test_each_format_is_read_from_a_bucket(s3, folder, upload, kind) -> None:
    upload(WHOLE[kind][2], f"2026-01-05.{WHOLE[kind][1]}")
    upload(WHOLE[kind][2], f"2026-01-06.{WHOLE[kind][1]}")
    rows, letters = read(source_of(folder, kind), connection_uri=uri_of(s3))
    assert values(rows, "id") == list(range(N_ROWS))
    assert {name.partition("!")[0].partition("#")[0] for name in values(rows, "source_name")} == {
        f"2026-01-05.{WHOLE[kind][1]}"
    }
    assert letters == []


def test_folders_are_followed_and_markers_held(s3, folder, upload) -> None:
    for name in ("north/2026-01-05.csv", "south/2026-01-05.csv"):
        upload(CSV, name)
    source = source_of(folder, path=f"{folder}/*/{{partition_key}}.csv", done_marker="{file}.done")
    upload(f"{hashlib.sha256(CSV).hexdigest()}\n".encode(), "north/2026-01-05.csv.done")
    with pytest.raises(
        SourceUnavailableError, match=r"south/2026-01-05\.csv: its marker '2026-01-05\.csv\.done' is not there yet"
    ):
        read(source, connection_uri=uri_of(s3))
    upload(b"", "south/2026-01-05.csv.done")
    rows, _ = read(source, connection_uri=uri_of(s3))
    assert values(rows, "source_name") == ["north/2026-01-05.csv"] * N_ROWS + ["south/2026-01-05.csv"] * N_ROWS


def test_the_environment_names_the_server_where_no_connection_does(s3, folder, upload, monkeypatch) -> None:
    upload(CSV, "2026-01-05.csv")
    for name, value in {**s3.environment("x"), "AWS_ENDPOINT_URL": s3.endpoint_url, "AWS_REGION": "us-east-1"}.items():
        monkeypatch.setenv(name, value)
    assert len(read(source_of(folder))[0]) == N_ROWS


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zip", "excel", "parquet"])
def test_a_cut_object_is_named(s3, folder, upload, kind) -> None:
    upload(WHOLE[kind][2][:-30], f"2026-01-05.{WHOLE[kind][1]}")
    with pytest.raises(UnreadableFileError, match=r"2026-01-05"):
        read(source_of(folder, kind), connection_uri=uri_of(s3))


def test_an_object_that_is_replaced_while_it_is_read_is_not_published(s3, folder, upload) -> None:
    from include.sources.files import read_files

    upload(gzip.compress(CSV), "2026-01-05.csv.gz")
    with (
        pytest.raises(SourceUnavailableError, match="changed while it was read"),
        read_files(source_of(folder, "csv.gz"), window=DAY, connection_uri=uri_of(s3)) as reader,
    ):
        upload(gzip.compress(CSV + CSV), "2026-01-05.csv.gz")
        reader.read_all()


@pytest.mark.parametrize(
    ("path", "changes", "error", "message"),
    [
        (None, {}, SourceUnavailableError, "no file is there for partition 2026-01-05"),
        (
            "s3://nowhere-at-all/{partition_key}.csv",
            {},
            (SourceQueryError, SourceUnavailableError),
            "no such bucket|no file is there",
        ),
        (None, {"secret": "wrong"}, SourceQueryError, "may not be read: grant the reading user or key access"),
        (None, {"endpoint": "http://127.0.0.1:9"}, SourceUnavailableError, "its storage does not answer"),
    ],
    ids=["no object", "no bucket", "wrong key", "no server"],
)
def test_what_is_missing_or_refused_is_named_without_the_key(s3, folder, path, changes, error, message) -> None:
    source = source_of(folder, **({"path": path} if path else {}))
    with pytest.raises(error, match=message) as caught:
        read(source, connection_uri=uri_of(s3, **changes))
    assert s3.secret_key not in str(caught.value)


def test_another_type_of_connection_is_refused(folder) -> None:
    with pytest.raises(SourceQueryError, match="has to be of type 'aws'"):
        read(source_of(folder), connection_uri="postgresql://user:secret@host/db")


class Vanishing(FoundFile):
    """A file that is deleted between its opening and its reading."""

    def open_random(self) -> Any:
        opened = super().open_random()
        self.filesystem.delete_file(self.path)
        return opened


def test_an_object_that_vanishes_is_not_taken_for_a_damaged_one(s3, folder, upload) -> None:
    """With on_unreadable='dead_letter' a good file would be set aside, and its partition published without it."""
    upload(WHOLE["parquet"][2], "2026-01-05.parquet")
    source = source_of(folder, "parquet", on_unreadable="dead_letter")
    [found] = find_files(source, window=DAY, connection_uri=uri_of(s3))
    file = Vanishing(**{name: getattr(found, name) for name in ("filesystem", "path", "name", "size", "modified_ns")})
    from include.sources.files.chunks import declared_schema

    with pytest.raises(SourceUnavailableError, match=r"2026-01-05\.parquet: its storage does not answer"):
        list(read_parquet(file, source, schema=declared_schema(source)))
