"""A survey through its Dags: fifty people are found nowhere, one is erased, and what is too old goes."""

from __future__ import annotations

import json
import os
import sqlite3
import tempfile
from datetime import timedelta
from pathlib import Path

import pytest

from include.lake.erasures import read_erasures
from include.lake.ledger import latest_run
from include.lake.partitions import list_partitions, read_partition
from include.lake.store import Lake, open_lake
from include.rehearsal import ingest
from include.sources.survey.pseudonyms import pseudonym_of
from include.workflow import Features, Search, SurveySource, Training, Workflow
from tests.plugins.conftest import parse_dag, run_parsed
from tests.sources.survey import people
from tests.sources.survey.people import (
    DAY,
    IDENTIFYING,
    KEY,
    SECRET,
    answer,
    canaries,
    csv_of,
    files_of_answers,
    leaks,
    policy,
)

pytestmark = [
    pytest.mark.claim("surveys"),
    pytest.mark.airflow,
    pytest.mark.timeout(900),
    # Airflow's own, where dag.test() runs a Dag for a second time.
    pytest.mark.filterwarnings("ignore:Multiple rows returned with uselist:sqlalchemy.exc.SAWarning"),
]

PEOPLE = canaries(50)
VALUES = [person[name] for person in PEOPLE for name in IDENTIFYING]
CANARY = PEOPLE[40]["email"]
BROKEN = [f"{person['email']},{person['name']},{person['phone']},{person['comment']}" for person in PEOPLE[:7]]
DAYS = [DAY - timedelta(days=n) for n in (2, 1, 0)]
DAG_FILE = """\
# an Airflow Dag file
from pathlib import Path
from tests.plugins.test_survey_dags import declare
from updraft.dags import build_dags
from updraft.lake_dags import build_erase_respondent, build_maintain_lake

panel = declare(Path({home!r}), retention="365 days")
build_dags(panel)
build_erase_respondent([panel], doc="Erase")
# A shorter retention, as if days had passed.
build_maintain_lake([declare(Path({home!r}), retention={retention!r})], doc="Maintain")
"""
AGED = f"{int((people.datetime.now(people.UTC) - DAYS[1]).total_seconds() // 60)} minutes"


def declare(home: Path, *, retention: str) -> Workflow:
    """Fifty people and others in CSV files, with records that are none."""
    source = SurveySource(
        source=files_of_answers(home / "vault", key=("email", "answer_id")), privacy=policy(retention=retention)
    )
    workflow = people.declare(home / "panel", source=source)
    search = Search(metric="average_precision", budget_seconds=5, workers=1, families=("linear",))
    training = Training(every="day", window="2 days", test="1 day", validation="1 day", minimum_rows=20, search=search)
    return workflow.model_copy(update={"features": Features(), "training": training})


def answers_of(day: people.datetime) -> list[dict[str, object]]:
    """
    The fifty, some of whom break a rule, give no consent or answer what nobody can be asked; and a
    hundred others.
    """
    rows = [dict(person) for person in PEOPLE] + [answer(2000 + i) for i in range(100)]
    for row in rows[:10]:
        row["satisfaction"] = 9
    for row in rows[10:15]:
        row["consent"] = "no"
    for i, row in enumerate(rows):
        row["answer_id"] += 10_000 * day.day
        row["answered_at"], row["received_at"] = (
            f"{day:%Y-%m-%d} 10:{i % 60:02d}:00",
            f"{day:%Y-%m-%d} 11:{i % 60:02d}:00",
        )
    return rows


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """State, vault, Dag files and temporary files of this module."""
    home = tmp_path_factory.mktemp("survey")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UPDRAFT_HOME", str(home / "state"))
        patch.setenv("UPDRAFT_PSEUDONYM_KEY", SECRET)
        for name in ("vault", "dags", "tmp"):
            (home / name).mkdir()
        patch.setattr(tempfile, "tempdir", str(home / "tmp"))
        (home / "dags" / "panel.py").write_text(DAG_FILE.format(home=str(home), retention=AGED))
        for day in DAYS:
            (home / "vault" / f"{day:%Y-%m-%d}.csv").write_text(csv_of(answers_of(day), broken=BROKEN))
        yield home


@pytest.fixture(scope="module")
def lake(home: Path) -> Lake:
    return open_lake()


def run(home: Path, dag_id: str, **conf: object) -> dict[str, str]:
    dag_run = run_parsed(parse_dag(dag_id, home / "dags"), conf)
    return {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}


@pytest.fixture(scope="module")
def ingested(home: Path, lake: Lake, airflow_db: None) -> None:
    workflow = declare(home, retention="365 days")
    for day in DAYS:
        ingest(workflow, f"{day:%Y-%m-%d}", connection_uri=None, lake=lake)


def dump_of(path: Path) -> str:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as database:
        return "\n".join(database.iterdump())


