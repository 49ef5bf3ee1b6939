"""Servers that are told, and a lake with incidents to tell of."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from include.alerts.channels import open_channel
from include.alerts.composition import Composer
from include.alerts.letter import ChannelSettings
from include.alerts.outbox import Outbox
from include.lake.store import Lake
from tests.alerts.receivers import HookSink, MailSink, hook_sink, mail_sink, write_certificate


@pytest.fixture
def lake(tmp_path: Path) -> Lake:
    """An empty lake in a folder."""
    return Lake(uri=str(tmp_path / "lake"))


@pytest.fixture
def certificate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A certificate for localhost that this process trusts."""
    path = write_certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    return path


@pytest.fixture
def mail(certificate: Path) -> Iterator[MailSink]:
    """A mail server that demands STARTTLS and a login."""
    with mail_sink(certificate=certificate) as sink:
        yield sink


@pytest.fixture
def hook() -> Iterator[HookSink]:
    """A web hook's receiver that checks signatures."""
    with hook_sink() as sink:
        yield sink


@pytest.fixture
def outbox(lake: Lake, hook: HookSink) -> Outbox:
    """The outbox of "parcels", whose only channel is the web hook."""
    return Outbox(
        lake=lake,
        workflow_name="parcels",
        channels=("ops_hook",),
        open_channel=lambda name: open_channel(ChannelSettings(name=name, **hook.settings())),
        compose=Composer(base_url="http://airflow.example.com"),
    )
