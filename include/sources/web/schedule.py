"""When the next request to a host may go: after its delay, and not before a pause that the host has asked for."""

from __future__ import annotations

import random
import re
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from include.errors import SourceUnavailableError
from include.workflow.durations import describe_duration
from include.workflow.sources.web import WebSource

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 60.0


class Schedule:
    """One crawl's turns at each host, shared by its threads, and the crawl's own end."""

    def __init__(self, source: WebSource) -> None:
        self.ends_at = time.monotonic() + source.deadline.total_seconds()
        self._deadline = describe_duration(source.deadline)
        self._delay_seconds = source.delay_seconds
        self._delays: dict[str, float] = {}
        self._next: dict[str, float] = defaultdict(float)
        self._lock = threading.Lock()

    def slow_down(self, host: str, delay_seconds: float) -> None:
        """Keep a longer delay at a host than the declared one, as its robots.txt asks."""
        self._delays[host] = max(self._delay_seconds, delay_seconds)

    def wait(self, host: str) -> None:
        """
        Wait for the next turn at a host, and take it.

        Raises
        ------
        SourceUnavailableError
            If the turn would come after the crawl's end.

        """
        while True:
            with self._lock:
                now = time.monotonic()
                turn = self._next[host]
                if turn <= now:
                    self._next[host] = now + self._delays.get(host, self._delay_seconds)
                    return
            if turn > self.ends_at or now > self.ends_at:
                raise self.over(host)
            time.sleep(min(turn - now, 1.0))

    def pause(self, host: str, seconds: float) -> None:
        """Send nothing more to a host for a while."""
        with self._lock:
            self._next[host] = max(self._next[host], time.monotonic() + seconds)

    def stop(self) -> None:
        """End the crawl now: no further request goes."""
        self.ends_at = min(self.ends_at, time.monotonic())

    def over(self, what: str) -> SourceUnavailableError:
        """The error to raise where the crawl's time is up, or would be."""
        return SourceUnavailableError(
            f"{what}: the crawl did not end within {self._deadline} (source.deadline): nothing of it was landed; "
            "retry, or raise it"
        )


def pause_before(attempt: int, retry_after: str | None) -> float:
    """Seconds before a further attempt: what the server asks for, or a random part of a bound that doubles."""
    asked = _seconds_of(retry_after) if retry_after else None
    spread = random.uniform(0.5, 1.0) * min(LONGEST_PAUSE_SECONDS, FIRST_PAUSE_SECONDS * 2**attempt)
    return spread if asked is None else asked + random.uniform(0.0, 0.2)


def _seconds_of(retry_after: str) -> float | None:
    if re.fullmatch(r"[0-9]{1,9}", retry_after.strip()):
        return float(retry_after)
    try:
        moment = parsedate_to_datetime(retry_after)
    except (ValueError, TypeError, OverflowError):
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