@pytest.mark.usefixtures("ingested")
def test_fifty_people_are_found_nowhere_outside_the_vault(home, lake, capfd, caplog):
    """
    Through the Dag, which fails first, for a file that was cut: in no table, page, log, XCom or row of Airflow's
    database.
    """
    airflow_home, file = Path(os.environ["AIRFLOW_HOME"]), home / "vault" / f"{KEY}.csv"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 3])
    assert run(home, "panel.ingest", partition=KEY)["extract"] == "failed"
    file.write_bytes(whole)
    assert set(run(home, "panel.ingest", partition=KEY).values()) == {"success"}
    written = "".join(capfd.readouterr()) + caplog.text
    assert "the file was cut" in written, "control: what the tasks log is looked at"
    line = latest_run(lake, "panel", KEY)
    assert (line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate) == (157, 135, 22, 0)
    metadata = dump_of(airflow_home / "airflow.db")
    assert f"{KEY}.csv" in metadata or "panel" in metadata, "control: the runs are in the database"
    pages = list((home / "state" / "data_docs").rglob("*.html"))
    assert len(pages) >= 3
    assert leaks([home / "state", home / "tmp", airflow_home], VALUES, texts=[written, metadata]) == []


def test_control_in_the_vault_they_are_found(home):
    assert {hit.rpartition(": ")[2] for hit in leaks([home / "vault"], VALUES)} == set(VALUES)


@pytest.fixture(scope="module")
def version(home: Path, lake: Lake, ingested: None) -> str:
    """A model that was fitted on the second day and judged on the third."""
    from include.modeling.fitting import fit_model
    from include.modeling.identity import training_id_of
    from include.modeling.search import run_trials
    from include.modeling.snapshot import pin_snapshot
    from include.registry import open_registry, register_version

    workflow = declare(home, retention="365 days")
    snapshot = pin_snapshot(workflow, DAYS[2] + timedelta(days=1), lake=lake)
    training_id = training_id_of(workflow, snapshot, budget_seconds=5)
    run_trials(
        workflow, snapshot, lake=lake, training_id=training_id, worker=0, n_workers=1, budget_seconds=5, max_trials=1
    )
    fit_model(workflow, snapshot, lake=lake, training_id=training_id, folder=home / "package")
    registered = register_version(
        open_registry(), workflow, home / "package", training_id=training_id, metrics={}, params={}
    )
    return registered.version


def test_one_respondent_is_erased_with_proof(home, lake, version):
    pseudonym = pseudonym_of(CANARY, workflow="panel", column="respondent", key=SECRET.encode())
    published = [row for day in DAYS for row in read_partition(lake, "panel/validated", f"{day:%Y-%m-%d}").to_pylist()]
    row_ids = {row["row_id"] for row in published if row["respondent"] == pseudonym}
    secrets = [pseudonym, *row_ids]
    assert {hit.rpartition(": ")[2] for hit in leaks([Path(lake.uri)], secrets)} == set(secrets), (
        "control: before, they are there"
    )
    done = run(home, "erase_respondent", workflow="panel", pseudonym=pseudonym)
    assert done == {"request": "success", "find_models": "success", "erase": "success"}
    assert leaks([Path(lake.uri)], secrets) == []
    proof = read_erasures(lake, workflow="panel").to_pylist()[-1]
    assert json.loads(proof["rows_before"]) == {"panel/raw": 3, "panel/validated": 3}
    assert json.loads(proof["rows_after"]) == {"panel/raw": 0, "panel/validated": 0}
    assert (json.loads(proof["models"]), json.loads(proof["models_unknown"])) == ([version], [])
    assert proof["files_scanned"] > 0
    assert latest_run(lake, "panel", KEY).rows_published == 134
    assert leaks([home / "state", home / "tmp", Path(os.environ["AIRFLOW_HOME"])], VALUES) == []


def test_an_identifier_is_refused_by_the_form(home):
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk.exceptions import ParamValidationError

    params = DagBag(dag_folder=str(home / "dags")).dags["erase_respondent"].params
    assert params.get_param("workflow").schema["enum"] == ["panel"]
    assert params.get_param("pseudonym").resolve("0" * 64) == "0" * 64
    with pytest.raises(ParamValidationError):
        params.get_param("pseudonym").resolve("Jocasta@canary-mail.example")


def test_the_nightly_round_removes_what_is_too_old(home, lake, version):
    """A dry run first, which changes nothing; the days are told by the age that the retention allows."""
    before = {file: file.stat().st_mtime_ns for file in Path(lake.uri).rglob("*")}
    assert set(run(home, "maintain_lake", dry_run=True).values()) == {"success"}
    assert {file: file.stat().st_mtime_ns for file in Path(lake.uri).rglob("*")} == before
    done = run(home, "maintain_lake")
    assert done == {"retention_panel": "success", "tidy_panel": "success", "tidy_ledger": "success"}
    kept = [f"{day:%Y-%m-%d}" for day in DAYS[1:]]
    assert [list_partitions(lake, f"panel/{name}") for name in ("raw", "validated", "quarantine")] == [kept] * 3
    assert {path.parent.name for path in Path(lake.uri, "panel", "_splits").rglob("*.parquet")} <= set(kept)
