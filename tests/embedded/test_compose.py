"""
The team's server, read as text: no default password, nothing beyond the loopback, everything restarted
and watched.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from include.settings import PROJECT_ROOT

COMPOSE = PROJECT_ROOT / "docker-compose.yaml"
SECRET_NAME = re.compile(r"PASSWORD|SECRET|TOKEN|FERNET|_KEY$")
REFERENCE = re.compile(r"\$\{([A-Z0-9_]+)(:[?-])?([^}]*)\}")
# Made by themselves once, and end.
ONE_SHOT = {"airflow-init", "mlflow-init"}


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))["services"]
    return found


def find_problems(services: dict[str, Any]) -> list[str]:
    """List what a reviewer would refuse; a compose file without problems gives none."""
    problems = []
    for name, service in services.items():
        for variable, value in (service.get("environment") or {}).items():
            text = "" if value is None else str(value)
            if SECRET_NAME.search(variable) and value is not None and not REFERENCE.fullmatch(text):
                problems.append(f"{name}: {variable} is written out")
            problems += [
                f"{name}: {variable} holds a password"
                for _ in re.findall(r"://[^/@]*:[^/@]+@", REFERENCE.sub("", text))
            ]
            for reference, operator, default in REFERENCE.findall(text):
                if SECRET_NAME.search(reference) and (operator != ":?" or not default):
                    problems.append(f"{name}: {reference} may be empty")
        problems += [
            f"{name}: port {port} is published widely"
            for port in service.get("ports", [])
            if not str(port).startswith("127.0.0.1:")
        ]
        if name not in ONE_SHOT:
            if service.get("restart") != "unless-stopped":
                problems.append(f"{name}: nothing restarts it")
            if not service.get("healthcheck", {}).get("test"):
                problems.append(f"{name}: nothing watches it")
    return problems


def test_compose_file_has_no_problem(services: dict[str, Any]) -> None:
    assert find_problems(services) == []


def test_careless_file_is_caught() -> None:
    """The control: Airflow's own example file, in short, fails on every count."""
    careless = {
        "postgres": {
            "environment": {
                "POSTGRES_PASSWORD": "airflow",
                "URL": "postgresql://airflow:airflow@db/x",
                "TOKEN": "${A_TOKEN:-}",
            },
            "ports": ["5432:5432"],
        }
    }
    assert len(find_problems(careless)) == 6


def test_every_part_of_airflow_is_there(services: dict[str, Any]) -> None:
    commands = {
        service["command"][0] for service in services.values() if service.get("image", "").startswith("updraft")
    }
    assert {"api-server", "scheduler", "dag-processor", "triggerer", "celery"} <= commands


def test_data_stores_publish_no_port(services: dict[str, Any]) -> None:
    assert not any(services[name].get("ports") for name in ("postgres", "valkey", "mlflow", "s3"))


def test_references_are_in_the_example(services: dict[str, Any]) -> None:
    text = COMPOSE.read_text(encoding="utf-8")
    named = set(
        re.findall(r"^#?([A-Z0-9_]+)=", (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.M)
    )
    assert {name for name, _, _ in REFERENCE.findall(text)} <= named


def test_example_holds_no_value() -> None:
    lines = (PROJECT_ROOT / ".env.example").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if re.match(r"#?[A-Z0-9_]+=.+", line)] == []


def test_needed_services_exist(services: dict[str, Any]) -> None:
    for service in services.values():
        assert set(service.get("depends_on", {})) <= set(services)


def test_image_is_locked_and_holds_the_project() -> None:
    text = (PROJECT_ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "FROM apache/airflow:3.3.2-python3.12" in text
    assert "--require-hashes -r /opt/updraft/requirements.txt" in text
    copied = re.findall(r"^COPY --chown=\S+ (\S+) ", text, flags=re.M)
    allowed = {
        line.removeprefix("!") for line in (PROJECT_ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
    }
    assert set(copied) <= allowed
    assert all(Path(PROJECT_ROOT / name).exists() for name in copied)
