"""The connections of the page send, and its function knows what Updraft has signed."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from include.alerts.channels import open_channel
from include.alerts.letter import ChannelSettings, Letter
from include.settings import PROJECT_ROOT
from tests.alerts.receivers import HookSink, hook_sink, mail_sink
from tests.factories import declare_workflow

PAGE = (PROJECT_ROOT / "docs" / "alerts.md").read_text(encoding="utf-8")
DECLARATION, VERIFICATION = re.findall(r"^```python\n(.*?)^```", PAGE, re.M | re.S)
CONNECTIONS: dict[str, dict[str, Any]] = {
    name.lower(): json.loads(text) for name, text in re.findall(r"^AIRFLOW_CONN_(\w+)='(.*)'$", PAGE, re.M)
}
LETTER = Letter(
    delivery_id="d",
    attempt=1,
    is_recovery=False,
    subject="s",
    text="t",
    html="h",
    fields={"event": "alert", "text": "s"},
)


def names_of(code: str) -> dict[str, Any]:
    names: dict[str, Any] = {}
    exec(code, names)
    return names


def send(name: str, **changes: Any) -> None:
    settings = CONNECTIONS[name] | changes
    open_channel(ChannelSettings(name=name, **settings)).send(LETTER)


def test_what_is_declared_are_the_connections(tmp_path):
    workflow = declare_workflow(tmp_path / "parcels", alerts=names_of(DECLARATION)["alerts"])
    assert set(workflow.alerts) == set(CONNECTIONS) == {"ops_mail", "ops_hook", "ops_chat"}


def test_the_mail_is_sent():
    extra = CONNECTIONS["ops_mail"]["extra"] | {"starttls": False}
    with mail_sink() as sink:
        send("ops_mail", host="localhost", port=sink.port, login="", extra=extra)
    (message,) = sink.messages
    assert (message["From"], message["To"]) == ("updraft@example.com", "ops@example.com, data@example.com")


@pytest.mark.parametrize(("told", "is_right"), [("the secret", True), ("another secret", False)])
def test_the_function_knows_the_signature(told: str, is_right: bool):
    verify = names_of(VERIFICATION)["is_from_updraft"]
    with hook_sink(secret="") as sink:  # takes everything: the page's function is the judge
        send("ops_hook", host=HookSink.settings(sink)["host"], password="the secret")
    ((headers, body),) = sink.requests
    named = {
        "X-Updraft-Timestamp": headers["x-updraft-timestamp"],
        "X-Updraft-Signature": headers["x-updraft-signature"],
    }
    assert verify(named, body, told) is is_right
    assert not verify(named, body + b" ", "the secret")
    assert not verify(named | {"X-Updraft-Timestamp": "1700000000"}, body, "the secret")


def test_the_service_is_told():
    with hook_sink(secret="") as sink:
        send("ops_chat", extra={"config": {"path": f"json://127.0.0.1:{sink.port}/"}})
    assert [body["title"] for body in sink.bodies] == ["s"]
