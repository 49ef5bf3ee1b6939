"""A root on a real S3 server, and one in a folder."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from tests.seaweedfs import BUCKET, S3Server

_prefixes = itertools.count()


@dataclass(frozen=True, kw_only=True)
class ImageBucket:
    """An empty prefix, and how to reach it."""

    server: S3Server
    prefix: str
    client: Any

    @property
    def root(self) -> str:
        return f"s3://{BUCKET}/{self.prefix}"

    @property
    def uri(self) -> str:
        """URI of a connection, as the plugin makes it of Airflow's."""
        return connection_uri(self.server.endpoint_url, self.server.access_key, self.server.secret_key)

    def put(self, path: str, data: bytes) -> None:
        self.client.put_object(Bucket=BUCKET, Key=f"{self.prefix}/{path}", Body=data)

    def delete(self, path: str) -> None:
        self.client.delete_object(Bucket=BUCKET, Key=f"{self.prefix}/{path}")


def connection_uri(endpoint_url: str, access_key: str, secret_key: str) -> str:
    return f"aws://{access_key}:{secret_key}@/?endpoint_url={quote(endpoint_url, safe='')}&region_name=us-east-1"


@pytest.fixture
def bucket(s3: S3Server) -> Iterator[ImageBucket]:
    """A prefix of its own."""
    client = boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        region_name="us-east-1",
    )
    yield ImageBucket(server=s3, prefix=f"photos-{next(_prefixes)}", client=client)
    client.close()
