"""Fixtures that every test may use. Each gives a real part: a folder lake, a real PostgreSQL."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

from embedded.postgres import PostgresServer, running_server
from include.workflow import Workflow
from tests.airflow_home import use_temporary_airflow_home
from tests.factories import declare_workflow
from tests.seaweedfs import S3Server, running_s3

use_temporary_airflow_home()
# Airflow, MLflow and Great Expectations leave 1.7 million objects, and looking through them all takes 0.4 s each time: less often, then.
gc.set_threshold(20_000, 20, 50)
# Two workers share two cores: OpenMP's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")


# These wait most of their time: at the end they would leave cores idle.
WAITING = ("tests/sources/sensor/test_broker_faults.py", "tests/sources/sensor/test_kills.py")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first: one worker then runs the demo, while the rest is done."""
    items.sort(key=lambda item: (item.get_closest_marker("system") is None, not item.nodeid.startswith(WAITING)))


class OneStack(LoadFileScheduling):
    """A file's tests in one worker, as `--dist loadfile`; and so those of `tests/system`, which share a stack."""

    def _split_scope(self, nodeid: str) -> str:
        path: str = super()._split_scope(nodeid)
        return "one stack" if path.startswith("tests/system/") else path


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> OneStack:
    """Have xdist hand out the tests so."""
    return OneStack(config, log)


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    """The small declared workflow "parcels", in a folder of its own."""
    return declare_workflow(tmp_path / "parcels")


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """A running PostgreSQL, one for the whole test run."""
    with running_server(tmp_path_factory.mktemp("postgres")) as server:
        yield server


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """A running S3 server, for one file of tests: an idle one takes a tenth of a core."""
    with running_s3(tmp_path_factory.mktemp("seaweedfs")) as server:
        yield server
