"""From a connection to the channel that uses it."""

from __future__ import annotations

from include.alerts.letter import Channel, ChannelSettings
from include.errors import ChannelError


def open_channel(settings: ChannelSettings) -> Channel:
    """
    Return the channel for a connection's type: smtp, http, https or apprise.

    Raises
    ------
    ChannelError
        If no channel uses connections of this type.

    """
    if settings.conn_type == "smtp":
        from include.alerts.mail import MailChannel

        return MailChannel(settings)
    if settings.conn_type in {"http", "https"}:
        from include.alerts.webhook import WebhookChannel

        return WebhookChannel(settings)
    if settings.conn_type == "apprise":
        from include.alerts.services import ServiceChannel

        return ServiceChannel(settings)
    raise ChannelError(
        f"connection {settings.name!r} is of type {settings.conn_type!r}: alerts go to smtp, http, https or apprise"
    )
