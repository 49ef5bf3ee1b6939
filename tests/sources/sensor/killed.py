"""
A process that forks a child a line of its input, and tells what became of it: `python -m tests.sources.sensor.killed
<what> <json>`.

It has imported everything and touched no table, so that a child costs little and inherits no thread. A child collects
(`collect`), or subscribes as most programs do (`naive`): acknowledging on arrival, into a buffer that it means to write
later.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from include.lake.store import Lake
from include.sources.kinds import collect
from include.sources.sensor.session import read_address
from include.workflow import Workflow
from include.workflow.partitions import window_of_moment
from tests.crashes import KILLED, start_module
from tests.sources.sensor.stations import declare


class Forking:
    """The other side of a process that runs `main`."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def run(self, crash_at: str = "") -> tuple[int, int]:
        """
        Have a child killed at a point (none: let it end); gives its exit code, and how many messages it had in its
        buffer, if naive.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(f"{crash_at}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, self._process.communicate()[1][-2000:]
        code, n_buffered = json.loads(line)
        return code, n_buffered

    def run_until_killed(self, crash_at: str) -> None:
        """Run children until one dies at a point: one whom a busy broker gives nothing for a while ends by itself."""
        for _ in range(20):
            code, _ = self.run(crash_at)
            if code == KILLED:
                return
            assert code == 0
        raise AssertionError(f"{crash_at} was not reached")


@contextlib.contextmanager
def forking(
    what: str, workflow: Workflow, lake: Lake, uri: str, today: datetime, *, n_buffer: int = 0
) -> Iterator[Forking]:
    facts: dict[str, Any] = {
        "folder": str(workflow.folder),
        "start": str(workflow.partition.start),
        "lake": lake.uri,
        "uri": uri,
    }
    facts |= {"today": str(today), "n_buffer": n_buffer}
    process = start_module("tests.sources.sensor.killed", what, json.dumps(facts), stdin=subprocess.PIPE)
    try:
        yield Forking(process)
    finally:
        process.kill()
        process.communicate()


def main(what: str, facts: dict[str, Any]) -> None:
    """Read points, a line each."""
    workflow = declare(Path(facts["folder"]), start=date.fromisoformat(facts["start"]), idle_seconds=5)
    work = {"collect": _collect, "naive": _subscribe_naively}[what]
    for line in sys.stdin:
        read_end, write_end = os.pipe()
        child = os.fork()
        if not child:
            os.environ["UPDRAFT_CRASH_AT"] = line.strip()
            try:
                work(workflow, facts, write_end)
                os._exit(0)
            except BaseException as error:
                sys.stderr.write(f"{error!r}\n")
                sys.stderr.flush()
                os._exit(1)
        os.close(write_end)
        with os.fdopen(read_end) as said:
            n_buffered = int(said.read() or 0)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        sys.stdout.write(json.dumps([code, n_buffered]) + "\n")
        sys.stdout.flush()


def _collect(workflow: Workflow, facts: dict[str, Any], _write_end: int) -> None:
    window = window_of_moment("day", datetime.fromisoformat(facts["today"]))
    collect(
        workflow.source,
        workflow=workflow,
        window=window,
        connection_uri=facts["uri"],
        lake=Lake(uri=facts["lake"]),
        token=1,
    )


def _subscribe_naively(workflow: Workflow, facts: dict[str, Any], write_end: int) -> None:
    address, buffer = read_address(facts["uri"]), []
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="naive", clean_session=False, protocol=mqtt.MQTTv311)
    client.username_pw_set(address.username, address.password)
    client.on_connect = lambda *_: client.subscribe([(topic, 1) for topic in workflow.source.topics])
    client.on_message = lambda _client, _data, message: buffer.append(message.payload)
    client.connect(address.host, address.port)
    give_up_at = time.monotonic() + (60 if os.environ["UPDRAFT_CRASH_AT"] else 5)
    while len(buffer) < facts["n_buffer"] and time.monotonic() < give_up_at:
        client.loop(0.1)
    os.write(write_end, str(len(buffer)).encode())
    if os.environ["UPDRAFT_CRASH_AT"]:
        os.kill(os.getpid(), signal.SIGKILL)
    client.disconnect()


if __name__ == "__main__":
    main(sys.argv[1], json.loads(sys.argv[2]))
