"""
The whole loop of the flagship of web pages, in plain functions, on the real site: entries, one model,
one verdict.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from deltalake import DeltaTable

from embedded.postgres import free_port
from embedded.release_notes import connection_uri, install_site, running_site
from include.lake.store import Lake, open_lake
from include.modeling.compiled import compile_scorer
from include.registry import Registry, load_version, open_registry
from include.registry.reproduction import reproduce_version
from include.rehearsal import TrainingResult, ingest, train
from include.sources.extraction import collect_partition
from include.workflow.partitions import windows_between
from include.workflows.release_notes.workflow import workflow

pytestmark = pytest.mark.claim("flagships")

AS_OF = datetime(2022, 9, 1, tzinfo=UTC)
# 25 months with a release, in place of the declared seven years' 57: the declared gate has to be met all the same.
SHORT = workflow.model_copy(
    update={
        "training": workflow.training.model_copy(update={"window": timedelta(weeks=78), "test": timedelta(weeks=52)})
    }
)
START = AS_OF - timedelta(weeks=130)


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What came of the loop."""

    lake: Lake
    registry: Registry
    result: TrainingResult


@pytest.fixture(scope="module")
def loop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loop]:
    home = tmp_path_factory.mktemp("home")
    pages, port = install_site(tmp_path_factory.mktemp("site")), free_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(home))
        lake, registry = open_lake(), open_registry()
        with running_site(pages, port=port, state=home / "caddy"):
            collect_partition(SHORT, "2022-08", connection_uri=connection_uri(port), lake=lake, token=1)
        for window in windows_between("month", START.replace(day=1, hour=0), AS_OF):
            ingest(SHORT, window.key, connection_uri=None, lake=lake)
        yield Loop(lake=lake, registry=registry, result=train(SHORT, AS_OF, lake=lake, registry=registry, max_trials=3))


def test_the_gate_says_promote(loop):
    decision = loop.result.decision
    assert decision.verdict == "PROMOTE", decision.reasons
    assert Counter(trial.family for trial in loop.result.leaderboard) == {
        "naive": 1,
        "boosting": 1,
        "linear": 1,
        "extra_trees": 1,
    }


def test_the_version_is_rebuilt_to_the_byte(loop):
    done = reproduce_version(SHORT, loop.result.version, lake=loop.lake, registry=loop.registry)
    assert done.is_equal, done.differences


def test_it_was_judged_on_the_entries_of_the_last_year(loop):
    """Read from the published files themselves."""
    days = [day for day in read_days(loop.lake) if AS_OF - timedelta(weeks=52) <= day < AS_OF]
    assert len(days) == 215
    assert "all predictions of 215 rows" in str(loop.result.decision.reasons)


def read_days(lake: Lake) -> list[datetime]:
    return [
        day.replace(tzinfo=UTC)
        for file in DeltaTable(f"{lake.uri}/release_notes/validated").file_uris()
        for day in pq.ParquetFile(file).read(["released_at"])["released_at"].cast(pa.timestamp("us")).to_pylist()
    ]


def test_small_requests_are_scored_without_the_pipeline(loop):
    model = load_version(loop.registry, workflow.name, loop.result.version)
    score = compile_scorer(model)
    assert score is not None
    rows = [{"text": text, "section": "orm", "release": "2.0.40", "n_code": 1, "n_references": 1} for text in ENTRIES]
    assert score(rows) == pytest.approx(model.predict(rows).tolist(), abs=1e-12)
    assert min(score(rows)[:1]) > 0.9 > 0.5 > score(rows)[1]


ENTRIES = (
    "Fixed regression where the query would fail with an error, caused by an incorrect cache key.",
    "Added new parameter which allows for an option of the API; this new feature is documented.",
)
