"""`replay_quarantine`, run whole by `dag.test()`: what it publishes, whom it tells, what it refuses."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from include.errors import ContractViolationError
from include.lake.fencing import new_token
from include.lake.ledger import RUNS, latest_run, read_ledger
from include.lake.partitions import read_partition, replace_partition
from include.lake.store import open_lake
from include.quality.publication import publish_partition
from include.quality.validation import validate_partition
from tests.factories import START, SUITE, declare_workflow, parcel_rows
from tests.plugins.conftest import parse_dag, run_parsed
from tests.quality.rows import changed, with_positions

pytestmark = pytest.mark.airflow

HEALABLE, HOPELESS, CLEAN, STOPPED = KEYS = [f"{START + timedelta(days=day):%Y-%m-%d}" for day in range(4)]
BAD = {HEALABLE: {0: "west", 1: "west"}, HOPELESS: {0: "Mars"}, CLEAN: {}, STOPPED: {0: "west"}}
DAG_FILE = """\
# an Airflow Dag file
import os
from pathlib import Path
from tests.factories import declare_workflow
from updraft.replay_dags import build_replay_dag

workflows = [declare_workflow(Path(os.environ["PARCELS_FOLDER"]) / name, name=name) for name in ("letters", "parcels")]
build_replay_dag(workflows, doc="", dag_id="replay_parcels")
"""


class Parcels:
    """Four days of parcels: one that a mended suite heals, one that it does not, one clean, one that was stopped."""

    def __init__(self, folder: Path, dags: Path) -> None:
        self.folder, self.dags = folder, dags
        for name in ("letters", "parcels"):
            declare_workflow(folder / name, name=name)
        for day, key in enumerate(KEYS):
            self._ingest(day, key)

    def _ingest(self, day: int, key: str) -> None:
        lake, workflow = open_lake(), declare_workflow(self.folder / "parcels")
        rows = parcel_rows(day=START + timedelta(days=day), n_rows=4 if key == STOPPED else 20)
        version = replace_partition(
            lake, "parcels/raw", key, with_positions(changed(rows, "depot", BAD[key])), token=new_token()
        ).version
        try:
            report = validate_partition(workflow, key, lake=lake, raw_version=version, run_id="ingest")
        except ContractViolationError:
            assert key == STOPPED
            return
        publish_partition(workflow, report, lake=lake, token=new_token(), run_id="ingest", try_id="try")

    def mend(self, *, minimum: int = 5) -> None:
        """Write a suite that knows the depot in the west, and wants so many rows."""
        suite = json.loads(json.dumps(SUITE))
        rules = {rule["type"]: rule["kwargs"] for rule in suite["expectations"]}
        rules["expect_column_values_to_be_in_set"]["value_set"].append("west")
        rules["expect_table_row_count_to_be_between"]["min_value"] = minimum
        self.path.write_text(json.dumps(suite))

    @property
    def path(self) -> Path:
        return self.folder / "parcels" / "expectations.json"

    def run(self, **conf: Any) -> dict[str, Any]:
        """Run the Dag; return the states of its tasks, the result of the first, and the keys of its events."""
        # The Dag file declares the workflows anew, and would write the suite as it was.
        suite = self.path.read_text()
        dag = parse_dag("replay_parcels", self.dags)
        self.path.write_text(suite)
        dag_run = run_parsed(dag, {"workflow": "parcels", **conf})
        tasks = {ti.task_id: ti for ti in dag_run.get_task_instances()}
        return {
            "states": {name: str(ti.state) for name, ti in tasks.items()},
            "result": tasks["replay"].xcom_pull(task_ids="replay"),
            "events": _events(dag_run.run_id),
            "run_id": dag_run.run_id,
        }


def _events(run_id: str) -> list[tuple[str, str | None]]:
    """Asset and partition of each event of a run: from Airflow's own table."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session() as session:
        query = select(AssetModel.name, AssetEvent.partition_key).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        return sorted(tuple(row) for row in session.execute(query.where(AssetEvent.source_run_id == run_id)))


@pytest.fixture(scope="module")
def dags(tmp_path_factory):
    """One folder for all tests: Airflow takes the Dag of another file for another version."""
    folder = tmp_path_factory.mktemp("dags")
    (folder / "replay.py").write_text(DAG_FILE)
    return folder


@pytest.fixture
def parcels(tmp_path, monkeypatch, airflow_db, dags):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PARCELS_FOLDER", str(tmp_path))
    return Parcels(tmp_path, dags)


BOTH_GREEN = {"replay": "success", "require_published": "success"}


