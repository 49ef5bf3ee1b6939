"""
A real MQTT broker for tests: nats-server with JetStream, or mosquitto, in a folder of its own, on a free
loopback port.
"""

from __future__ import annotations

import contextlib
import getpass
import json
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion

from embedded.postgres import free_port

START_TIMEOUT_SECONDS = 20
USER, PASSWORD = "updraft", "a pass/word"


class Broker:
    """A server that can be stopped, killed and started again on the same port and folder."""

    def __init__(self, folder: Path, **options: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._port, self._monitor = folder, free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._command = self._configure(**options)

    def _configure(self, *, max_ack_pending: int = 1024) -> list[str]:
        """Write the server's settings; its command."""
        settings = self._folder / "nats.conf"
        settings.write_text(
            f'server_name: "test"\nlisten: "127.0.0.1:{self._monitor}"\n'
            f'jetstream {{ store_dir: "{self._folder / "store"}" }}\n'
            f'mqtt {{ listen: "127.0.0.1:{self._port}", max_ack_pending: {max_ack_pending} }}\n'
            f'authorization {{ users: [ {{ user: "{USER}", password: "{PASSWORD}" }} ] }}\n',
            encoding="utf-8",
        )
        return [str(Path(sys.executable).with_name("nats-server")), "-c", str(settings)]

    @property
    def uri(self) -> str:
        """What an Airflow connection to it would give."""
        return f"mqtt://{USER}:a%20pass%2Fword@127.0.0.1:{self._port}/"

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, start_new_session=True)
        give_up_at = time.monotonic() + START_TIMEOUT_SECONDS
        while time.monotonic() < give_up_at:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            time.sleep(0.02)
        raise RuntimeError((self._folder / "log").read_text(errors="replace")[-1500:])

    def stop(self, *, kill: bool = False) -> None:
        if self._process is not None:
            self._process.kill() if kill else self._process.terminate()
            self._process.wait()
            self._process = None

    def forget(self) -> None:
        """Lose all that is on disk, sessions and messages; the server has to be down."""
        shutil.rmtree(self._folder / "store")

    def limit_queue(self, n_messages: int) -> None:
        """
        Keep no more than the newest messages of each topic, as a bounded queue does. A client must have connected
        before.
        """
        found = self._ask("STREAM.INFO.$MQTT_msgs", None)
        self._ask("STREAM.UPDATE.$MQTT_msgs", {**found["config"], "max_msgs_per_subject": n_messages})

    def _ask(self, what: str, question: dict[str, Any] | None) -> dict[str, Any]:
        """Ask JetStream's own interface, in NATS's protocol."""
        body = b"" if question is None else json.dumps(question).encode()
        login = json.dumps({"user": USER, "pass": PASSWORD, "verbose": False, "pedantic": False}).encode()
        with (
            socket.create_connection(("127.0.0.1", self._monitor), timeout=20) as connection,
            connection.makefile("rb") as stream,
        ):
            connection.sendall(b"CONNECT " + login + b"\r\nSUB answer 1\r\n")
            connection.sendall(f"PUB $JS.API.{what} answer {len(body)}\r\n".encode() + body + b"\r\n")
            for line in stream:
                if line.startswith(b"MSG answer"):
                    answer: dict[str, Any] = json.loads(stream.read(int(line.split()[-1])))
                    if "error" in answer:
                        raise RuntimeError(answer["error"])
                    return answer
        raise RuntimeError(f"no answer to {what}")

    def publish(self, messages: Iterable[tuple[str, bytes]]) -> int:
        """Publish with QoS 1 and wait until the broker has taken all."""
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id="devices", protocol=mqtt.MQTTv311)
        client.username_pw_set(USER, PASSWORD)
        client.max_queued_messages_set(0)
        client.max_inflight_messages_set(1000)
        client.connect("127.0.0.1", self._port)
        client.loop_start()
        try:
            sent = [client.publish(topic, payload, qos=1) for topic, payload in messages]
            for info in sent:
                info.wait_for_publish(60)
            assert all(info.is_published() for info in sent)
        finally:
            client.disconnect()
            client.loop_stop()
        return len(sent)


class Mosquitto(Broker):
    """The broker of most who run one. By its own defaults it would keep 1,000 messages of a queue."""

    def _configure(self, *, max_ack_pending: int = 100, max_queued: int = 0) -> list[str]:
        settings, passwords = self._folder / "mosquitto.conf", self._folder / "passwords"
        subprocess.run(
            ["mosquitto_passwd", "-b", "-c", str(passwords), USER, PASSWORD], check=True, capture_output=True
        )
        (self._folder / "store").mkdir()
        settings.write_text(
            f"listener {self._port} 127.0.0.1\nallow_anonymous false\npassword_file {passwords}\nuser "
            f"{getpass.getuser()}\n"
            f"persistence true\npersistence_location {self._folder / 'store'}/\n"
            f"max_inflight_messages {max_ack_pending}\nmax_queued_messages {max_queued}\n",
            encoding="utf-8",
        )
        return ["mosquitto", "-c", str(settings)]


@contextlib.contextmanager
def running_broker(folder: Path, *, kind: type[Broker] = Broker, **options: int) -> Iterator[Broker]:
    """Run a broker for the length of a `with` block."""
    broker = kind(folder, **options)
    broker.start()
    try:
        yield broker
    finally:
        broker.stop(kill=True)


def as_json(reading: dict[str, Any]) -> bytes:
    return json.dumps(reading, default=str).encode()
