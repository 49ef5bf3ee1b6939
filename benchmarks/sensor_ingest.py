"""
Drain a queue of 20,000 readings: Updraft's collection, durable in the lake before each acknowledgement, beside a bare
paho loop that acknowledges on arrival and keeps nothing.

Each side runs in a process of its own, subscribed by a session of its own to the same messages; the sides alternate.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from statistics import median
from time import monotonic
from typing import Any

from benchmarks.report import Finding
from embedded.air_quality_broker import running_broker
from embedded.postgres import free_port
from include.settings import PROJECT_ROOT
from include.workflow import Partition, SensorSource, Target, Workflow

N_MESSAGES = 20_000
REPEAT = 3
SIDES = ("paho", "updraft")
FIELDS = {
    "device": "text",
    "number": "integer",
    "measured_at": "timestamp",
    "celsius": "number",
    "hectopascal": "number",
}


def measure() -> list[Finding]:
    """Messages a second of both sides, as a ratio within this run."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        (home / "expectations.json").write_text("{}", encoding="utf-8")
        with running_broker(home, port=free_port(), monitor_port=free_port()) as uri:
            seconds: dict[str, list[float]] = {side: [] for side in SIDES}
            for side in SIDES:
                _run(side, uri, home, "subscribe")
            for _ in range(REPEAT):
                _publish(uri)
                for side in SIDES:
                    seconds[side].append(_run(side, uri, home, "drain"))
    paho, updraft = (N_MESSAGES / median(seconds[side]) for side in SIDES)
    return [
        Finding(
            what="sensor ingest, durable: times a bare paho loop's messages a second",
            observed=updraft / paho,
            bound=0.7,
            at_least=True,
            note=f"{updraft:,.0f} beside {paho:,.0f} messages/s",
        )
    ]


def declare(folder: Path) -> Workflow:
    """A workflow of sensors whose readings are numbered."""
    source = SensorSource(
        conn_id="broker",
        topics=("plant/+/readings",),
        fields=FIELDS,
        device="device",
        event_time="measured_at",
        key=("device", "measured_at"),
        idle_seconds=2,
    )
    return Workflow(
        name="plant",
        description="Readings.",
        source=source,
        partition=Partition(every="day", start=date(2026, 1, 1)),
        target=Target(column="celsius", above=8),
        folder=folder,
    )


def _publish(uri: str) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    from include.sources.sensor.session import read_address

    address = read_address(uri)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="devices", protocol=mqtt.MQTTv311)
    client.username_pw_set(address.username, address.password)
    client.max_queued_messages_set(0)
    client.max_inflight_messages_set(1000)
    client.connect(address.host, address.port)
    client.loop_start()
    now = datetime.now(UTC)
    for number in range(N_MESSAGES):
        at = (now - timedelta(milliseconds=N_MESSAGES - number)).isoformat()
        reading = {
            "device": f"d{number % 100}",
            "number": number,
            "measured_at": at,
            "celsius": number % 40 / 2,
            "hectopascal": 1013.25,
        }
        sent = client.publish(f"plant/d{number % 100}/readings", json.dumps(reading), qos=1)
    sent.wait_for_publish(600)
    client.disconnect()
    client.loop_stop()


def _run(side: str, uri: str, folder: Path, what: str) -> float:
    environ = {**os.environ, "OMP_NUM_THREADS": "1", "BENCHMARK_URI": uri}
    command = [sys.executable, "-m", "benchmarks.sensor_ingest", side, what, str(folder)]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environ, cwd=PROJECT_ROOT)
    return float(done.stdout)


def _paho(uri: str, _folder: Path, n_messages: int) -> float:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    from include.sources.sensor.session import read_address

    address, seen = read_address(uri), [0]

    def count(*_: object) -> None:
        seen[0] += 1

    def subscribe(*_: Any) -> None:
        client.subscribe("plant/+/readings", qos=1)

    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="bare", clean_session=False, protocol=mqtt.MQTTv311)
    client.username_pw_set(address.username, address.password)
    client.on_message = count
    granted: list[object] = []
    client.on_subscribe = lambda *_: granted.append(True)
    client.on_connect = subscribe
    client.connect(address.host, address.port)
    start = monotonic()
    while seen[0] < n_messages or not granted:
        client.loop(1)
    seconds = monotonic() - start
    client.disconnect()
    return seconds


def _updraft(uri: str, folder: Path, n_messages: int) -> float:
    from include.lake.store import Lake
    from include.sources.sensor.collection import client_id_of, ensure_session
    from include.sources.sensor.drain import Drain
    from include.sources.sensor.session import read_address

    workflow = declare(folder)
    assert isinstance(workflow.source, SensorSource)
    source = workflow.source.model_copy(update={"max_messages": n_messages or 1})
    if not n_messages:
        ensure_session(source, workflow=workflow, connection_uri=uri)
        return 0.0
    lake = Lake(uri=str(folder / "lake"))
    start = monotonic()
    drain = Drain(
        source, workflow=workflow, address=read_address(uri), client_id=client_id_of(source, workflow), lake=lake
    )
    drained = drain.run()
    seconds = monotonic() - start
    if drained.n_messages != n_messages:
        raise RuntimeError(f"{drained.n_messages} of {n_messages} messages were drained")
    return seconds


if __name__ == "__main__":
    side, what, folder = sys.argv[1:]
    work = {"paho": _paho, "updraft": _updraft}[side]
    sys.stdout.write(f"{work(os.environ['BENCHMARK_URI'], Path(folder), N_MESSAGES if what == 'drain' else 0)}\n")
