"""Collect a site: crawl it, land what is new in one commit, and say which published partitions have changed by it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urljoin, urlsplit

from include.errors import SourceQueryError
from include.lake.crash_points import crash_point
from include.lake.store import Lake
from include.sources.kinds import CollectReport
from include.sources.web.addresses import Guard, host_of, plain_address
from include.sources.web.archive import Archive, Stored, land
from include.sources.web.connections import Watch
from include.sources.web.crawl import Crawl
from include.sources.web.fetching import Fetcher
from include.sources.web.journal import Journal
from include.sources.web.schedule import Schedule
from include.sources.web.site import reopened_partitions
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow
from include.workflow.sources.web import WebSource

ALLOW = "allow_private_host"


@dataclass(frozen=True, kw_only=True)
class Site:
    """
    What an Airflow connection of type http says: base address, login, and whether its host may lie
    inside our network.
    """

    base: str
    login: tuple[str, str, str] | None
    is_private: bool


def collect(
    source: WebSource,
    *,
    workflow: Workflow,
    window: PartitionWindow,
    connection_uri: str | None,
    lake: Lake,
    token: int,
) -> CollectReport:
    """
    Ask the site for what is new, and land it.

    Raises
    ------
    SourceUnavailableError
        If the site does not answer as it should; nothing is landed then.
    SourceQueryError
        If a page is refused for good, an address is unsafe, a bound is broken, or the site's layout has changed.

    """
    site = read_site_connection(connection_uri) if connection_uri else None
    starts = [plain_address(start, base=site.base if site else "") for start in source.start]
    archive = Archive(lake, workflow.name)
    crawl_id = f"{window.key}:{token}"
    journal = Journal(archive, crawl_id=crawl_id, max_age=source.deadline)
    counts = {"requests": 0, "pages_unchanged": 0}
    found = journal.unreported()
    if not found:
        found, counts = _crawl(source, site, starts, journal=journal, archive=archive, crawl_id=crawl_id)
        crash_point("collect.before_land")
        land(lake, workflow.name, found, crawl_id=crawl_id)
        crash_point("collect.after_land")
    archive = Archive(lake, workflow.name)
    reopened = reopened_partitions(workflow, source, archive, own_key=window.key)
    landed = Journal(archive, crawl_id=crawl_id, max_age=source.deadline)
    landed.report()
    landed.remove_earlier()
    pages = [stored for stored in found if stored.role == "page"]
    counts |= {"pages_new": len(pages), "bytes": sum(stored.n_bytes for stored in pages)}
    return CollectReport(is_new=bool(pages), reopened=reopened, counts=counts)


def _crawl(
    source: WebSource, site: Site | None, starts: list[str], *, journal: Journal, archive: Archive, crawl_id: str
) -> tuple[list[Stored], dict[str, int]]:
    schedule = Schedule(source)
    with Watch() as watch:
        fetcher = Fetcher(
            source, guard=_guard(source, site), schedule=schedule, watch=watch, login=site.login if site else None
        )
        try:
            crawl = Crawl(
                source, fetcher=fetcher, schedule=schedule, archive=archive, journal=journal, crawl_id=crawl_id
            )
            found = crawl.run(starts)
        finally:
            fetcher.close()
    return found, {"requests": fetcher.n_requests, "pages_unchanged": crawl.n_unchanged}


def read_site_connection(uri: str) -> Site:
    """
    Read an http connection's URI as Airflow gives it: the path is the scheme, or a base path; extras are in the query.

    Raises
    ------
    SourceQueryError
        If it names no host.

    """
    parts = urlsplit(uri)
    host = unquote(parts.netloc.rpartition("@")[2])
    path = unquote(parts.path).strip("/")
    scheme = path if path in {"http", "https"} else parts.scheme
    # Airflow's own way to write a whole address as a host.
    address = host if "://" in host else f"{scheme}://{host}/{'' if path in {'http', 'https'} else path}"
    if not urlsplit(address).hostname:
        raise SourceQueryError("the connection of the site names no host: give it one in Airflow (Admin, Connections)")
    base = plain_address(address if address.endswith("/") else f"{address}/")
    login = (host_of(base), unquote(parts.username or ""), unquote(parts.password or "")) if parts.username else None
    return Site(base=urljoin(base, "."), login=login, is_private=_is_set(parse_qs(parts.query)))


def _is_set(extras: dict[str, list[str]]) -> bool:
    whole = json.loads(extras["__extra__"][0]) if "__extra__" in extras else {}
    return str(extras.get(ALLOW, [whole.get(ALLOW)])[0]).lower() in {"true", "1", "yes"}


def _guard(source: WebSource, site: Site | None) -> Guard:
    own = [host_of(site.base)] if site is not None and site.is_private else []
    return Guard(allowed=frozenset(host.lower() for host in [*source.allow_private_hosts, *own]))
