"""Fixtures that every test may use. Each gives a real part: a folder lake, a real PostgreSQL."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from pathlib import Path

import hypothesis
import pytest

from embedded.postgres import PostgresServer, running_server
from include.workflow import Workflow
from tests import injected
from tests.airflow_home import forget_foreign_settings, use_temporary_airflow_home
from tests.factories import declare_workflow
from tests.seaweedfs import S3Server, running_s3

if "PYTEST_XDIST_WORKER" not in os.environ:
    forget_foreign_settings()
use_temporary_airflow_home()
# Airflow, MLflow and Great Expectations leave 1.7 million objects, and looking through them all takes 0.4 s each time:
# less often, then.
gc.set_threshold(20_000, 20, 50)
# Two workers share two cores: OpenMP's threads would wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("HYPOTHESIS_STORAGE_DIRECTORY", f"{os.environ['AIRFLOW_HOME']}/hypothesis")
# Random examples are drawn the same each time, and a busy machine is no failure.
hypothesis.settings.register_profile("steady", deadline=None, derandomize=True, database=None, max_examples=50)
hypothesis.settings.load_profile("steady")
ACCEPTANCE = Path(__file__).parent / "acceptance"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--claims`: try also what takes minutes, kills processes or needs a real scheduler, as `make acceptance` does."""
    parser.addoption("--claims", action="store_true", help="run the tests marked as claims too")


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave the claims about a whole stack to `make acceptance`."""
    return True if collection_path == ACCEPTANCE and not config.getoption("--claims") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave the other claims to it too."""
    if config.getoption("--claims"):
        return
    claims = [item for item in items if (mark := item.get_closest_marker("claim")) and not mark.kwargs.get("is_quick")]
    config.hook.pytest_deselected(items=claims)
    items[:] = [item for item in items if item not in set(claims)]


def pytest_sessionfinish() -> None:
    """End the server that forked the tests' processes: else it would end some time after us."""
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.fixture(autouse=True)
def _figure_of_the_account(record_property: Callable[[str, object], None]) -> Iterator[None]:
    """What a test has accounted for first is its figure."""
    injected.FIGURES.clear()
    yield
    for figure in injected.FIGURES[:1]:
        record_property("figure", figure)


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
