"""What `make demo` promises, looked at from outside: HTTP, the tables, and counts taken straight from the package."""

from __future__ import annotations

import json
import stat
import subprocess
from datetime import datetime, timedelta
from urllib.parse import quote

import pyarrow as pa
import pyarrow.compute as pc
import pytest
import requests

from embedded.api_client import FINISHED
from include.lake.ledger import DECISIONS, PROMOTIONS, RUNS, current_champion, latest_decision, read_ledger
from include.lake.partitions import list_partitions, read_partition
from tests.acceptance.dag_files import hurry
from tests.acceptance.questions import (
    backfill,
    current_bytes,
    differing_partitions,
    gate_state,
    latest_runs,
    trainings,
    wait_for_trainings,
)
from tests.acceptance.watched import wait_for

pytestmark = [pytest.mark.claim("demo"), pytest.mark.timeout(1500)]

STEPS = ("ingest", "train", "deploy", "monitor")


def test_demo_file_has_what_others_read(demo):
    facts = demo.facts
    assert set(facts) >= {
        "workflow", "airflow_url", "airflow_user", "airflow_password", "endpoint_url", "sample_request",
        "model_name", "model_version",
        "verdict", "rows", "lake_uri", "registry_uri", "calendar_shift_days", "seconds",
    }  # fmt: skip
    assert facts["verdict"] == "PROMOTE"
    assert facts["calendar_shift_days"] % 7 == 0
    assert set(facts["rows"]) == {"in", "published", "quarantined", "duplicate"}
    assert stat.S_IMODE(demo.home.demo_file.stat().st_mode) == 0o600


def test_every_partition_equals_the_package(demo):
    keys = list_partitions(demo.lake, "flight_delays/raw")
    assert len(keys) >= 28
    assert differing_partitions(demo, keys) == []
    rows = demo.facts["rows"]
    assert rows["in"] == rows["published"] + rows["quarantined"] + rows["duplicate"]
    assert rows["in"] == sum(line["rows_in"] for line in latest_runs(demo).values())


def test_quarantined_rows_name_their_reason(demo):
    """Cancelled flights are what is refused, and each says so."""
    for key in list_partitions(demo.lake, "flight_delays/quarantine")[:5]:
        refused = read_partition(demo.lake, "flight_delays/quarantine", key)
        assert pc.all(pc.greater(pc.list_value_length(refused["reasons"]), 0)).as_py()
        assert refused["run_id"].null_count == 0


def test_sample_request_is_answered(demo):
    answer = requests.post(f"{demo.facts['endpoint_url']}/invocations", json=demo.facts["sample_request"], timeout=10)
    assert answer.status_code == 200
    assert answer.json()["model_version"] == demo.facts["model_version"]
    assert 0 <= answer.json()["predictions"][0]["score"] <= 1


def test_the_printed_curl_line_works(demo):
    command = demo.output[demo.output.index("curl -s") :].splitlines()[0]
    answer = subprocess.run(["sh", "-c", command], capture_output=True, text=True, timeout=30)
    assert json.loads(answer.stdout)["predictions"]


@pytest.mark.parametrize("step", STEPS)
def test_dags_are_green(demo, step):
    runs = demo.client.runs(f"flight_delays.{step}")
    assert {run["state"] for run in runs} <= {"success"}
    assert runs or step == "monitor"


def test_only_the_last_week_started_a_training(demo):
    (run,) = demo.client.runs("flight_delays.train")
    assert run["run_type"] == "asset_triggered"
    states = {
        task["task_id"]: task["state"] for task in demo.client.task_instances("flight_delays.train", run["dag_run_id"])
    }
    assert set(states.values()) == {"success"}


def test_registry_and_ledger_and_endpoint_agree(demo):
    from include.registry.versions import open_registry, version_of_alias

    version = demo.facts["model_version"]
    promotions = read_ledger(demo.lake, PROMOTIONS, workflow="flight_delays").to_pylist()
    assert [line["model_version"] for line in promotions] == [version]
    assert version_of_alias(open_registry(demo.settings), "flight_delays", "champion") == version
    assert requests.get(f"{demo.facts['endpoint_url']}/version", timeout=10).json()["model_version"] == version


