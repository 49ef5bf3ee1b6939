"""
A stack whose Dags tell a mail server and a web hook of what goes wrong: runs to start, hold and kill; and what was
told.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil
import pyarrow as pa
import pyarrow.compute as pc

from include.lake.store import Lake, open_lake
from include.settings import read_settings
from tests.acceptance.stack import AirflowStack
from tests.alerts.receivers import HookSink, MailSink
from tests.factories import START, parcel_rows

WAIT_SECONDS = 300.0
DAYS = GOOD, REFUSED, KILLED, RETRIED, LOST = tuple(f"{START + timedelta(days=n):%Y-%m-%d}" for n in range(5))
# One row, whose depot is a person's name.
WRONG = parcel_rows(day=START + timedelta(days=1), n_rows=1).set_column(3, "depot", pa.array(["Jane Roe"]))


@dataclass(frozen=True, kw_only=True)
class Watched:
    """A stack, whom it tells, and the source that its Dags read."""

    stack: AirflowStack
    folder: Path
    mail: MailSink
    hook: HookSink
    naive: HookSink

    @property
    def lake(self) -> Lake:
        return open_lake(read_settings(self.stack.environment))

    def start(self, dag_id: str, key: str) -> str:
        """Start a run, once the Dag is there: a busy Dag processor lets Dags go stale for a while."""
        self.stack.client.wait_for_dags({dag_id}, timeout_seconds=WAIT_SECONDS)
        return self.stack.client.trigger(dag_id, conf={} if dag_id == "naive" else {"partition": key})

    def wait_for_rounds(self, n: int) -> None:
        """Wait until so many more rounds of the watchdog have begun and ended well."""
        before = {run["dag_run_id"] for run in self.stack.client.runs("watch_parcels")}

        def count() -> bool:
            runs = self.stack.client.runs("watch_parcels")
            return sum(run["state"] == "success" and run["dag_run_id"] not in before for run in runs) >= n

        wait_for(count)

    def hold(self, dag_id: str, key: str) -> Path:
        """Let the tasks of a run wait; they go on when the file is gone."""
        path = self.folder / f"hold-{dag_id}-{key}"
        path.touch()
        return path

    def kill(self, dag_id: str, run_id: str, *, with_worker: bool = False) -> float:
        """
        Kill the process of the run's running task, and with it the worker that supervises it, as a lost machine does;
        return when.
        """

        def running() -> int | None:
            found = [
                t for t in self.stack.client.task_instances(dag_id, run_id) if t["state"] == "running" and t["pid"]
            ]
            return int(found[0]["pid"]) if found else None

        pid = wait_for(running)
        # The worker first: it would tell of the task's end.
        for doomed in [psutil.Process(pid).ppid(), pid] if with_worker else [pid]:
            os.kill(doomed, signal.SIGKILL)
        return time.monotonic()

    def told(self, key: str) -> tuple[list[str], list[str]]:
        """The subjects of the mails and the web hook's messages about one partition."""
        return [s for s in self.mail.subjects if key in s], [s for s in self.hook.texts if key in s]

    def heard_at(self, key: str) -> float:
        """When the later of the two channels first heard of a partition."""
        told = (
            zip(self.mail.subjects, self.mail.arrivals, strict=True),
            zip(self.hook.texts, self.hook.arrivals, strict=True),
        )
        return max(min(at for subject, at in heard if key in subject) for heard in told)


def wait_for(ask: Callable[[], Any], *, seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := ask()):
        assert time.monotonic() < deadline, f"{ask} is still {found!r} after {seconds:g} seconds"
        time.sleep(0.1)
    return found


def fill(path: Path, rows: pa.Table, *, key: str) -> None:
    """Put one day of rows into the source, in place of what it had of that day."""
    columns = {
        n: pc.strftime(rows[n], "%Y-%m-%d %H:%M:%S") if pa.types.is_timestamp(rows[n].type) else rows[n]
        for n in rows.column_names
    }
    with sqlite3.connect(path) as connection:
        connection.execute(
            "CREATE TABLE IF NOT EXISTS parcels (parcel_id INTEGER, sent_at TIMESTAMP, recorded_at TIMESTAMP, depot "
            "TEXT, distance_km REAL, weight_kg REAL, is_late BOOLEAN)"
        )
        connection.execute("DELETE FROM parcels WHERE substr(sent_at, 1, 10) = ?", [key])
        values = zip(*(column.to_pylist() for column in columns.values()), strict=True)
        connection.executemany("INSERT INTO parcels VALUES (?, ?, ?, ?, ?, ?, ?)", list(values))
    connection.close()
