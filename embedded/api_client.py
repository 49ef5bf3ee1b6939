"""
Airflow's REST API v2, as far as the demo and the tests need it. Every call has a timeout; a restarting server is waited
for.
"""

from __future__ import annotations

import time
from typing import Any
from urllib.parse import quote

import requests

TIMEOUT_SECONDS = 180.0  # making a backfill of 56 days took 41 s on a busy machine
# Longer than an API server needs to come back on two busy cores; with ten times as much work as cores one was away for
# three minutes.
RETRY_SECONDS = 300.0
# A second call does no more than the first. A repeated POST could start a second run.
REPEATABLE = frozenset({"GET", "PATCH"})
FINISHED = frozenset({"success", "failed"})


class AirflowApiError(Exception):
    """Raised when Airflow refuses a call; the message holds its explanation."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status


class AirflowClient:
    """A signed-in user of one Airflow."""

    def __init__(self, url: str, *, user: str, password: str) -> None:
        self.url = url
        self.user = user
        self._password = password
        self._session = requests.Session()
        # A proxy of the user's must not see the loopback, nor a .netrc add credentials.
        self._session.trust_env = False

    def call(self, method: str, path: str, *, body: Any = None, **params: Any) -> Any:
        """
        Call one route below `/api/v2/` and return its JSON.

        When the server is away, only what does the same twice is repeated: reads, and changes to a given state.
        """
        deadline = time.monotonic() + RETRY_SECONDS
        while True:
            try:
                response = self._send(method, path, body, params)
            except requests.RequestException as error:
                if method not in REPEATABLE or time.monotonic() > deadline:
                    raise AirflowApiError(
                        f"{method} {path}: Airflow does not answer ({type(error).__name__})"
                    ) from None
            else:
                if response.status_code < 500 or method not in REPEATABLE or time.monotonic() > deadline:
                    return _result(method, path, response)
            time.sleep(1)

    def dag_ids(self) -> set[str]:
        """Every Dag that Airflow knows."""
        return {dag["dag_id"] for dag in self.call("GET", "dags", limit=100)["dags"]}

    def import_errors(self) -> list[dict[str, Any]]:
        """Dag files that could not be parsed."""
        errors: list[dict[str, Any]] = self.call("GET", "importErrors", limit=100)["import_errors"]
        return errors

    def is_paused(self, dag_id: str) -> bool:
        """Tell whether a Dag is paused."""
        return bool(self.call("GET", f"dags/{dag_id}")["is_paused"])

    def set_paused(self, dag_id: str, is_paused: bool) -> None:
        """Pause or unpause a Dag."""
        self.call("PATCH", f"dags/{dag_id}", body={"is_paused": is_paused})

    def trigger(self, dag_id: str, *, partition_key: str | None = None, conf: dict[str, Any] | None = None) -> str:
        """Trigger a run by hand and return its run id."""
        body = {"logical_date": None, "conf": conf or {}} | ({"partition_key": partition_key} if partition_key else {})
        return str(self.call("POST", f"dags/{dag_id}/dagRuns", body=body)["dag_run_id"])

    def backfill(self, dag_id: str, *, start: str, end: str, max_active_runs: int = 8, reprocess: str = "none") -> int:
        """
        Backfill the partitions that begin between `start` and `end`, both included (ISO text), and return the
        backfill's id.
        """
        bounds = {"from_date": _moment(start), "to_date": _moment(end)}
        body = {
            "dag_id": dag_id,
            **bounds,
            "max_active_runs": max_active_runs,
            "reprocess_behavior": reprocess,
            "run_backwards": False,
        }
        return int(self.call("POST", "backfills", body=body)["id"])

    def runs(self, dag_id: str, **params: Any) -> list[dict[str, Any]]:
        """All runs of a Dag, oldest first."""
        found: list[dict[str, Any]] = []
        while True:
            page = self.call(
                "GET", f"dags/{dag_id}/dagRuns", limit=100, offset=len(found), order_by="run_after", **params
            )
            found += page["dag_runs"]
            if not page["dag_runs"] or len(found) >= page["total_entries"]:
                return found

    def run(self, dag_id: str, run_id: str) -> dict[str, Any]:
        """One run."""
        found: dict[str, Any] = self.call("GET", f"dags/{dag_id}/dagRuns/{quote(run_id)}")
        return found

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Task instances of a run."""
        path = f"dags/{dag_id}/dagRuns/{quote(run_id)}/taskInstances"
        instances: list[dict[str, Any]] = self.call("GET", path, limit=100)["task_instances"]
        return instances

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout_seconds: float = 300) -> dict[str, Any]:
        """Wait until a run has finished, and return it."""
        deadline = time.monotonic() + timeout_seconds
        while (run := self.run(dag_id, run_id))["state"] not in FINISHED:
            if time.monotonic() > deadline:
                raise AirflowApiError(f"{dag_id} {run_id} is still {run['state']} after {timeout_seconds:g} s")
            time.sleep(0.5)
        return run

    def wait_for_dags(self, dag_ids: set[str], *, timeout_seconds: float = 120) -> None:
        """Wait until Airflow has parsed all of these Dags."""
        deadline = time.monotonic() + timeout_seconds
        while missing := dag_ids - self.dag_ids():
            errors = self.import_errors()
            if errors:
                last_line = str(errors[0]["stack_trace"]).strip().splitlines()[-1]
                raise AirflowApiError(f"{errors[0]['filename']} can't be parsed: {last_line}")
            if time.monotonic() > deadline:
                raise AirflowApiError(f"Airflow has not found {', '.join(sorted(missing))} after {timeout_seconds:g} s")
            time.sleep(0.5)

    def _send(self, method: str, path: str, body: Any, params: dict[str, Any]) -> requests.Response:
        if "Authorization" not in self._session.headers:
            self._sign_in()
        url = f"{self.url}/api/v2/{path}"
        response = self._session.request(method, url, json=body, params=params, timeout=TIMEOUT_SECONDS)
        if response.status_code == 401:  # the token has run out
            self._sign_in()
            response = self._session.request(method, url, json=body, params=params, timeout=TIMEOUT_SECONDS)
        return response

    def _sign_in(self) -> None:
        login = {"username": self.user, "password": self._password}
        response = self._session.post(f"{self.url}/auth/token", json=login, timeout=TIMEOUT_SECONDS)
        if response.status_code >= 500:
            raise requests.ConnectionError("the API server is not ready")
        if response.status_code != 201:
            raise AirflowApiError(
                f"Airflow refuses the sign-in of {self.user!r} ({response.status_code})", status=response.status_code
            )
        self._session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"


def _moment(text: str) -> str:
    """Midnight UTC of a date; a moment as it is."""
    return f"{text}T00:00:00Z" if len(text) == len("2026-11-23") else text


def _result(method: str, path: str, response: requests.Response) -> Any:
    if response.ok:
        return response.json() if response.content else None
    try:
        detail = response.json().get("detail")
    except (ValueError, AttributeError):
        detail = response.text[:200]
    raise AirflowApiError(f"{method} {path}: {response.status_code} {detail}", status=response.status_code)
