"""What the tests run in processes of their own."""

from __future__ import annotations

from typing import Any

from include.alerts.channels import open_channel
from include.alerts.composition import Composer
from include.alerts.letter import ChannelSettings
from include.alerts.outbox import Outbox
from include.lake.incidents import open_incidents
from include.lake.store import Lake


def outbox_of(arguments: Any) -> Outbox:
    """The outbox of "parcels", whose only channel is described by the arguments."""
    return Outbox(
        lake=Lake(uri=arguments["lake"]),
        workflow_name="parcels",
        channels=("ops_hook",),
        open_channel=lambda name: open_channel(ChannelSettings(name=name, **arguments["settings"])),
        compose=Composer(base_url="http://airflow.example.com"),
    )


def deliver(arguments: Any) -> int:
    """Send what is due."""
    return outbox_of(arguments).deliver().sent


def send_naively(arguments: Any) -> int:
    """The control: sends whatever is open, as a callback without a ledger does."""
    outbox = outbox_of(arguments)
    incidents = open_incidents(outbox.lake)
    for incident in incidents:
        outbox.open_channel("ops_hook").send(outbox.compose([incident], "alert"))
    return len(incidents)
