"""
From the start pages along the links that the declaration follows, each page once, each fetch as
robots.txt allows.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from queue import SimpleQueue

from include.errors import LayoutChangedError, SourceQueryError, SourceUnavailableError, UnsafeAddressError
from include.lake.digests import digest_bytes
from include.sources.web.addresses import host_of, shown
from include.sources.web.archive import Archive, Stored, describe
from include.sources.web.fetching import Errand, Fetched, Fetcher
from include.sources.web.journal import Journal
from include.sources.web.pages import encoding_of, links_of, parse_tree
from include.sources.web.robots import MAX_AGE_SECONDS, Rules, errand_of
from include.sources.web.schedule import Schedule
from include.workflow.sources.web import WebSource


@dataclass(frozen=True, kw_only=True)
class Visit:
    """
    What came of one page: its line for the archive (None: nothing new), the links to follow from it, and
    its size.
    """

    response: Stored | None
    links: tuple[str, ...]
    n_bytes: int


class Crawl:
    """One crawl. What it found lands in one commit, by whoever runs it."""

    def __init__(
        self,
        source: WebSource,
        *,
        fetcher: Fetcher,
        schedule: Schedule,
        archive: Archive,
        journal: Journal,
        crawl_id: str,
    ) -> None:
        self._source, self._fetcher, self._schedule, self._archive = source, fetcher, schedule, archive
        self._journal, self._crawl_id = journal, crawl_id
        self._patterns = [re.compile(pattern) for pattern in source.follow]
        self._hosts: set[str] = set()
        self._rules: dict[str, Rules] = {}
        self._verdicts: dict[str, tuple[list[str], bool]] = {}
        self._robots: list[Stored] = []
        self._host_locks: dict[str, threading.Lock] = {}
        self._lock = threading.Lock()
        self.n_unchanged = 0

    def run(self, starts: list[str]) -> list[Stored]:
        """
        Visit every page; return what is new.

        Raises
        ------
        SourceUnavailableError
            If the site does not answer as it should, or the crawl's time is up.
        SourceQueryError
            If a page is refused for good, a bound is broken, or a pattern of `follow` finds nothing.

        """
        self._hosts = {host_of(url) for url in starts}
        found: dict[str, Stored] = {}
        followed: set[str] = set()
        n_bytes = n_pages = 0
        for visit in self._visits(starts, followed):
            n_bytes, n_pages = n_bytes + visit.n_bytes, n_pages + 1
            if n_bytes > self._source.max_bytes:
                raise SourceQueryError(
                    f"{shown(starts[0])}: the crawl is larger than {self._source.max_bytes:,} bytes "
                    "(source.max_bytes): raise it, or narrow source.follow"
                )
            if visit.response is None:
                self.n_unchanged += 1
            else:
                found.setdefault(visit.response.url, visit.response)
        for pattern in self._source.follow:
            if pattern not in followed:
                raise LayoutChangedError(
                    f"{shown(starts[0])}: no link of any of {n_pages} pages is found by source.follow {pattern!r}: the "
                    "site's links have changed, or the pattern is wrong; correct it"
                )
        return [*self._robots, *found.values()]

    def _visits(self, starts: list[str], followed: set[str]) -> Iterator[Visit]:
        seen = set(starts)
        with ThreadPoolExecutor(self._source.concurrency, thread_name_prefix="crawl") as pool:
            done: SimpleQueue[Future[Visit]] = SimpleQueue()
            n_pending = 0
            waiting = list(dict.fromkeys(starts))
            try:
                while waiting or n_pending:
                    for url in waiting:
                        pool.submit(self._visit, url).add_done_callback(done.put)
                    n_pending += len(waiting) - 1
                    visit = done.get().result()
                    waiting = [link for link in self._to_follow(visit.links, followed) if link not in seen]
                    seen.update(waiting)
                    self._check_count(len(seen), starts[0])
                    yield visit
            except BaseException:
                # Whoever is waiting for a turn, or would try again, need not.
                self._schedule.stop()
                pool.shutdown(wait=False, cancel_futures=True)
                raise

    def _to_follow(self, links: tuple[str, ...], followed: set[str]) -> Iterator[str]:
        for link in links:
            if link not in self._verdicts:  # most links stand on many pages
                self._verdicts[link] = self._judge(link)
            matches, is_allowed = self._verdicts[link]
            followed.update(matches)
            if is_allowed:
                yield link

    def _judge(self, link: str) -> tuple[list[str], bool]:
        """Which patterns a link is found by, and whether it may be asked for."""
        matches = [pattern.pattern for pattern in self._patterns if pattern.search(link)]
        if not matches or not self._is_host_allowed(link):
            return [], False
        # A page that robots.txt forbids is left alone; a start page that it forbids is an error.
        return matches, self._rules_of(link).allows(link)

    def _check_count(self, n_pages: int, start: str) -> None:
        if n_pages > self._source.max_pages:
            raise SourceQueryError(
                f"{shown(start)}: the crawl has more than {self._source.max_pages:,} pages (source.max_pages): raise "
                "it, or narrow source.follow"
            )

    def _is_host_allowed(self, url: str) -> bool:
        host = host_of(url)
        return host in self._hosts or host.rpartition(":")[0] in self._source.hosts or host in self._source.hosts

    def _visit(self, url: str) -> Visit:
        received = self._journal.received(url)
        if received is not None:  # by a crawl that was killed
            body = self._archive.body(received)
            return Visit(
                response=received, links=self._links(body, received.encoding, received.final_url), n_bytes=len(body)
            )
        self._check(url)
        max_bytes = self._source.max_page_bytes
        fetched = self._fetcher.fetch(
            Errand(url=url, max_bytes=max_bytes, check=self._check, conditions=self._archive.conditions)
        )
        known = self._archive.newest(fetched.final_url)
        return self._unchanged(url, known) if fetched.body is None else self._answered(fetched, fetched.body, known)

    def _answered(self, fetched: Fetched, body: bytes, known: Stored | None) -> Visit:
        encoding = encoding_of(body, fetched.headers.get("Content-Type"))
        response = None
        if known is None or known.body_digest != digest_bytes(body):
            digest = self._archive.keep_body(body)
            response = describe(fetched, role="page", encoding=encoding, body_digest=digest, crawl_id=self._crawl_id)
            self._journal.note(fetched.url, response)
        return Visit(response=response, links=self._links(body, encoding, fetched.final_url), n_bytes=len(body))

    def _unchanged(self, url: str, known: Stored | None) -> Visit:
        if known is None:
            raise SourceQueryError(
                f"{shown(url)}: the server says that a page is unchanged that we never had: tell whoever runs it"
            )
        body = self._archive.body(known) if self._patterns else b""
        return Visit(response=None, links=self._links(body, known.encoding, known.final_url), n_bytes=0)

    def _links(self, body: bytes, encoding: str | None, url: str) -> tuple[str, ...]:
        return (
            tuple(dict.fromkeys(links_of(parse_tree(body, encoding=encoding, url=url), url))) if self._patterns else ()
        )

    def _check(self, url: str) -> None:
        if not self._is_host_allowed(url):
            raise UnsafeAddressError(
                f"{shown(url)}: a redirect leads to another host: name it in source.hosts if it is meant"
            )
        if not self._rules_of(url).allows(url):
            raise SourceQueryError(
                f"{shown(url)}: the site's robots.txt forbids this page: leave it out, or ask the site's owner"
            )

    def _rules_of(self, url: str) -> Rules:
        host = f"{url.partition('://')[0]}://{host_of(url)}"
        with self._lock:
            lock = self._host_locks.setdefault(host, threading.Lock())
        with lock:
            if host not in self._rules:
                self._rules[host] = self._read_rules(url)
                self._schedule.slow_down(host_of(url), self._rules[host].delay_seconds)
        return self._rules[host]

    def _read_rules(self, url: str) -> Rules:
        errand = errand_of(url)
        received = self._journal.received(errand.url)
        if received is not None:
            self._robots.append(received)
            return Rules(self._archive.body(received))
        known = self._archive.newest(errand.url)
        if known is not None and (datetime.now(UTC) - known.fetched_at).total_seconds() < MAX_AGE_SECONDS:
            return Rules(self._archive.body(known))
        fetched = self._fetcher.fetch(errand)
        if fetched.status >= 500 or fetched.status < 200:
            raise SourceUnavailableError(
                f"{errand.url}: HTTP status {fetched.status}: a host whose robots.txt cannot be read allows nothing; "
                "retry when it can"
            )
        self._robots.append(self._landed(fetched))
        return Rules(fetched.body)

    def _landed(self, fetched: Fetched) -> Stored:
        digest = self._archive.keep_body(fetched.body) if fetched.body is not None else None
        stored = describe(fetched, role="robots", encoding="utf-8", body_digest=digest, crawl_id=self._crawl_id)
        self._journal.note(fetched.url, stored)
        return stored
