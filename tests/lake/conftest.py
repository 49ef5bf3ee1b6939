"""The lake under test: once in a folder, once on a real S3 server."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from include.lake.store import Lake
from tests.seaweedfs import BUCKET, S3Server

_prefixes = itertools.count()


@pytest.fixture
def folder_lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder."""
    return Lake(uri=str(tmp_path / "lake"))


@pytest.fixture
def s3_lake(s3: S3Server) -> Lake:
    """An empty lake on the S3 server, under a prefix of its own."""
    return Lake(uri=f"s3://{BUCKET}/test-{next(_prefixes)}", storage_options=s3.storage_options)


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.claim("s3"))])
def lake(request: pytest.FixtureRequest) -> Lake:
    """An empty lake: each test runs on both kinds, on S3 as a claim."""
    return request.getfixturevalue(f"{request.param}_lake")
