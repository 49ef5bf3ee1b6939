"""Alerts to any of the services that Apprise knows: Slack, Teams, Telegram, PagerDuty and a hundred more."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from include.alerts.letter import ChannelSettings, Letter
from include.errors import ChannelError, DeliveryError


@dataclass(frozen=True)
class ServiceChannel:
    """
    One or more services, each an Apprise URL.

    The connection's extra holds them as Airflow's own Apprise provider reads them: `{"config": {"path": "slack://...",
    "tag": "ops"}}`, or a list of such objects.
    """

    settings: ChannelSettings

    def send(self, letter: Letter) -> None:
        """Hand the letter to all services; it was taken if all took it."""
        import apprise  # a second of imports: only where it is used

        services = apprise.Apprise()
        with _silenced("apprise"):  # of a URL that it does not understand, it logs the whole, secrets included
            is_understood = all([services.add(url) for url in self._urls()])
        if not is_understood:
            raise ChannelError(
                f"connection {self.settings.name!r} holds a URL that Apprise does not understand: see its list of "
                "services"
            )
        kind = apprise.NotifyType.SUCCESS if letter.is_recovery else apprise.NotifyType.FAILURE
        # Apprise logs why, and answers False: it raises nothing.
        if not services.notify(
            body=letter.text, title=letter.subject, notify_type=kind, body_format=apprise.NotifyFormat.TEXT
        ):
            raise DeliveryError(f"a service of connection {self.settings.name!r} did not take the message")

    def _urls(self) -> list[str]:
        config = self.settings.extra.get("config")
        try:
            entries = json.loads(config) if isinstance(config, str) else config
        except ValueError:
            entries = None
        listed = entries if isinstance(entries, list) else [entries]
        found = [str(entry["path"]) for entry in listed if isinstance(entry, dict) and entry.get("path")]
        if not found:
            raise ChannelError(
                f"connection {self.settings.name!r} names no service: write its extra as "
                '{"config": {"path": "slack://token_a/token_b/token_c/#ops"}}'
            )
        return found


@contextmanager
def _silenced(name: str) -> Iterator[None]:
    logger = logging.getLogger(name)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before
