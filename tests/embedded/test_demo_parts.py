"""The parts of the demo run that need no Airflow: the calendar, the lines, the messages, the comparison."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.api_client import AirflowClient
from embedded.home import Home, choose_ports, prepare_home, read_json
from embedded.loop import DemoError, Loop
from embedded.progress import Progress
from embedded.summary import Outcome, count_rows, describe, write_demo_file
from embedded.training_calendar import training_calendar
from embedded.verification import VerificationError, Verified, served_version, verify_predictions
from include.lake.ledger import RunRecord, append_run
from include.lake.store import Lake
from include.settings import read_settings
from include.workflow import Workflow
from tests.embedded.http_server import Answer, server
from tests.factories import declare_workflow


class TestCalendar:
    """Which partitions a training reads."""

    def test_lays_out_whole_weeks(self, tmp_path: Path) -> None:
        workflow = declare_workflow(tmp_path / "parcels")
        calendar = training_calendar(workflow, datetime(2026, 11, 25, 13, tzinfo=UTC))  # a Wednesday
        assert (calendar.period.key, calendar.period.end) == ("2026-11-16", datetime(2026, 11, 23, tzinfo=UTC))
        first = datetime(2026, 11, 23, tzinfo=UTC) - workflow.training.test - workflow.training.window
        assert calendar.history[0].start == max(first, workflow.start)
        assert calendar.history[-1].key == "2026-11-15"
        assert [window.key for window in calendar.recent] == [f"2026-11-{day}" for day in range(16, 25)]

    def test_monday_just_after_midnight(self, tmp_path: Path) -> None:
        workflow = declare_workflow(tmp_path / "parcels")
        calendar = training_calendar(workflow, datetime(2026, 11, 23, 0, 0, 1, tzinfo=UTC))
        assert [window.key for window in calendar.recent] == [f"2026-11-{day}" for day in range(16, 23)]

    def test_young_workflow_has_no_history(self, tmp_path: Path) -> None:
        workflow = declare_workflow(tmp_path / "parcels")
        calendar = training_calendar(workflow, workflow.start + timedelta(days=2))
        assert calendar.history == ()


class TestProgress:
    """Lines for people and log files."""

    def test_lines_say_stage_and_time(self) -> None:
        lines: list[str] = []
        progress = Progress(2, write=lines.append)
        with progress.stage("data", "loading"):
            progress.tell("copying")
            progress.tell("copying")
            progress.tell("copying", count="1 of 9")
        assert lines[0].split() == ["0:00", "[1/2]", "data", "loading"]
        assert lines[1].split() == ["0:00", "[1/2]", "data", "copying"]
        assert lines[-1].endswith("done in 0.0 s")
        assert len(lines) == 3
        assert progress.seconds == {"data": 0.0}


def endpoint(scores: list[float]) -> Answer:
    def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
        if path == "/version":
            return (200, {"model_version": "7"}) if scores else (503, {"error": "no champion"})
        given = scores[: len(body["instances"])] if "instances" in body else scores[:1]
        predictions = [{"label": score > 0.5, "score": score} for score in given]
        return 200, {"model_name": "parcels", "model_version": "7", "predictions": predictions}

    return answer


class TestVerification:
    """Served against offline."""

    def test_equal_scores_pass(self) -> None:
        with server(endpoint([0.25, 0.75])) as url:
            assert served_version(url) == "7"
            verified = verify_predictions(url, rows=[{"a": 1}, {"a": 2}], expected=[0.25, 0.75 + 1e-10])
        assert (verified.model_version, verified.n_rows) == ("7", 2)
        assert verified.sample_request == {"a": 1}
        assert verified.sample_answer == {"label": False, "score": 0.25}

    @pytest.mark.parametrize(
        ("served", "message"), [([0.25, 0.750001], "differ by 1e-06"), ([0.25], "1 predictions to 2 rows")]
    )
    def test_other_scores_do_not(self, served: list[float], message: str) -> None:
        with server(endpoint(served)) as url, pytest.raises(VerificationError, match=message):
            verify_predictions(url, rows=[{"a": 1}, {"a": 2}], expected=[0.25, 0.75])

    def test_not_a_number_does_not_pass(self) -> None:
        with server(endpoint([float("nan")])) as url, pytest.raises(VerificationError, match="differ by nan"):
            verify_predictions(url, rows=[{"a": 1}], expected=[0.25])

    def test_refusal_is_quoted(self) -> None:
        with (
            server(lambda *_: (422, {"error": "column a"})) as url,
            pytest.raises(VerificationError, match=r"refuses 1 golden rows .422.: .*column a"),
        ):
            verify_predictions(url, rows=[{"a": 1}], expected=[0.25])

    def test_no_champion_yet(self) -> None:
        with server(endpoint([])) as url:
            assert served_version(url) is None

    def test_dead_endpoint_is_named(self) -> None:
        with pytest.raises(VerificationError, match=r"http://127.0.0.1:9 does not answer"):
            served_version("http://127.0.0.1:9", timeout_seconds=0)


def a_run(key: str, n: int, *, run_id: str = "r") -> RunRecord:
    return RunRecord(
        workflow="parcels",
        partition_key=key,
        run_id=run_id,
        try_id="t",
        rows_in=n + 3,
        rows_published=n,
        rows_quarantined=2,
        rows_duplicate=1,
        table_version=1,
        quarantine_version=1,
        raw_version=1,
        digest=f"{key}{n}",
        recorded_at=datetime.now(UTC),
    )


class TestSummary:
    """What stands behind the version that serves."""

    def test_a_partition_counts_by_its_last_line(self, tmp_path: Path) -> None:
        lake = Lake(uri=str(tmp_path), storage_options={})
        for record in (a_run("2026-11-01", 10), a_run("2026-11-02", 20), a_run("2026-11-01", 11, run_id="later")):
            append_run(lake, record)
        assert count_rows(lake, "parcels") == ({"in": 37, "published": 31, "quarantined": 4, "duplicate": 2}, 2)

    def test_file_has_the_agreed_names_and_is_private(self, tmp_path: Path) -> None:
        home = Home(folder=tmp_path / "state")
        prepare_home(home)
        choose_ports(home)
        settings = read_settings({"UPDRAFT_HOME": str(home.folder)})
        outcome = Outcome(
            rows={"in": 37, "published": 31, "quarantined": 4, "duplicate": 2},
            n_partitions=2,
            trials=(),
            verdict="PROMOTE",
            reasons=("fine",),
        )
        verified = Verified(
            model_name="parcels",
            model_version="7",
            n_rows=50,
            max_difference=0.0,
            sample_request={"a": 1},
            sample_answer={"label": True, "score": 0.6},
            upcoming={"request": {"depot": "east", "weight_kg": None}, "label": False, "score": 0.25},
        )
        write_demo_file(
            home, settings, outcome=outcome, verified=verified, seconds={"data": 1.0}, calendar_shift_days=4851
        )
        written = read_json(home.demo_file)
        assert list(written) == [
            *(
                "workflow",
                "airflow_url",
                "airflow_user",
                "airflow_password",
                "endpoint_url",
                "sample_request",
                "model_name",
                "model_version",
            ),
            *("verdict", "rows", "lake_uri", "registry_uri", "calendar_shift_days", "seconds"),
        ]
        assert stat.S_IMODE(home.demo_file.stat().st_mode) == 0o600
        text = describe(home, settings, outcome=outcome, verified=verified, seconds={"data": 1.0}, item="parcel")
        assert "37 in = 31 published + 4 quarantined + 2 duplicate, in 2 partitions" in text
        assert home.secrets["admin_password"] in text
        assert "(this parcel: True, with probability 0.600)" in text
        assert "a parcel to come (depot east): False, with probability 0.250" in text
        assert read_json(home.folder / "sample_request.parcels.json") == {"a": 1}


def test_loop_stops_when_nothing_moves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workflow: Workflow) -> None:
    monkeypatch.setattr("embedded.loop.STALL_SECONDS", 0.0)
    monkeypatch.setattr("embedded.loop.POLL_SECONDS", 0.01)
    client = AirflowClient("http://127.0.0.1:9", user="admin", password="p")
    loop = Loop(Home(folder=tmp_path), client, workflow, Progress(1, write=lambda _: None))
    with pytest.raises(DemoError, match="nothing has moved for 0 minutes: waiting"):
        loop._wait(lambda: None, "waiting")
