"""
Drives the Dags of one workflow through Airflow's REST API, as a person would in the web UI, and only as far as needed.

History comes first, while training is paused: Airflow drops an asset event whose consumer is paused, so that nine weeks
of history start no nine trainings. Then the last complete period is backfilled with training unpaused: its roll-up
starts exactly one.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from embedded.api_client import FINISHED, AirflowClient
from embedded.failures import explain_failure, last_error, task_log
from embedded.home import Home
from embedded.progress import Progress
from embedded.training_calendar import TrainingCalendar
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow

POLL_SECONDS = 1.0
# Nothing has changed for so long: better a clear end than an endless wait.
STALL_SECONDS = 900.0
ACTIVE_RUNS = 8

Run = dict[str, Any]


class DemoError(Exception):
    """Raised when the loop can't be completed; the message names what failed, its log and the remedy."""


class Loop:
    """One workflow's Dags in one Airflow."""

    def __init__(self, home: Home, client: AirflowClient, workflow: Workflow, progress: Progress) -> None:
        self.home = home
        self.client = client
        self.workflow = workflow
        self.progress = progress
        self._told: set[tuple[str, str]] = set()

    def dag_id(self, step: str) -> str:
        """Id of one of the four Dags."""
        return f"{self.workflow.name}.{step}"

    def prepare(self) -> None:
        """Wait until Airflow knows the Dags, and let ingestion run."""
        self.progress.tell("waiting until Airflow has parsed the Dags")
        self.client.wait_for_dags({self.dag_id(step) for step in ("ingest", "train", "deploy", "monitor")})
        self.client.set_paused(self.dag_id("ingest"), False)

    def ingest(self, calendar: TrainingCalendar) -> None:
        """
        Bring in what is missing: history without trainings, then the last complete period, which starts
        its training.
        """
        self.collect(calendar)
        missing = self._missing(calendar.history)
        if missing:
            self.client.set_paused(self.dag_id("train"), True)
            self._backfill(missing, reprocess="failed")
        for step in ("deploy", "monitor", "train"):
            self.client.set_paused(self.dag_id(step), False)
        if self.training_run(calendar) is None:
            # All of the period's partitions again: the roll-up counts only events that came after training was
            # unpaused.
            self._backfill(calendar.recent, reprocess="completed")
        elif missing := self._missing(calendar.recent):
            self._backfill(missing, reprocess="failed")

    def collect(self, calendar: TrainingCalendar) -> None:
        """Ask an archived source, by the run of a partition that is missing: the backfill that follows asks nobody."""
        if self.workflow.source.replay != "archived":
            return
        # That of an earlier try may go on: it and a run of ours would fence each other off.
        self._wait_for_backfills()
        missing = self._missing([*calendar.history, *calendar.recent])
        if not missing:
            return
        self.client.set_paused(self.dag_id("train"), True)
        self.progress.tell("asking the source")
        run_id = self.client.trigger(self.dag_id("ingest"), partition_key=missing[0].key, conf={"collect": True})
        self._finish("ingest", self.client.run(self.dag_id("ingest"), run_id))

    def train(self, calendar: TrainingCalendar) -> Run:
        """Wait for the training of the last complete period, and return its run."""
        self._wait(lambda: self.training_run(calendar), "waiting for the week's training to start")
        run = self.training_run(calendar)
        return self._finish("train", run or {})

    def deploy(self, training: Run) -> Run | None:
        """Wait for the deployment of what a training registered; None if the gate refused it."""
        instances = self.client.task_instances(self.dag_id("train"), training["dag_run_id"])
        if not any(ti["task_id"] == "register" and ti["state"] == "success" for ti in instances):
            return None

        def find() -> Run | None:
            runs = self.client.runs(self.dag_id("deploy"), run_after_gte=training["start_date"])
            return runs[0] if runs else None

        self._wait(find, "waiting for the deployment to start")
        return self._finish("deploy", find() or {})

    def training_run(self, calendar: TrainingCalendar) -> Run | None:
        """Find the training run of the last complete period; the newest, if there are several."""
        runs = [run for run in self.client.runs(self.dag_id("train")) if run["partition_key"] == calendar.period.key]
        return runs[-1] if runs else None

    def _finish(self, step: str, run: Run) -> Run:
        dag_id, run_id = self.dag_id(step), run["dag_run_id"]
        if run["state"] == "failed":
            self.progress.tell("an earlier try failed: clearing its failed tasks")
            body = {"dry_run": False, "dag_run_id": run_id, "only_failed": True, "reset_dag_runs": True}
            self.client.call("POST", f"dags/{dag_id}/clearTaskInstances", body=body)
            run = self.client.run(dag_id, run_id)

        def state() -> tuple[str, bool]:
            current = self.client.run(dag_id, run_id)
            instances = self.client.task_instances(dag_id, run_id)
            self._tell_retries(instances)
            # A run that waits for a person's answer goes no further by itself.
            is_asking = any(instance["state"] == "awaiting_input" for instance in instances)
            return _describe_tasks(instances), is_asking or current["state"] in FINISHED

        self._follow(state)
        run = self.client.run(dag_id, run_id)
        self._raise_if_failed(step, [run])
        return run

    def _tell_retries(self, instances: Sequence[dict[str, Any]]) -> None:
        for instance in instances:
            name = f"{instance['task_id']}, try {instance['try_number']}"
            if instance["state"] == "up_for_retry" and (instance["dag_run_id"], name) not in self._told:
                self._told.add((instance["dag_run_id"], name))
                said = last_error(task_log(self.home, instance)).partition("\n")[0]
                self.progress.tell(f"{name} failed, and will be retried: {said}")

    def _missing(self, windows: Sequence[PartitionWindow]) -> list[PartitionWindow]:
        done = {run["partition_key"] for run in self.client.runs(self.dag_id("ingest"), state="success")}
        return [window for window in windows if window.key not in done]

    def _backfill(self, windows: Sequence[PartitionWindow], *, reprocess: str) -> None:
        if not windows:
            return
        dag_id = self.dag_id("ingest")
        known = {run["dag_run_id"] for run in self.client.runs(dag_id) if run["state"] in FINISHED}
        self._wait_for_backfills()
        bounds = {"start": windows[0].start.isoformat(), "end": windows[-1].start.isoformat()}
        backfill = self.client.backfill(dag_id, **bounds, max_active_runs=ACTIVE_RUNS, reprocess=reprocess)
        span = f"{windows[0].key} to {windows[-1].key}"

        def state() -> tuple[str, bool]:
            runs = [run for run in self.client.runs(dag_id, run_type="backfill") if run["dag_run_id"] not in known]
            self._raise_if_failed("ingest", runs)
            done = len(
                {run["partition_key"] for run in runs if run["state"] == "success"} & {window.key for window in windows}
            )
            is_over = self.client.call("GET", f"backfills/{backfill}")["completed_at"] is not None
            return f"backfill {span}:|{done} of {len(windows)} partitions", is_over and all(
                run["state"] in FINISHED for run in runs
            )

        self._follow(state)

    def _wait_for_backfills(self) -> None:
        """
        Airflow takes one backfill a Dag at a time. Scheduled runs are not waited for: they may wait for late rows, for
        hours.
        """
        dag_id = self.dag_id("ingest")

        def state() -> tuple[str, bool]:
            backfills = self.client.call("GET", "backfills", dag_id=dag_id, order_by="-id")["backfills"]
            if all(backfill["completed_at"] for backfill in backfills):
                return "no backfill is under way", True
            n_done = len(self.client.runs(dag_id, run_type="backfill", state="success"))
            return f"waiting for a backfill that is under way:|{n_done} runs are done", False

        self._follow(state)

    def _wait(self, find: Callable[[], object], text: str) -> None:
        self._follow(lambda: (text, find() is not None))

    def _follow(self, state: Callable[[], tuple[str, bool]]) -> None:
        last, changed = "", time.monotonic()
        while True:
            text, is_over = state()
            if text != last:
                last, changed = text, time.monotonic()
            if is_over:
                return
            fixed, _, count = text.partition("|")
            self.progress.tell(fixed, count=count)
            if time.monotonic() - changed > STALL_SECONDS:
                raise DemoError(
                    f"nothing has moved for {STALL_SECONDS / 60:g} minutes: {text.replace('|', ' ')}\n"
                    f"Look at {self.client.url}, and at `make status`. `make demo` takes up where this stopped."
                )
            time.sleep(POLL_SECONDS)

    def _raise_if_failed(self, step: str, runs: Sequence[Run]) -> None:
        for run in runs:
            if run["state"] == "failed":
                raise DemoError(explain_failure(self.home, self.client, self.dag_id(step), run["dag_run_id"]))


def _describe_tasks(instances: Sequence[dict[str, Any]]) -> str:
    """Say which tasks run, and how many are done: `tune (1 of 6 tasks done)`."""
    busy = sorted({ti["task_id"] for ti in instances if ti["state"] in {"running", "queued", "up_for_retry"}})
    retries = sorted({ti["task_id"] for ti in instances if ti["state"] == "up_for_retry"})
    done = sum(ti["state"] in {"success", "skipped"} for ti in instances)
    text = ", ".join(f"{task} (will be retried)" if task in retries else task for task in busy) or "scheduling"
    return f"{text}|({done} of {len(instances)} tasks done)"
