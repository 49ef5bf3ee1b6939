"""
Each channel against a real server: it arrives, whole and once; what is refused is an error without a
secret in it.
"""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest

from include.alerts.channels import open_channel
from include.alerts.letter import ChannelSettings, Letter
from include.errors import ChannelError, DeliveryError
from tests.alerts.receivers import PASSWORD, SECRET, HookSink, MailSink, hook_sink, mail_sink

LETTER = Letter(
    delivery_id="d" * 32,
    attempt=1,
    is_recovery=False,
    subject="[Updraft] parcels 2026-01-05: validation failed",
    text="Dépôt: 3 × wrong\n",
    html="<p>Dépôt: 3 × wrong</p>",
    fields={"event": "alert", "text": "Dépôt: 3 × wrong"},
)


def send(settings: dict[str, Any]) -> None:
    open_channel(ChannelSettings(name="ops", **settings)).send(LETTER)


def test_a_mail_arrives_encrypted_and_signed_in(mail: MailSink) -> None:
    send(mail.settings())
    (message,) = mail.messages
    assert (message["From"], message["To"], message["Subject"]) == (
        "updraft@example.com",
        "ops@example.com",
        LETTER.subject,
    )
    assert message["Message-ID"] == f"<{'d' * 32}@example.com>"
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert text.get_content().replace("\r\n", "\n") == LETTER.text
    assert html is not None
    assert html.get_content().strip() == LETTER.html


def test_a_mail_goes_to_all_addresses(mail: MailSink) -> None:
    for to in (["a@example.com", "b@example.com"], "a@example.com, b@example.com"):
        send(mail.settings(extra={"from": "updraft@example.com", "to": to}))
    assert [message["To"] for message in mail.messages] == ["a@example.com, b@example.com"] * 2


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({"password": "another-secret-Kd55"}, "SMTPAuthenticationError 535"),
        ({"login": ""}, "SMTPSenderRefused 530"),
        ({"extra": {"from": "u@example.com", "to": "o@example.com", "starttls": "false"}}, "SMTP.*"),
        ({"port": 1}, "ConnectionRefusedError"),
    ],
)
def test_a_mail_that_is_not_taken_says_why_and_no_secret(mail: MailSink, changes: dict[str, Any], kind: str) -> None:
    with pytest.raises(
        DeliveryError, match=f"^mail server of connection 'ops' did not take the message: {kind}$"
    ) as error:
        send(mail.settings(**changes))
    assert mail.messages == []
    assert error.value.__context__ is None or error.value.__suppress_context__
    assert not any(secret in str(error.value) for secret in (PASSWORD, "another-secret-Kd55"))


def test_a_mail_is_not_given_to_a_server_that_nobody_vouches_for(
    mail: MailSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(DeliveryError, match="SSLCertVerificationError"):
        send(mail.settings())
    send(mail.settings(extra={"from": "u@example.com", "to": "o@example.com", "ssl_context": "none"}))
    assert len(mail.messages) == 1


def test_a_mail_to_an_unprotected_server_needs_to_be_asked_for() -> None:
    with mail_sink() as plain:
        send(plain.settings())
        with pytest.raises(DeliveryError, match="SMTPNotSupportedError"):
            send(plain.settings(extra={"from": "u@example.com", "to": "o@example.com"}))
    assert len(plain.messages) == 1


def test_a_mail_without_addresses_names_the_remedy(mail: MailSink) -> None:
    with pytest.raises(ChannelError, match=r"connection 'ops' gives no address 'to' in its extra: write \{\"from\""):
        send(mail.settings(extra={"from": "u@example.com"}))


def test_a_web_hook_takes_what_is_signed(hook: HookSink) -> None:
    send(hook.settings())
    ((headers, body),) = hook.requests
    assert json.loads(body) == LETTER.fields
    assert (headers["x-updraft-delivery"], headers["x-updraft-attempt"]) == ("d" * 32, "1")
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "address",
    [
        # as Airflow reads http://:secret@127.0.0.1:1/alerts
        lambda port: {"host": "127.0.0.1", "port": port, "schema": "alerts"},
        lambda port: {"host": "127.0.0.1", "port": port, "schema": "http"},
    ],
)
def test_a_web_hook_is_found_however_its_connection_is_written(hook: HookSink, address: Any) -> None:
    send({"conn_type": "http", "password": SECRET, **address(hook.port)})
    assert len(hook.requests) == 1


def test_a_web_hook_with_another_secret_is_refused(hook: HookSink) -> None:
    with pytest.raises(DeliveryError, match=r"^web hook of connection 'ops' answered 401$"):
        send(hook.settings(password="guessed"))
    assert (hook.requests, hook.refused) == ([], 1)


@pytest.mark.parametrize("status", [302, 404, 429, 500])
def test_a_web_hook_that_answers_anything_else_did_not_take_it(hook: HookSink, status: int) -> None:
    hook.status = status
    with pytest.raises(DeliveryError, match=f"answered {status}"):
        send(hook.settings())


def test_a_web_hook_is_not_asked_without_a_secret(hook: HookSink) -> None:
    with pytest.raises(ChannelError, match="connection 'ops' has no password: it is the secret that signs"):
        send(hook.settings(password=""))
    assert (hook.requests, hook.refused) == ([], 0)


def test_any_apprise_service_takes_it() -> None:
    with hook_sink(secret="") as service:
        send(
            {
                "conn_type": "apprise",
                "extra": {"config": {"path": f"json://127.0.0.1:{service.port}/alerts", "tag": "ops"}},
            }
        )
    (body,) = service.bodies
    assert (body["title"], body["message"], body["type"]) == (LETTER.subject, LETTER.text.strip(), "failure")


def test_a_service_that_is_down_is_an_error() -> None:
    with pytest.raises(DeliveryError, match="a service of connection 'ops' did not take the message"):
        send({"conn_type": "apprise", "extra": {"config": [{"path": "json://127.0.0.1:1/alerts"}]}})


@pytest.mark.parametrize("config", [None, "not JSON", {}, {"path": "nonsense://secret-token-Pm19"}])
def test_a_service_that_is_written_wrongly_shows_no_token(config: Any, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with pytest.raises(
        ChannelError, match=r"connection 'ops' (names no service|holds a URL that Apprise does not understand)"
    ) as error:
        send({"conn_type": "apprise", "extra": {"config": config}})
    assert "Pm19" not in str(error.value) + caplog.text


def test_other_connections_are_refused() -> None:
    with pytest.raises(
        ChannelError, match=r"connection 'ops' is of type 'postgres': alerts go to smtp, http, https or apprise"
    ):
        send({"conn_type": "postgres"})


def test_settings_show_no_secret(tmp_path: Path) -> None:
    settings = ChannelSettings(name="ops", conn_type="smtp", login="me", password=PASSWORD, extra={"token": SECRET})
    assert PASSWORD not in repr(open_channel(settings))
    assert SECRET not in repr(settings)
