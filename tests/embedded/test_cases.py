"""The demos of several workflows in one stack: what each needs, where it answers, and one that is asked for later."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from embedded.air_quality import check_station
from embedded.air_quality_broker import broker_folder
from embedded.airflow_env import stack_environment
from embedded.api_client import AirflowClient
from embedded.cases import CASES, DemoCase
from embedded.control import StackError, wait_until_healthy
from embedded.home import (
    PORT_NAMES,
    PROJECT_ROOT,
    Home,
    choose_ports,
    prepare_home,
    read_json,
    request_demo,
    requested_demos,
    write_json,
)
from embedded.loop import Loop
from embedded.plan import endpoint_name, plan_services
from embedded.processes import identify, save_record
from embedded.progress import Progress
from embedded.services import Service
from embedded.supervisor import Supervisor
from embedded.training_calendar import training_calendar
from include.settings import read_settings
from tests.embedded.http_server import server

AIRFLOW = {"postgres", "airflow-setup", "mlflow-setup", "api-server", "scheduler", "dag-processor", "triggerer"}


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(folder=tmp_path / "state")
    prepare_home(home)
    choose_ports(home)
    (home.folder / "postgres").mkdir()
    (home.folder / "postgres" / "password").write_text("p", encoding="utf-8")
    (home.folder / "postgres" / "data").mkdir()
    (home.folder / "postgres" / "data" / "PG_VERSION").touch()  # so that no server is prepared
    return home


def planned(home: Home, **environ: str) -> dict[str, Service]:
    return {service.name: service for service in plan_services(home, environ)}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_case_fits_its_declaration(home: Home, case: DemoCase) -> None:
    workflow = case.declaration()
    assert workflow.name == case.workflow_name
    assert workflow.source.connection == case.connection
    assert f"endpoint_{case.workflow_name}" in PORT_NAMES
    assert case.connection is None or "127.0.0.1" in case.connection_uri(home)
    assert {service.port for service in case.services(home, {})} <= {*home.ports.values(), None}
    assert training_calendar(workflow, case.newest(workflow)).history


def test_nothing_is_served_unasked(home: Home) -> None:
    assert set(planned(home)) == AIRFLOW


def test_each_demo_adds_its_own_processes(home: Home) -> None:
    request_demo(home, "release_notes")
    assert set(planned(home)) == AIRFLOW | {"release_notes-site", "release_notes-endpoint"}
    request_demo(home, "flight_delays")
    assert set(planned(home)) == AIRFLOW | {"release_notes-site", "release_notes-endpoint", "endpoint"}


def test_every_demo_has_an_endpoint_of_its_own(home: Home) -> None:
    """Also beside a workflow that the user serves; deployment is told the same addresses."""
    for name in CASES:
        request_demo(home, name)
    for environ in ({}, {"UPDRAFT_SERVE_WORKFLOW": "parcels"}, {"UPDRAFT_SERVE_WORKFLOW": "release_notes"}):
        services = planned(home, **environ)
        settings = read_settings(stack_environment(home, environ))
        served = [*CASES, *({environ.get("UPDRAFT_SERVE_WORKFLOW", "flight_delays")} - set(CASES))]
        ports = {name: services[endpoint_name(name, environ)].port for name in served}
        assert len(set(ports.values())) == len(served)
        assert {name: settings.endpoint_url_of(name) for name in served} == {
            n: f"http://127.0.0.1:{port}" for n, port in ports.items()
        }
        assert services["endpoint"].command[4] == environ.get("UPDRAFT_SERVE_WORKFLOW", "flight_delays")


def test_demo_of_another_version_is_passed_over(home: Home) -> None:
    write_json(home.demos_file, ["gone", "release_notes"])
    assert set(planned(home)) == AIRFLOW | {"release_notes-site", "release_notes-endpoint"}


def test_asking_twice_is_asking_once(home: Home) -> None:
    for name in ("release_notes", "flight_delays", "release_notes"):
        request_demo(home, name)
    assert requested_demos(home) == ["release_notes", "flight_delays"]


def test_unknown_workflow_is_refused_in_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "embedded", "demo", "flights"]
    environment = {**os.environ, "UPDRAFT_HOME": str(tmp_path / "state")}
    done = subprocess.run(
        command, cwd=PROJECT_ROOT, env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.returncode == 2
    assert done.stderr == f"no demo of the workflow 'flights': there are those of {', '.join(CASES)}\n"
    assert not (tmp_path / "state").exists()


def test_supervisor_takes_in_a_demo_that_is_asked_for_later(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """What runs already goes on, in the same process."""

    def plan(home: Home) -> list[Service]:
        names = ["first", *requested_demos(home)]
        return [
            Service(name=name, command=("sleep", "60"), check=lambda started: None, environment=dict(os.environ))
            for name in names
        ]

    monkeypatch.setattr("embedded.supervisor.plan_services", plan)
    from embedded.units import Unit

    supervisor = Supervisor(home, [Unit(home, service) for service in plan(home)])
    own = identify(os.getpid())
    assert own is not None
    save_record(home, "supervisor", own)
    thread = threading.Thread(target=supervisor.run)
    thread.start()
    try:
        wait_until_healthy(home, timeout_seconds=30)
        before = read_json(home.run / "status.json")["units"]
        request_demo(home, "second")
        wait_until_healthy(home, at_least=["second"], timeout_seconds=30)
        after = read_json(home.run / "status.json")["units"]
    finally:
        supervisor.stop()
        thread.join(20)
    assert set(before) == {"first"}
    assert set(after) == {"first", "second"}
    assert after["first"]["pid"] == before["first"]["pid"]
    assert all(unit.state == "stopped" for unit in supervisor.units.values())


def test_a_missing_unit_is_not_healthy(home: Home) -> None:
    own = identify(os.getpid())
    assert own is not None
    save_record(home, "supervisor", own)
    write_json(
        home.run / "status.json", {"units": {"first": {"state": "healthy", "failures": 0, "reason": "", "log": ""}}}
    )
    wait_until_healthy(home, timeout_seconds=0)
    with pytest.raises(StackError, match="not healthy in time"):
        wait_until_healthy(home, at_least=["second"], timeout_seconds=0)


def test_whoever_waits_notices_that_the_stack_was_stopped(home: Home) -> None:
    own = identify(os.getpid())
    assert own is not None
    save_record(home, "supervisor", own)
    write_json(
        home.run / "status.json", {"units": {"first": {"state": "starting", "failures": 0, "reason": "", "log": ""}}}
    )
    stopper = threading.Timer(0.5, (home.run / "supervisor.json").unlink)
    stopper.start()
    try:
        with pytest.raises(StackError, match=r"the stack was stopped meanwhile; if nobody did, see .*supervisor\.log"):
            wait_until_healthy(home, timeout_seconds=60)
    finally:
        stopper.join()


def test_whoever_waits_is_told_for_what(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("embedded.control.REMIND_SECONDS", 0.0)
    own = identify(os.getpid())
    assert own is not None
    save_record(home, "supervisor", own)
    states = {"first": "healthy", "second": "starting", "third": "waiting"}
    units = {name: {"state": state, "failures": 0, "reason": "", "log": ""} for name, state in states.items()}
    write_json(home.run / "status.json", {"units": units})
    lines: list[str] = []
    with pytest.raises(StackError, match=r"not healthy in time: second \(starting\), third \(waiting\)"):
        wait_until_healthy(home, timeout_seconds=0, progress=lines.append)
    assert lines == ["first healthy", "waiting for second, third (0 s)"]


@pytest.mark.parametrize(
    ("now", "number", "problem"),
    [
        # Its 35,065th hour is the first of 2014 in Beijing: 2013-12-31T16:00Z there, 5 January 2027 here; sent ten
        # minutes later.
        ("2027-01-05T16:13", 35_065, None),
        ("2027-01-05T16:13", 35_064, "has 1 readings to publish"),
        ("2027-01-05T16:11", 35_064, None),
        ("2027-01-06T16:13", 35_065, "has 24 readings to publish"),
        ("2030-01-01T00:00", 43_823, "has 1 readings to publish"),
        ("2030-01-01T00:00", 43_824, None),
    ],
)
def test_station_is_healthy_once_it_has_published_what_is_due(
    home: Home, now: str, number: int, problem: str | None
) -> None:
    moment = datetime.fromisoformat(now).replace(tzinfo=UTC)
    assert check_station(home.folder, now=moment) == "has published nothing yet"
    broker_folder(home.folder).mkdir(exist_ok=True)
    write_json(broker_folder(home.folder) / "published.json", {"shift_days": 4753, "number": number})
    assert check_station(home.folder, now=moment) == problem


def test_supervisor_and_commands_stay_light() -> None:
    heavy = "{'pandas', 'pyarrow', 'deltalake', 'sklearn'}"
    script = f"import sys, embedded.supervisor, embedded.__main__; print(sorted({heavy} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True, timeout=120
    )
    assert done.stdout == "[]\n"


class TestCollection:
    """An archived source is asked by one run of its own, before the backfill that asks nobody."""

    @pytest.fixture
    def ask(self, tmp_path: Path) -> Callable[..., list[tuple[str, str, Any]]]:
        """Collect against an Airflow whose ingest runs have succeeded for `done`; the calls that change something."""

        def ask(name: str, *, done: int, under_way: int = 0) -> list[tuple[str, str, Any]]:
            workflow = CASES[name].declaration()
            calendar = training_calendar(workflow, CASES[name].newest(workflow))
            keys = [window.key for window in (*calendar.history, *calendar.recent)]
            calls: list[tuple[str, str, Any]] = []
            polls: list[str] = []

            def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
                if path == "/auth/token":
                    return 201, {"access_token": "t"}
                route = path.removeprefix("/api/v2/dags/").partition("?")[0]
                if method != "GET":
                    calls.append((method, route, body))
                    return 200, {"dag_run_id": "r"}
                if route.endswith("taskInstances"):
                    return 200, {"task_instances": []}
                if path.startswith("/api/v2/backfills"):
                    polls.append(path)
                    return 200, {
                        "backfills": [
                            {"id": 1, "completed_at": "2026-11-25T00:00:00Z" if len(polls) > under_way else None}
                        ]
                    }
                if route.endswith("dagRuns/r"):
                    return 200, {"dag_run_id": "r", "state": "success"}
                n_done = done if len(polls) > under_way else 1
                runs = [{"partition_key": key} for key in keys[:n_done]] if "offset=0" in path else []
                return 200, {"dag_runs": runs, "total_entries": n_done}

            with server(answer) as url:
                client = AirflowClient(url, user="admin", password="p")
                loop = Loop(Home(folder=tmp_path), client, workflow, Progress(1, write=lambda _: None))
                loop.collect(calendar)
            return [
                (*call[:2], {name: value for name, value in call[2].items() if name != "logical_date"})
                for call in calls
            ]

        return ask

    def test_first_time(self, ask: Callable[..., list[tuple[str, str, Any]]]) -> None:
        assert ask("release_notes", done=0) == [
            ("PATCH", "release_notes.train", {"is_paused": True}),
            (
                "POST",
                "release_notes.ingest/dagRuns",
                {"conf": {"collect": True}, "partition_key": self.first("release_notes", 0)},
            ),
        ]

    def test_what_is_there_already_is_not_asked_for(self, ask: Callable[..., list[tuple[str, str, Any]]]) -> None:
        assert ask("release_notes", done=2)[1][2]["partition_key"] == self.first("release_notes", 2)
        assert ask("release_notes", done=1000) == []

    def test_a_backfill_of_an_earlier_try_is_waited_for(
        self, ask: Callable[..., list[tuple[str, str, Any]]], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is missing counts once it has ended: two runs of one partition would fence each other off."""
        monkeypatch.setattr("embedded.loop.POLL_SECONDS", 0.01)
        assert ask("release_notes", done=1000, under_way=2) == []

    def test_a_database_answers_each_run_by_itself(self, ask: Callable[..., list[tuple[str, str, Any]]]) -> None:
        assert ask("flight_delays", done=0) == []

    @staticmethod
    def first(name: str, done: int) -> str:
        workflow = CASES[name].declaration()
        return training_calendar(workflow, CASES[name].newest(workflow)).history[done].key


def test_site_of_the_release_notes_answers_under_supervision(home: Home) -> None:
    """Caddy as the supervisor starts it, on a page of our own."""
    pages = home.folder / "release-notes"
    pages.mkdir()
    (pages / "index.html").write_text("<p>hello</p>", encoding="utf-8")
    (service,) = CASES["release_notes"].services(home, dict(os.environ))
    with (home.logs / "site.log").open("ab") as log:
        process = subprocess.Popen(
            service.command, env=dict(service.environment), stdout=log, stderr=log, start_new_session=True
        )
    try:
        deadline = time.monotonic() + 60
        assert service.check is not None
        while (problem := service.check(None)) is not None:  # type: ignore[arg-type]
            assert time.monotonic() < deadline, problem
            time.sleep(0.05)
    finally:
        process.send_signal(service.stop_signal)
        process.wait(20)
