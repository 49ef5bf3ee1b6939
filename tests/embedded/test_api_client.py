"""Airflow's API and a failed run, as the demo meets them."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest

from embedded.api_client import AirflowApiError, AirflowClient
from embedded.failures import explain_failure, last_error, task_log
from embedded.home import Home
from tests.embedded.http_server import server


class TestClient:
    """Airflow's API, answered by a small real server."""

    def test_refusal_carries_airflows_reason(self) -> None:
        def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
            return (201, {"access_token": "t"}) if path == "/auth/token" else (409, {"detail": "already backfilling"})

        with server(answer) as url:
            client = AirflowClient(url, user="admin", password="p")
            with pytest.raises(AirflowApiError, match="POST backfills: 409 already backfilling") as caught:
                client.backfill("x.ingest", start="2026-11-01", end="2026-11-02")
            assert caught.value.status == 409

    def test_wrong_password_is_told_without_it(self) -> None:
        with (
            server(lambda *_: (401, {"detail": "no"})) as url,
            pytest.raises(AirflowApiError, match=r"refuses the sign-in of 'admin'") as caught,
        ):
            AirflowClient(url, user="admin", password="hidden").dag_ids()
        assert "hidden" not in str(caught.value)

    def test_expired_token_is_renewed(self) -> None:
        tokens: list[str] = []

        def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
            if path == "/auth/token":
                tokens.append("t")
                return 201, {"access_token": "t"}
            return (401, {}) if len(tokens) == 1 else (200, {"dags": [{"dag_id": "a.train"}]})

        with server(answer) as url:
            assert AirflowClient(url, user="admin", password="p").dag_ids() == {"a.train"}
        assert len(tokens) == 2

    def test_broken_dag_file_is_named(self) -> None:
        def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
            if path == "/auth/token":
                return 201, {"access_token": "t"}
            if path.startswith("/api/v2/dags"):
                return 200, {"dags": []}
            return 200, {"import_errors": [{"filename": "parcels.py", "stack_trace": "…\nNameError: name 'x'"}]}

        with (
            server(answer) as url,
            pytest.raises(AirflowApiError, match=r"parcels.py can't be parsed: NameError: name 'x'"),
        ):
            AirflowClient(url, user="admin", password="p").wait_for_dags({"parcels.train"})

    def test_a_trigger_of_a_dead_server_is_not_repeated(self) -> None:
        with pytest.raises(AirflowApiError, match="Airflow does not answer"):
            AirflowClient("http://127.0.0.1:9", user="admin", password="p").trigger("x.ingest")

    @pytest.mark.parametrize(("method", "n_calls"), [("GET", 2), ("PATCH", 2), ("POST", 1)])
    def test_only_what_may_happen_twice_is_repeated(self, method: str, n_calls: int) -> None:
        calls: list[str] = []

        def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
            if path == "/auth/token":
                return 201, {"access_token": "t"}
            calls.append(method)
            return (503, {"detail": "starting"}) if len(calls) == 1 else (200, {})

        with server(answer) as url, contextlib.suppress(AirflowApiError):
            AirflowClient(url, user="admin", password="p").call(method, "dags/x")
        assert calls == [method] * n_calls


class TestFailure:
    """One message for a failed run."""

    INSTANCE: dict[str, Any] = {  # noqa: RUF012
        "dag_id": "parcels.train",
        "dag_run_id": "r1",
        "task_id": "tune",
        "map_index": 1,
        "try_number": 2,
        "state": "failed",
        "end_date": "2026-11-23T01:00:00Z",
    }

    def write_log(self, home: Home) -> Path:
        log = task_log(home, self.INSTANCE)
        log.parent.mkdir(parents=True)
        error = {
            "level": "error",
            "event": "Task failed",
            "error_detail": [{"exc_type": "DataError", "exc_value": "the column is gone"}],
        }
        log.write_text(
            "\n".join([json.dumps({"level": "info", "event": "hello"}), json.dumps(error), "no json", "{}"]),
            encoding="utf-8",
        )
        return log

    def test_message_names_task_reason_log_and_remedy(self, tmp_path: Path) -> None:
        home = Home(folder=tmp_path)
        log = self.write_log(home)
        assert log.as_posix().endswith("dag_id=parcels.train/run_id=r1/task_id=tune/map_index=1/attempt=2.log")

        def answer(method: str, path: str, body: Any) -> tuple[int, Any]:
            return (201, {"access_token": "t"}) if path == "/auth/token" else (200, {"task_instances": [self.INSTANCE]})

        with server(answer) as url:
            message = explain_failure(home, AirflowClient(url, user="admin", password="p"), "parcels.train", "r1")
        assert message.splitlines()[:3] == [
            "parcels.train: task 'tune' failed (run r1, try 2)",
            "  said:  DataError: the column is gone",
            f"  log:   {log}",
        ]
        assert "`make demo` again" in message

    def test_missing_log_says_nothing(self, tmp_path: Path) -> None:
        assert last_error(tmp_path / "none.log") == ""

    def test_event_stands_in_for_an_exception(self, tmp_path: Path) -> None:
        (tmp_path / "a.log").write_text(json.dumps({"level": "critical", "event": "killed"}), encoding="utf-8")
        assert last_error(tmp_path / "a.log") == "killed"
