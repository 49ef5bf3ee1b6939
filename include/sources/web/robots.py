"""
What a host's robots.txt allows, by RFC 9309.

Its answer is archived beside the pages and asked for again after 24 hours. A host without one (4xx, or more than five
redirects) allows everything; one whose robots.txt cannot be had (5xx, no answer) allows nothing, until it can. At least
the first 500 KiB are read.
"""

from __future__ import annotations

from protego import Protego

from include.sources.web.addresses import plain_address
from include.sources.web.fetching import Errand

AGENT = "Updraft"
MAX_AGE_SECONDS = 24 * 3600
MAX_BYTES = 512 * 1024


class Rules:
    """One host's rules, from its robots.txt; None says that there is none."""

    def __init__(self, text: bytes | None) -> None:
        self._rules = Protego.parse((text or b"").decode("utf-8", errors="replace").lstrip("\ufeff"))

    def allows(self, url: str) -> bool:
        """Tell whether a page may be asked for."""
        return bool(self._rules.can_fetch(url, AGENT))

    @property
    def delay_seconds(self) -> float:
        """Seconds that the host wants between two requests."""
        return float(self._rules.crawl_delay(AGENT) or 0.0)


def errand_of(url: str) -> Errand:
    """
    What to ask for before the first page of a host; its redirects may lead to other hosts, but no further than the
    guard allows.
    """
    return Errand(url=plain_address("/robots.txt", base=url), max_bytes=MAX_BYTES, check=lambda _: None, role="robots")
