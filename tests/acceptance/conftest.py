"""
What is really running: the stack of one whole `make demo`, which all these tests share. To bring one up, and to let it
idle, costs minutes.

Beside the project's Dags it has those of `alerts_dags.py`. The alerts are tried while the demo goes on, for they wait
most of their time; the stack's processes are killed at the end. `tests/conftest.py` sees to it that one worker runs all
of it, in the order of the files.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from embedded.airflow_env import stack_environment
from embedded.api_client import AirflowClient
from embedded.control import read_status, stop, wait_until_healthy
from embedded.home import Home
from include.lake.store import Lake, open_lake
from include.settings import PROJECT_ROOT, Settings, read_settings
from tests.acceptance.dag_files import ALERTING, copy_dags
from tests.acceptance.stack import AirflowStack, assert_ended, signed_in
from tests.acceptance.watched import DAYS, Watched, fill, wait_for
from tests.alerts.receivers import HookSink, MailSink, hook_sink, mail_sink, write_certificate
from tests.factories import START, declare_workflow, parcel_rows

# A stack waits most of its time, and with the default that takes a fifth of a core from the other tests.
IDLE_SECONDS = "0.5"
# Nothing that a Dag file imports changes here, and a Dag file that does is parsed at once.
PARSE_SECONDS = "120"
DEMO_SECONDS = 1200.0


@dataclass(frozen=True, kw_only=True)
class Running:
    """A demo that is under way or done, its Dag files, and whom the Dags of `alerts_dags.py` tell."""

    home: Home
    process: subprocess.Popen[str]
    environment: dict[str, str]
    folder: Path
    dags: Path
    mail: MailSink
    hook: HookSink
    naive: HookSink


@dataclass(frozen=True, kw_only=True)
class Demo:
    """A finished demo that is still up."""

    running: Running
    client: AirflowClient
    output: str

    @property
    def home(self) -> Home:
        """Its home."""
        return self.running.home

    @property
    def facts(self) -> dict[str, Any]:
        """`demo.json`."""
        facts: dict[str, Any] = json.loads(self.home.demo_file.read_text(encoding="utf-8"))
        return facts

    @property
    def settings(self) -> Settings:
        """The settings that its processes run with."""
        return read_settings(stack_environment(self.home))

    @property
    def lake(self) -> Lake:
        """Its lake."""
        return open_lake(self.settings)

    def run_again(self) -> subprocess.CompletedProcess[str]:
        """Run the demo once more."""
        return _embedded("demo", self.running.environment)


@pytest.fixture(scope="package")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A demo on a home of its own, just begun; that its end leaves no process is checked."""
    folder, home = tmp_path_factory.mktemp("source"), Home(folder=tmp_path_factory.mktemp("demo"))
    dags = copy_dags(tmp_path_factory.mktemp("dags"))
    declare_workflow(folder)
    for n, key in enumerate(DAYS):
        fill(folder / "parcels.db", parcel_rows(day=START + timedelta(days=n), n_rows=40), key=key)
    certificate = write_certificate(folder)
    with mail_sink(certificate=certificate) as mail, hook_sink() as hook, hook_sink(secret="") as naive:
        environment = {
            # The tests' own Airflow home must not reach the demo's processes.
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "UPDRAFT_HOME": str(home.folder),
            "UPDRAFT_DAGS_FOLDER": str(dags),
            "UPDRAFT_SCHEDULER_IDLE_SECONDS": IDLE_SECONDS,
            "UPDRAFT_DAG_PARSE_SECONDS": PARSE_SECONDS,
            "ALERTS_TEST_FOLDER": str(folder),
            "ALERTS_TEST_ADDRESS": f"http://127.0.0.1:{naive.port}/",
            "SSL_CERT_FILE": str(_trust(certificate)),
        }
        with (folder / "demo.log").open("w", encoding="utf-8") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "embedded", "demo"],
                env=environment, cwd=PROJECT_ROOT, stdin=subprocess.DEVNULL, stdout=output,
                stderr=subprocess.STDOUT, text=True,
            )  # fmt: skip
        try:
            yield Running(
                home=home,
                process=process,
                environment=environment,
                folder=folder,
                dags=dags,
                mail=mail,
                hook=hook,
                naive=naive,
            )
        finally:
            process.kill()
            process.wait()
            n_stopped = stop(home)
    assert_ended(home, n_stopped)


@pytest.fixture(scope="package")
def airflow_stack(running: Running) -> AirflowStack:
    """Its processes, all of them up, whatever the demo is about."""
    wait_for(lambda: running.process.poll() is not None or "api-server" in read_status(running.home).get("units", {}))
    wait_until_healthy(running.home)
    return AirflowStack(home=running.home, client=signed_in(running.home))


@pytest.fixture(scope="package")
def demo(running: Running, airflow_stack: AirflowStack) -> Demo:
    """The whole demo, done."""
    code = running.process.wait(timeout=DEMO_SECONDS)
    output = (running.folder / "demo.log").read_text(encoding="utf-8")
    assert code == 0, output[-6000:]
    return Demo(running=running, client=airflow_stack.client, output=output)


@pytest.fixture(scope="package")
def watched(running: Running, airflow_stack: AirflowStack) -> Watched:
    """The Dags of `alerts_dags.py`, ready to run."""
    folder, client = running.folder, airflow_stack.client
    connections = {
        "parcels_db": {"conn_type": "sqlite", "host": str(folder / "parcels.db")},
        "ops_mail": running.mail.settings(),
        "ops_hook": running.hook.settings(),
    }
    for conn_id, settings in connections.items():
        extra = json.dumps(settings.pop("extra", {}))
        client.call("POST", "connections", body={"connection_id": conn_id, **settings, "extra": extra})
    client.wait_for_dags({*ALERTING, "watch_parcels"})
    for dag_id in ALERTING:
        client.set_paused(dag_id, False)
    return Watched(stack=airflow_stack, folder=folder, mail=running.mail, hook=running.hook, naive=running.naive)


def _trust(certificate: Path) -> Path:
    """Put a certificate beside those that are trusted anyway: the demo fetches its data by HTTPS."""
    usual = ssl.get_default_verify_paths().cafile
    path = certificate.with_name("trusted.pem")
    path.write_bytes((Path(usual).read_bytes() if usual else b"") + certificate.read_bytes())
    return path


def _embedded(command: str, environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "embedded", command],
        env=environment, cwd=PROJECT_ROOT, capture_output=True, text=True, timeout=DEMO_SECONDS,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
