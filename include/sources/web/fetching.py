"""One page: asked for politely, redirected under guard, tried again where that may help, and read within its bounds."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import requests

from include.errors import SourceError, SourceQueryError, SourceUnavailableError
from include.sources.web.addresses import Guard, host_of, plain_address, shown
from include.sources.web.bodies import read_body
from include.sources.web.connections import NETWORK_ERRORS, Client, Watch
from include.sources.web.schedule import Schedule, pause_before
from include.workflow.sources.web import WebSource

ATTEMPTS = 8
MAX_REDIRECTS = 5
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


@dataclass(frozen=True, kw_only=True)
class Fetched:
    """What a server answered, as it was received; `body` is None where it says that nothing has changed."""

    url: str
    final_url: str
    status: int
    headers: Mapping[str, str]
    body: bytes | None
    fetched_at: datetime


@dataclass(frozen=True, kw_only=True)
class Errand:
    """
    What to ask for: an address, how large it may be, which redirects are allowed, and what we have of an address by
    now.
    """

    url: str
    max_bytes: int
    check: Callable[[str], None]  # raises where a redirect may not lead
    conditions: Callable[[str], Mapping[str, str]] = lambda _: {}  # headers that spare the server a page that we have
    role: Literal["page", "robots"] = "page"


class Fetcher:
    """Asks for pages, from any thread; each thread has a client of its own."""

    def __init__(
        self, source: WebSource, *, guard: Guard, schedule: Schedule, watch: Watch, login: tuple[str, str, str] | None
    ) -> None:
        self._source, self._guard, self._schedule, self._watch = source, guard, schedule, watch
        self._login = login  # host:port, user, password
        self._local = threading.local()
        self._lock = threading.Lock()
        self._clients: list[Client] = []
        self.n_requests = 0

    def close(self) -> None:
        """Close all connections."""
        for client in self._clients:
            client.close()

    def fetch(self, errand: Errand) -> Fetched:
        """
        Ask for a page until it is there.

        Raises
        ------
        SourceUnavailableError
            If the server does not answer as it should at any attempt, or the crawl's time is up.
        SourceQueryError
            If the server refuses the page for good, or the page breaks a bound.

        """
        failure = ""
        for attempt in range(ATTEMPTS):
            try:
                fetched = self._follow(errand)
            except NETWORK_ERRORS as error:
                failure, retry_after = _named(error), None
            else:
                if fetched.status not in _PASSING:
                    return self._accepted(fetched, errand)
                failure, retry_after = f"HTTP status {fetched.status}", fetched.headers.get("Retry-After")
            seconds = pause_before(attempt, retry_after)
            if attempt + 1 == ATTEMPTS or time.monotonic() + seconds > self._schedule.ends_at:
                break
            self._schedule.pause(host_of(errand.url), seconds)
        raise SourceUnavailableError(
            f"{shown(errand.url)}: not received in {attempt + 1} attempts ({failure}): retry when the site is up"
        )

    def _accepted(self, fetched: Fetched, errand: Errand) -> Fetched:
        if (
            errand.role == "robots"
            or fetched.status in {200, 203}
            or (fetched.status == 304 and errand.conditions(fetched.final_url))
        ):
            return fetched
        raise SourceQueryError(
            f"{shown(errand.url)}: the server answers with HTTP status {fetched.status}: correct source.start or "
            "source.follow, or the connection's login"
        )

    def _follow(self, errand: Errand) -> Fetched:
        url = errand.url
        for _ in range(MAX_REDIRECTS + 1):
            self._schedule.wait(host_of(url))
            fetched = self._ask(url, errand)
            target = fetched.headers.get("Location")
            if fetched.status not in _REDIRECTS or target is None:
                return fetched
            url = plain_address(target, base=url)
            errand.check(url)
        if errand.role == "robots":
            return fetched  # by RFC 9309 such a host has no robots.txt
        raise SourceQueryError(f"{shown(errand.url)}: redirects more than {MAX_REDIRECTS} times: correct the address")

    def _ask(self, url: str, errand: Errand) -> Fetched:
        with self._lock:
            self.n_requests += 1
        ends_at = min(self._schedule.ends_at, time.monotonic() + self._source.page_timeout_seconds)
        try:
            with self._watch.request(ends_at):
                return self._exchange(url, errand)
        except SourceError:
            raise
        except NETWORK_ERRORS:
            if time.monotonic() > self._schedule.ends_at:
                raise self._schedule.over(shown(url)) from None
            if time.monotonic() > ends_at:
                raise requests.Timeout from None
            raise

    def _exchange(self, url: str, errand: Errand) -> Fetched:
        fetched_at = datetime.now(UTC)
        with self._client().get(url, headers=errand.conditions(url), auth=self._auth(url)) as response:
            has_body = response.status_code in {200, 203}
            body = read_body(response, max_bytes=errand.max_bytes, is_cut=errand.role == "robots") if has_body else None
            if response.status_code == 304:
                response.raw.drain_conn()  # it has no body: its connection serves the next request
            headers = response.headers
        return Fetched(
            url=errand.url,
            final_url=url,
            status=response.status_code,
            headers=headers,
            body=body,
            fetched_at=fetched_at,
        )

    def _client(self) -> Client:
        client: Client | None = getattr(self._local, "client", None)
        if client is None:
            client = self._local.client = Client(self._guard, user_agent=user_agent(self._source))
            with self._lock:
                self._clients.append(client)
        return client

    def _auth(self, url: str) -> tuple[str, str] | None:
        # A login goes to the connection's own host, and nowhere else.
        return self._login[1:] if self._login is not None and host_of(url) == self._login[0] else None


def user_agent(source: WebSource) -> str:
    """Who asks, and whom to write to."""
    return f"Updraft/0.1 (+{source.contact})"


def _named(error: BaseException) -> str:
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    return f"the connection broke: {type(error).__name__}"