def test_everything_held_back_is_replayed_and_only_what_changed_is_told(parcels):
    parcels.mend(minimum=1)
    ran = parcels.run()
    assert ran["states"] == BOTH_GREEN
    assert ran["events"] == [("parcels/validated", HEALABLE), ("parcels/validated", STOPPED)]
    assert {key: report["outcome"] for key, report in ran["result"]["partitions"].items()} == {
        HEALABLE: "changed",
        HOPELESS: "unchanged",
        STOPPED: "changed",
    }
    assert ran["result"]["totals"] == {
        "rows_in": 44,
        "rows_published": 43,
        "rows_quarantined": 1,
        "rows_duplicate": 0,
        "rows_healed": 6,
        "rows_still_quarantined": 1,
        "rows_newly_quarantined": 0,
    }
    lake = open_lake()
    assert [read_partition(lake, "parcels/validated", key).num_rows for key in KEYS] == [20, 19, 20, 4]
    assert {key: latest_run(lake, "parcels", key).run_id for key in KEYS} == {
        HEALABLE: ran["run_id"],
        HOPELESS: "ingest",
        CLEAN: "ingest",
        STOPPED: ran["run_id"],
    }


@pytest.mark.claim("accounts")
def test_a_second_replay_tells_nobody_and_writes_nothing(parcels):
    parcels.mend(minimum=1)
    parcels.run()
    lines = read_ledger(open_lake(), RUNS).num_rows
    ran = parcels.run(first_partition=KEYS[0], last_partition=KEYS[3])
    assert (ran["states"], ran["events"]) == (BOTH_GREEN, [])
    assert ran["result"]["outcomes"] == {"unchanged": 4}
    assert read_ledger(open_lake(), RUNS).num_rows == lines


@pytest.mark.claim("accounts")
def test_a_partition_that_stays_stopped_makes_the_run_red_but_keeps_no_other_from_being_healed(parcels):
    parcels.mend()
    ran = parcels.run()
    assert ran["states"] == {"replay": "success", "require_published": "failed"}
    assert ran["events"] == [("parcels/validated", HEALABLE)]
    assert ran["result"]["outcomes"] == {"changed": 1, "unchanged": 1, "stopped": 1}
    assert "min_value=5" in ran["result"]["partitions"][STOPPED]["cause"]


def test_a_dry_run_counts_and_changes_nothing(parcels):
    parcels.mend()
    ran = parcels.run(partitions=[HEALABLE], dry_run=True)
    assert (ran["states"], ran["events"]) == (BOTH_GREEN, [])
    report = ran["result"]["partitions"][HEALABLE]
    assert (report["rows_healed"], report["rows_still_quarantined"], report["outcome"]) == (2, 0, "changed")
    assert latest_run(open_lake(), "parcels", HEALABLE).run_id == "ingest"


HOSTILE = pytest.mark.claim("hostile")
NONSENSE = [
    pytest.param({"partitions": ["2026-01-05"], "partitoins": []}, id="unknown field"),
    pytest.param({"partitions": ["2026-02-30"]}, id="no such day", marks=HOSTILE),
    # A pattern's $ lets it through.
    pytest.param({"partitions": [f"{KEYS[0]}\n"]}, id="a line's end", marks=HOSTILE),
    pytest.param({"partitions": ["2025-01-01"]}, id="nothing landed"),
    pytest.param({"first_partition": KEYS[1], "last_partition": KEYS[0]}, id="backwards", marks=HOSTILE),
    pytest.param({"partitions": [KEYS[0]], "first_partition": KEYS[0]}, id="list and range", marks=HOSTILE),
]


@pytest.mark.parametrize("conf", NONSENSE)
def test_a_conf_that_makes_no_sense_fails_the_first_task_and_writes_nothing(parcels, conf):
    parcels.mend(minimum=1)
    ran = parcels.run(**conf)
    assert ran["states"] == {"replay": "failed", "require_published": "upstream_failed"}
    assert ran["events"] == []
    assert set(read_ledger(open_lake(), RUNS).column("run_id").to_pylist()) == {"ingest"}


HOSTILE = [
    "../../etc/passwd",
    "2026-01-05; rm -rf /",
    "{{ conf }}",
    "2026-01-05\nx",
    "",
    "2026-01-05' OR '1'='1",
    "9" * 300,
    "２０２６-01-05",
]


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("field", ["workflow", "partitions", "first_partition", "last_partition"])
def test_the_form_itself_refuses_hostile_values(tmp_path, field, text):
    """The API checks a conf against this schema before there is a run."""
    from airflow.sdk.exceptions import ParamValidationError

    from updraft.replay_dags import build_replay_dag

    dag = build_replay_dag([declare_workflow(tmp_path)], doc="")
    params = dag.params.__copy__()
    params.update({"workflow": "parcels"})
    with pytest.raises(ParamValidationError):
        params.update({field: [text] if field == "partitions" else text})


def test_an_untouched_form_needs_the_workflow_alone(tmp_path):
    from updraft.replay_dags import build_replay_dag

    dag = build_replay_dag([declare_workflow(tmp_path)], doc="")
    params = dag.params.__copy__()
    params.update({"workflow": "parcels"})
    assert params.validate() == {
        "workflow": "parcels",
        "partitions": [],
        "first_partition": None,
        "last_partition": None,
        "dry_run": False,
    }
