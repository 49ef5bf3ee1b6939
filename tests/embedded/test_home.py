"""Ports and secrets: chosen once, kept, closed to others."""

from __future__ import annotations

import socket
import stat
from pathlib import Path

import pytest

from embedded.home import PORT_NAMES, PORT_RANGE, Home, choose_ports, is_free, prepare_home, read_json, write_json


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(folder=tmp_path / "state")
    prepare_home(home)
    return home


def test_secrets_are_long_and_private(home: Home) -> None:
    assert len(home.secrets["jwt_secret"]) >= 64
    assert len(home.secrets["fernet_key"]) == 44
    for name in ("secrets.json", "ports.json", "airflow/passwords.json"):
        assert stat.S_IMODE((home.folder / name).stat().st_mode) == 0o600, name
    assert stat.S_IMODE(home.folder.stat().st_mode) == 0o700


def test_second_start_draws_nothing_new(home: Home) -> None:
    secrets = home.secrets
    choose_ports(home)
    ports = home.ports
    prepare_home(home)
    assert choose_ports(home) == []
    assert (home.secrets, home.ports) == (secrets, ports)


def test_missing_secret_is_added_beside_the_others(home: Home) -> None:
    kept = home.secrets["fernet_key"]
    write_json(home.folder / "secrets.json", {"fernet_key": kept})
    prepare_home(home)
    assert home.secrets["fernet_key"] == kept
    assert set(home.secrets) == {"fernet_key", "jwt_secret", "api_secret_key", "admin_password", "endpoint_token"}


def test_airflow_gets_the_password(home: Home) -> None:
    assert read_json(home.airflow / "passwords.json") == {"admin": home.secrets["admin_password"]}


def test_taken_port_moves_and_the_others_stay(home: Home) -> None:
    choose_ports(home)
    before = home.ports
    with socket.create_server(("127.0.0.1", before["airflow"])):
        assert not is_free(before["airflow"])
        assert choose_ports(home) == ["airflow"]
    after = home.ports
    assert after["airflow"] not in before.values()
    assert {name: after[name] for name in PORT_NAMES if name != "airflow"} == {
        n: p for n, p in before.items() if n != "airflow"
    }


def test_two_homes_choose_different_ports(home: Home, tmp_path: Path) -> None:
    """Even before either listens: both may start at the same moment."""
    other = Home(folder=tmp_path / "other")
    prepare_home(other)
    for each in (home, other):
        choose_ports(each)
    assert not set(home.ports.values()) & set(other.ports.values())
    assert set(home.ports.values()) | set(other.ports.values()) <= set(PORT_RANGE)


def test_missing_json_is_empty(tmp_path: Path) -> None:
    assert read_json(tmp_path / "none.json") == {}
