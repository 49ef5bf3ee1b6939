"""
A site of twelve pages, each with five rows and a link to the next, behind a proxy that counts what is asked; and its
workflow.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
from deltalake import DeltaTable

from include.lake.store import Lake
from include.workflow import Features, Partition, WebSource, Workflow
from tests.factories import SUITE, declare_workflow
from tests.fault_proxy import FaultProxy, status

N_PAGES, N_ROWS, DAYS = 12, 5, ("2026-01-05", "2026-01-06")
NAMES = [f"page {page} row {row}" for page in range(N_PAGES) for row in range(N_ROWS)]


def page(number: int) -> bytes:
    """One page; its rows are of two days."""
    rows = "".join(f"<p class=e><b>page {number} row {row}</b><i>{DAYS[row % 2]}</i></p>" for row in range(N_ROWS))
    return f"<html><body>{rows}<a href=/p{number + 1}.html>next</a></body></html>".encode()


def serve(site: FaultProxy, *, answers: int = 1_000) -> None:
    """Let a proxy answer with the pages: each as often as said."""
    for number in range(N_PAGES):
        site.faults[f"/p{number}.html"] = [status(200, {"ETag": f'"{number}"'}, page(number))] * answers


def declare(folder: Path, address: str, **changes: Any) -> Workflow:
    """The workflow of a small site: from its first page, link by link."""
    parts = {
        "start": (f"http://{address}/p0.html",),
        "follow": (rf"/p(\d|1[0-{N_PAGES - 11}])\.html$",),
        "item": "p.e",
        "fields": {"name": "b::text", "day": "i::text"},
        "event_time": "day",
        "known_time": "day",
        "key": ("name",),
        "contact": "me@example.org",
        "delay_seconds": 0,
        "concurrency": 1,
        "allow_private_hosts": (address,),
    }
    suite = json.loads(json.dumps(SUITE))
    return declare_workflow(
        folder,
        suite=suite,
        source=WebSource(**{**parts, **changes}),
        features=Features(),
        partition=Partition(every="day", start=date(2026, 1, 1)),
    )


def rows_of(lake: Lake, table: str, column: str) -> Iterator[Any]:
    """One column of a Delta table's live files, read by pyarrow alone."""
    for path in DeltaTable(f"{lake.uri}/{table}").file_uris():
        yield from pq.ParquetFile(path).read([column])[column].to_pylist()
