"""
Who is told, on a real Airflow: a real mail server and a real web hook hear of each incident once, also of a process
that was killed.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from datetime import timedelta
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pytest

from include.lake.incidents import read_incidents
from tests.acceptance.watched import GOOD, KILLED, LOST, REFUSED, RETRIED, WAIT_SECONDS, WRONG, Watched, fill, wait_for
from tests.alerts.receivers import PASSWORD, SECRET
from tests.factories import START, parcel_rows

log = logging.getLogger(__name__)

pytestmark = [pytest.mark.claim("alerts"), pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def seconds(watched: Watched) -> dict[str, float]:
    """
    All that happens: a good day, one that is refused, three processes that are killed, one with its worker; then
    everything is mended.

    Returns how long after the kill both channels had heard of the tasks that are not tried again.
    """
    fill(watched.folder / "parcels.db", pa.concat_tables([WRONG] * 3), key=REFUSED)
    plan = {"good": ("parcels.ingest", GOOD), "refused": ("parcels.ingest", REFUSED)}
    to_kill = {
        "killed": ("parcels.ingest", KILLED),
        "lost": ("parcels.ingest", LOST),
        "retried": ("letters.ingest", RETRIED),
        "naive": ("naive", "None"),
    }
    held = {name: watched.hold(*run) for name, run in to_kill.items()}
    runs = {name: (dag_id, watched.start(dag_id, key)) for name, (dag_id, key) in (to_kill | plan).items()}
    killed_at = {name: watched.kill(*runs[name], with_worker=name == "lost") for name in to_kill}
    for key in (KILLED, REFUSED, LOST):
        wait_for(lambda key=key: all(watched.told(key)))
    took = {name: watched.heard_at(key) - killed_at[name] for name, key in (("killed", KILLED), ("lost", LOST))}
    log.warning("seconds after which both channels had heard: %s", took)
    for path in held.values():  # now the second try may succeed
        path.unlink()
    for name in ("naive", "retried"):
        watched.stack.client.wait_for_run(*runs[name], timeout_seconds=WAIT_SECONDS)
    fill(watched.folder / "parcels.db", parcel_rows(day=START + timedelta(days=1), n_rows=40), key=REFUSED)
    for name in ("refused", "killed", "lost"):
        dag_id, run_id = runs[name]
        watched.stack.client.wait_for_run(dag_id, run_id)
        watched.stack.client.call(
            "POST", f"dags/{dag_id}/dagRuns/{run_id}/clear", body={"dry_run": False, "only_failed": False}
        )
    for key in (REFUSED, KILLED, LOST):
        wait_for(lambda key=key: all(len(told) > 1 for told in watched.told(key)))
    watched.wait_for_rounds(2)
    return took


def test_both_channels_hear_of_a_kill_after_it(
    seconds: dict[str, float], record_property: Callable[[str, Any], None]
) -> None:
    """
    How long after is recorded, not bounded: the machine may be busy. It was ten seconds at a load of 25
    on two cores.
    """
    told = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    record_property("figure", f"both channels heard once, after the kill: {told}")
    assert min(seconds.values()) > 0


@pytest.mark.parametrize(
    ("key", "workflow", "title"),
    [
        (REFUSED, "parcels", "validation failed"),
        (KILLED, "parcels", "a task was killed or lost"),
        (LOST, "parcels", "a task was killed or lost"),
    ],
)
def test_each_incident_and_each_recovery_is_told_once(
    watched: Watched, seconds: object, key: str, workflow: str, title: str
) -> None:
    told = [f"[Updraft] {workflow} {key}: {title}", f"[Updraft] Recovered: {workflow} {key}: {title}"]
    assert watched.told(key) == (told, told)


def test_a_killed_try_that_has_another_is_told_at_most_once(watched: Watched, seconds: object) -> None:
    """
    Only the Dag processor is told of it by Airflow; if it is too busy and dies of it, there is nothing wrong any more
    to be found.
    """
    assert [run["state"] for run in watched.stack.client.runs("letters.ingest") if run["conf"]] == ["success"]
    alert, recovery = (f"[Updraft] {over}letters {RETRIED}: a task was killed or lost" for over in ("", "Recovered: "))
    for told in watched.told(RETRIED):
        assert told in ([], [alert], [alert, recovery])


def test_nobody_is_told_of_a_good_day(watched: Watched, seconds: object) -> None:
    assert watched.told(GOOD) == ([], [])
    # Airflow starts a run of yesterday by itself; of that the source has no row.
    ours = [
        i for i in read_incidents(watched.lake) if i.workflow in {"parcels", "letters"} and i.partition_key < "2026-02"
    ]
    assert {i.partition_key for i in ours} - {RETRIED} == {REFUSED, KILLED, LOST}


def test_the_control_hears_nothing_of_a_killed_process(watched: Watched, seconds: object) -> None:
    """
    A callback of the task itself, as it is usually written: its run has failed, and nobody was told while the task was
    killed.
    """
    assert [run["state"] for run in watched.stack.client.runs("naive")] == ["failed"]
    assert watched.naive.requests == []


def test_a_refused_day_is_told_with_reasons_and_masked_rows(watched: Watched, seconds: object) -> None:
    (told,) = [
        i
        for body in watched.hook.bodies
        if body["event"] == "alert"
        for i in body["incidents"]
        if i["partition_key"] == REFUSED
    ]
    assert told["counts"] == {"rows_in": 3, "rows_refused": 1, "rows_duplicate": 2}
    assert [reason["rows"] for reason in told["reasons"]] == [1]
    assert [row["depot"] for row in told["sample_rows"]] == ["Aaaa Aaa"]
    assert f"/dags/parcels.ingest/runs/{quote(told_run(watched), safe='')}/tasks/validate" in told["links"]["run"]


def told_run(watched: Watched) -> str:
    return next(i.origin.run_id for i in read_incidents(watched.lake) if i.partition_key == REFUSED)


def test_no_secret_and_no_value_is_in_a_log_xcom_or_rendered_field(watched: Watched, seconds: object) -> None:
    client, texts = watched.stack.client, []
    for dag_id in ("parcels.ingest", "letters.ingest", "watch_parcels"):
        for run in client.runs(dag_id):
            tasks = client.task_instances(dag_id, run["dag_run_id"])
            texts += [json.dumps(task["rendered_fields"]) for task in tasks]
            entries = client.call(
                "GET", f"dags/{dag_id}/dagRuns/{run['dag_run_id']}/taskInstances/~/xcomEntries", limit=100
            )
            texts.append(json.dumps(entries))
    home = watched.stack.home.folder
    logs = [path for path in home.rglob("*.log") if path.is_file()]
    texts += [path.read_text(encoding="utf-8", errors="replace") for path in logs]
    assert any("validate" in str(path) for path in logs)  # those of the tasks are among them
    assert [
        secret for secret in (PASSWORD, SECRET, WRONG["depot"][0].as_py()) for text in texts if secret in text
    ] == []


def test_the_rounds_of_the_watchdog_are_green(watched: Watched, seconds: object) -> None:
    assert {run["state"] for run in watched.stack.client.runs("watch_parcels")} <= {"success", "running", "queued"}