@pytest.mark.claim("serving")
def test_served_predictions_of_1000_flights_equal_the_offline_ones(demo, record_property):
    """To 1e-9, in requests of 1 (compiled), 7 and 100 rows (in one call)."""
    from include.modeling.schema import coerce_row
    from include.registry.versions import load_version, open_registry

    model = load_version(open_registry(demo.settings), "flight_delays", demo.facts["model_version"], lake=demo.lake)
    keys = list_partitions(demo.lake, "flight_delays/validated")[-3:]
    rows = pa.concat_tables([read_partition(demo.lake, "flight_delays/validated", key) for key in keys]).slice(0, 1000)
    assert rows.num_rows == 1000
    offline = model.predict(rows)
    columns = [column.name for column in model.manifest.input_columns]
    records = json.loads(json.dumps(rows.select(columns).to_pylist(), default=lambda moment: moment.isoformat()))
    served: list[float] = []
    while len(served) < 1000:
        size = 1 if len(served) < 200 else 7 if len(served) < 400 else 100
        batch = records[len(served) : len(served) + size]
        answer = requests.post(f"{demo.facts['endpoint_url']}/invocations", json=batch, timeout=30)
        served += [prediction["score"] for prediction in answer.json()["predictions"]]
    difference = max(abs(a - b) for a, b in zip(served, offline.tolist(), strict=True))
    record_property("figure", f"{len(served)} served predictions, at most {difference:.1g} from the offline ones")
    assert difference <= 1e-9
    assert coerce_row(model.manifest.input_columns, records[0])  # the request form is the schema's own


def test_second_demo_changes_nothing(demo):
    version, lines = demo.facts["model_version"], read_ledger(demo.lake, RUNS, workflow="flight_delays").num_rows
    again = demo.run_again()
    assert again.returncode == 0, again.stdout[-3000:]
    assert demo.facts["model_version"] == version
    assert read_ledger(demo.lake, RUNS, workflow="flight_delays").num_rows == lines
    assert len(demo.client.runs("flight_delays.train")) == 1


# Safe backfills: a real one of 28 days, twice, and hands in the UI. In this file, so that they share its demo.


@pytest.fixture(scope="module")
def weeks(demo) -> list[datetime]:
    """Mondays of the four whole weeks before the one that the demo trained on."""
    monday = current_champion(demo.lake, "flight_delays").as_of - timedelta(weeks=1)
    return [monday - timedelta(weeks=n) for n in (4, 3, 2, 1)]


@pytest.fixture(scope="module")
def backfilled(demo, weeks):
    """
    A backfill of those 28 days, all of them run anew, to its end and that of what it starts. How well these search does
    not matter.
    """
    hurry(demo.running.dags)
    before = {
        "champion": current_champion(demo.lake, "flight_delays"),
        "bytes": current_bytes(demo),
        "trainings": trainings(demo),
    }
    backfill(demo, weeks)
    wait_for_trainings(demo, len(before["trainings"]) + 4)
    return before


@pytest.mark.claim("backfill")
def test_ledger_equals_the_package_after_the_backfill(demo, weeks, backfilled, record_property):
    keys = [f"{week + timedelta(days=day):%Y-%m-%d}" for week in weeks for day in range(7)]
    differing = differing_partitions(demo, keys)
    record_property("figure", f"{len(keys) - len(differing)} of {len(keys)} ledgers equal the package's own counts")
    assert differing == []


@pytest.mark.claim("backfill")
def test_it_starts_exactly_the_trainings_that_it_completes(demo, weeks, backfilled, record_property):
    started = [key for run, key in trainings(demo).items() if run not in backfilled["trainings"]]
    record_property("figure", f"{len(weeks)} weeks completed, {len(started)} trainings started")
    assert sorted(started) == [f"{week:%Y-%m-%d}" for week in weeks]


@pytest.mark.claim("backfill")
def test_it_never_moves_the_champion_back(demo, backfilled):
    assert current_champion(demo.lake, "flight_delays") == backfilled["champion"]
    served = requests.get(f"{demo.facts['endpoint_url']}/version", timeout=10).json()["model_version"]
    assert served == backfilled["champion"].model_version
    as_ofs = [
        line["as_of"]
        for line in read_ledger(demo.lake, PROMOTIONS, workflow="flight_delays").sort_by("epoch").to_pylist()
    ]
    assert as_ofs == sorted(as_ofs)


@pytest.mark.claim("backfill")
def test_backfilled_models_are_registered_and_held_back(demo, weeks, backfilled):
    decisions = read_ledger(demo.lake, DECISIONS, workflow="flight_delays").to_pylist()
    older = [line for line in decisions if line["as_of"] < backfilled["champion"].as_of]
    assert older
    assert {line["verdict"] for line in older} <= {"HOLD", "REJECT"}


