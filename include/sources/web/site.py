"""
All rows of an archived site, as its newest responses have them; and the check that its pages still look as the
selectors expect.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from include.errors import LayoutChangedError, SourceQueryError
from include.lake.digests import digest_table
from include.lake.ledger import RUNS, read_ledger
from include.lake.partitions import read_partitions
from include.lake.readers import list_partitions
from include.lake.store import Lake, open_table, table_exists
from include.sources.placement import place_rows
from include.sources.stream import BATCH_ROWS
from include.sources.times import UTC_TIMESTAMP
from include.sources.web.addresses import shown
from include.sources.web.archive import Archive
from include.sources.web.kept_rows import KeptRows
from include.sources.web.rows import ITEMS, PageRows, schema_of
from include.workflow import Workflow
from include.workflow.partitions import PartitionWindow, window_of_key
from include.workflow.sources.web import WebSource


@dataclass(frozen=True, kw_only=True)
class SiteRows:
    """Rows of all pages, page after page by address, and when each was received."""

    workflow: Workflow
    table: pa.Table
    arrived_at: pa.Array

    def of_partition(self, window: PartitionWindow) -> pa.Table:
        """Rows that one partition holds."""
        return place_rows(
            self.table,
            event_time=self.workflow.source.event_time,
            arrived_at=self.arrived_at,
            window=window,
            earliest=self.workflow.start,
        )


@contextlib.contextmanager
def open_rows(
    source: WebSource, *, workflow: Workflow, window: PartitionWindow, connection_uri: str | None, lake: Lake
) -> Iterator[pa.RecordBatchReader]:
    """
    Open one partition of an archived site. No request is made: the archive says everything.

    Raises
    ------
    SourceQueryError
        If nothing was archived yet, a response is no page, or the workflow's parser fails.
    LayoutChangedError
        If a selector finds nothing where it has to.

    """
    rows = read_site(workflow, source, Archive(lake, workflow.name)).of_partition(window)
    yield pa.RecordBatchReader.from_batches(rows.schema, rows.to_batches(max_chunksize=BATCH_ROWS))


def read_site(workflow: Workflow, source: WebSource, archive: Archive) -> SiteRows:
    """Read all pages of an archive; see `open_rows`."""
    if not archive.pages:
        raise SourceQueryError(
            f"{workflow.name}: no page of the site is archived yet: run {workflow.name}.ingest once with 'Ask the "
            "source' switched on"
        )
    urls, kept = archive.pages, KeptRows(workflow, source, archive)
    tables = []
    totals: Counter[str] = Counter()
    for url in urls:
        rows = _checked_page(source, archive, kept, url)
        totals.update(rows.found)
        tables.append(rows.table)
    kept.put()
    _check_totals(source, totals, urls[0])
    table = pa.concat_tables(tables)
    page = pa.array(np.repeat(np.arange(len(urls)), [rows.num_rows for rows in tables]))
    return SiteRows(workflow=workflow, table=table, arrived_at=_arrivals(workflow, archive, urls, table, page))


def reopened_partitions(workflow: Workflow, source: WebSource, archive: Archive, *, own_key: str) -> tuple[str, ...]:
    """
    Published partitions whose rows the archive now has otherwise than they were extracted.

    They are compared with `<name>/raw`, not with the archive before a crawl: so a crawl that was killed after it
    landed, and a parser that was corrected, reopen them too.
    """
    lake = archive.lake
    published = set(read_ledger(lake, RUNS, workflow=workflow.name)["partition_key"].to_pylist()) - {own_key}
    if not published:
        return ()
    site = read_site(workflow, source, archive)
    extracted = _extracted(lake, f"{workflow.name}/raw", schema_of(source))
    empty = digest_table(schema_of(source).empty_table())
    every = workflow.partition.every
    now = {key: digest_table(site.of_partition(window_of_key(every, key))) for key in published}
    return tuple(sorted(key for key in published if now[key] != extracted.get(key, empty)))


def _extracted(lake: Lake, table: str, schema: pa.Schema) -> dict[str, str]:
    if not table_exists(lake, table):
        return {}
    stored = {field.name for field in pa.schema(open_table(lake, table).schema().to_arrow())}
    if not stored.issuperset(schema.names):
        return dict.fromkeys(list_partitions(lake, table), "of another declaration")
    keys = list_partitions(lake, table)
    return {key: digest_table(read_partitions(lake, table, [key], columns=schema.names).cast(schema)) for key in keys}


def _arrivals(workflow: Workflow, archive: Archive, urls: list[str], table: pa.Table, page: pa.Array) -> pa.Array:
    """
    When each row arrived: with its page's newest content; a row that no time of its own places, with its
    page's first.
    """
    first, last = (
        pa.array([archive.history(url)[end].fetched_at for url in urls], UTC_TIMESTAMP).take(page) for end in (0, -1)
    )
    times = table.column(workflow.source.event_time).combine_chunks()
    is_placed = pc.fill_null(pc.greater_equal(times, pa.scalar(workflow.start, UTC_TIMESTAMP)), False)
    return pc.if_else(is_placed, last, first)


def _checked_page(source: WebSource, archive: Archive, kept: KeptRows, url: str) -> PageRows:
    *earlier, newest = archive.history(url)
    rows = kept.of_page(newest)
    lost = _found_nothing(source, rows.found)
    # Only a page that lacks something is compared with what it was before.
    for stored in reversed(earlier) if lost else ():
        before = kept.of_page(stored).found
        for name in lost:
            if before.get(name):
                raise LayoutChangedError(
                    f"{shown(url)}: {_selector(source, name)} finds nothing on this page, where it found "
                    f"{before[name]} on {stored.fetched_at:%Y-%m-%d}: the page was rebuilt; correct the declaration, "
                    "the archive is then read again"
                )
    return rows


def _found_nothing(source: WebSource, found: object) -> list[str]:
    counts = dict(found)  # type: ignore[call-overload]
    if not counts.get(ITEMS):
        return [ITEMS]
    return [name for name in source.columns if name not in source.optional and not counts.get(name)]


def _check_totals(source: WebSource, totals: Counter[str], url: str) -> None:
    for name in _found_nothing(source, totals):
        raise LayoutChangedError(
            f"{shown(url)}: {_selector(source, name)} finds nothing on this page, nor on any other archived one: "
            "correct the declaration"
        )


def _selector(source: WebSource, name: str) -> str:
    if source.parser is not None:
        return f"the parser {source.parser}" + ("" if name == ITEMS else f" (column {name!r})")
    return f"the selector {source.item if name == ITEMS else source.fields[name]!r}"
