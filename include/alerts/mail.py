"""Alerts by mail, over SMTP."""

from __future__ import annotations

import smtplib
import ssl
from dataclasses import dataclass
from email.message import EmailMessage
from email.utils import formatdate, parseaddr

from include.alerts.letter import ChannelSettings, Letter
from include.errors import ChannelError, DeliveryError

TIMEOUT_SECONDS = 10
IMPLICIT_TLS_PORT = 465


@dataclass(frozen=True)
class MailChannel:
    """
    A mail server that takes letters for some addresses.

    The connection's extra holds `to` (an address or several), `from` and, where they differ from the default,
    `starttls` (true), `ssl_context` ("none" accepts any certificate) and `timeout` in seconds. On port 465 TLS begins
    at once.
    """

    settings: ChannelSettings

    def send(self, letter: Letter) -> None:
        """Hand the letter to the server, encrypted unless the connection says otherwise."""
        message = self._write(letter)
        try:
            with self._connect() as server:
                refused = server.send_message(message)
        except (OSError, smtplib.SMTPException) as error:
            # A server's answer may quote what was sent, the login included: its kind and number suffice.
            raise DeliveryError(
                f"mail server of connection {self.settings.name!r} did not take the message: {_kind(error)}"
            ) from None
        if refused:
            raise DeliveryError(
                f"mail server of connection {self.settings.name!r} refused {len(refused)} of the addresses in 'to'"
            )

    def _write(self, letter: Letter) -> EmailMessage:
        sender = self._address("from")
        message = EmailMessage()
        message["Subject"] = letter.subject
        message["From"] = sender
        message["To"] = self._address("to")
        message["Date"] = formatdate()
        # Every copy has the same id: mail systems show, or keep, only one of them.
        message["Message-ID"] = f"<{letter.delivery_id}@{parseaddr(sender)[1].rpartition('@')[2]}>"
        message["Auto-Submitted"] = "auto-generated"
        message.set_content(letter.text)
        message.add_alternative(letter.html, subtype="html")
        return message

    def _connect(self) -> smtplib.SMTP:
        settings, context = self.settings, self._tls()
        timeout = float(settings.extra.get("timeout") or TIMEOUT_SECONDS)
        if settings.port == IMPLICIT_TLS_PORT:
            server: smtplib.SMTP = smtplib.SMTP_SSL(settings.host, settings.port, timeout=timeout, context=context)
        else:
            server = smtplib.SMTP(settings.host, settings.port or 25, timeout=timeout)
        try:
            # The extra of a connection that is written as a URI holds text only.
            if settings.port != IMPLICIT_TLS_PORT and str(settings.extra.get("starttls", True)).lower() not in {
                "false",
                "0",
                "no",
            }:
                server.starttls(context=context)
            if settings.login:
                server.login(settings.login, settings.password)
        except BaseException:
            server.close()
            raise
        return server

    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.settings.extra.get("ssl_context") == "none":
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def _address(self, field: str) -> str:
        given = self.settings.extra.get(field) or self.settings.extra.get(f"{field}_email")
        addresses = given if isinstance(given, list) else [part.strip() for part in str(given or "").split(",")]
        if not all("@" in str(address) for address in addresses):
            raise ChannelError(
                f"connection {self.settings.name!r} gives no address {field!r} in its extra: "
                'write {"from": "updraft@example.com", "to": "ops@example.com"}'
            )
        return ", ".join(map(str, addresses))


def _kind(error: Exception) -> str:
    code = getattr(error, "smtp_code", None)
    return f"{type(error).__name__}{f' {code}' if code else ''}"