@pytest.mark.claim("backfill")
def test_it_changed_no_byte_and_neither_does_another(demo, weeks, backfilled, record_property):
    assert current_bytes(demo) == backfilled["bytes"]
    n_trainings = len(trainings(demo))
    backfill(demo, weeks)
    assert current_bytes(demo) == backfilled["bytes"]
    wait_for_trainings(demo, n_trainings)
    assert current_champion(demo.lake, "flight_delays") == backfilled["champion"]
    record_property("figure", f"run twice more, none of {len(backfilled['bytes'])} files' bytes changed")


@pytest.fixture(scope="module")
def refused(demo, backfilled) -> str:
    """A training run of the backfill that the gate has refused."""
    return next(
        run for run in trainings(demo) if run not in backfilled["trainings"] and gate_state(demo, run) == "skipped"
    )


def shipped(demo) -> tuple[int, str, str]:
    """Number of promotions, the ledger's champion and what the endpoint serves."""
    served = requests.get(f"{demo.facts['endpoint_url']}/version", timeout=10).json()["model_version"]
    n_promotions = read_ledger(demo.lake, PROMOTIONS, workflow="flight_delays").num_rows
    return n_promotions, current_champion(demo.lake, "flight_delays").model_version, served


def wait_until_idle(demo) -> None:
    """Until neither training nor deployment has anything to do."""
    wait_for(
        lambda: all(
            run["state"] in FINISHED
            for step in ("train", "deploy")
            for run in demo.client.runs(f"flight_delays.{step}")
        )
    )


@pytest.mark.claim("refusal")
def test_marking_any_task_of_a_refused_run_as_succeeded_ships_nothing(demo, refused, record_property):
    """Each task, in order, as a person would in the UI: what follows it starts at once."""
    before = shipped(demo)
    instances = demo.client.task_instances("flight_delays.train", refused)
    tasks = [task["task_id"] for task in instances if task["map_index"] < 0 and task["state"] != "success"]
    assert "gate" in tasks
    path = f"dags/flight_delays.train/dagRuns/{quote(refused)}/taskInstances"
    for task_id in tasks:
        demo.client.call("PATCH", f"{path}/{task_id}", body={"new_state": "success"})
        wait_until_idle(demo)
    assert shipped(demo) == before
    record_property("figure", f"all of a refused run marked as succeeded ({', '.join(tasks)}): 0 promotions")


@pytest.mark.claim("refusal")
def test_with_the_gate_marked_what_follows_it_fails_by_its_evidence(demo, refused):
    before = shipped(demo)
    body = {
        "dag_run_id": refused,
        "task_ids": ["register"],
        "dry_run": False,
        "only_failed": False,
        "reset_dag_runs": True,
    }
    demo.client.call("POST", "dags/flight_delays.train/clearTaskInstances", body=body)
    demo.client.wait_for_run("flight_delays.train", refused, timeout_seconds=300)
    states = {task["task_id"]: task["state"] for task in demo.client.task_instances("flight_delays.train", refused)}
    assert (states["gate"], states["register"]) == ("success", "failed")
    assert shipped(demo) == before


@pytest.mark.claim("refusal")
def test_clearing_a_refused_run_ships_nothing(demo, refused, record_property):
    before = shipped(demo)
    demo.client.call(
        "POST",
        f"dags/flight_delays.train/dagRuns/{quote(refused)}/clear",
        body={"dry_run": False, "only_failed": False},
    )
    demo.client.wait_for_run("flight_delays.train", refused, timeout_seconds=600)
    wait_until_idle(demo)
    assert gate_state(demo, refused) == "skipped"
    assert shipped(demo) == before
    record_property("figure", "the run cleared as a whole: 0 promotions")


@pytest.mark.claim("refusal")
def test_deploying_a_refused_version_by_hand_ships_nothing(demo, backfilled, record_property):
    decisions = read_ledger(demo.lake, DECISIONS, workflow="flight_delays").to_pylist()
    refused = next(line["model_version"] for line in decisions if line["verdict"] != "PROMOTE")
    run_id = demo.client.trigger("flight_delays.deploy", conf={"model_version": refused})
    run = demo.client.wait_for_run("flight_delays.deploy", run_id)
    assert run["state"] == "failed"
    assert latest_decision(demo.lake, "flight_delays", refused).verdict != "PROMOTE"
    assert current_champion(demo.lake, "flight_delays") == backfilled["champion"]
    record_property("figure", "its version deployed by hand: the run fails by its evidence, a newer champion stays")
