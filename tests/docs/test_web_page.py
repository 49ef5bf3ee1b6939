"""The page about web pages does what it says."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

import pytest

from include.lake.store import Lake
from include.rehearsal import ingest
from include.sources.extraction import collect_partition
from include.workflow import Workflow
from tests.docs.pages import type_in
from tests.fault_proxy import FaultProxy, status

KEY = "2026-01-05"
OFFER = (
    "<article class=offer id=o{n}><h2>Chair {n}</h2><b class=price>{price}</b><time "
    "datetime='2026-01-05T1{n}:00:00+01:00'></time><a href=/o/{n}>more</a><i class=sold>{sold}</i></article>"
)


def offers(*prices: str) -> bytes:
    articles = "".join(
        OFFER.format(n=n, price=price, sold="true" if n % 2 else "false") for n, price in enumerate(prices)
    )
    return f"<html><body>{articles}<a href='/offers/?page=2'>next</a></body></html>".encode()


@pytest.fixture
def site() -> Iterator[FaultProxy]:
    with FaultProxy() as proxy:
        proxy.faults["/offers/"] = [status(200, {}, offers("9.5", "-1", "7"))]
        last = OFFER.format(n=5, price="1 299,50", sold="x")
        proxy.faults["/offers/?page=2"] = [status(200, {}, f"<html><body>{last}</body></html>".encode())]
        yield proxy


@pytest.fixture
def workflow(tmp_path: Path) -> Workflow:
    type_in("sources/web.md", tmp_path)
    return runpy.run_path(str(tmp_path / "include/workflows/offers/workflow.py"))["workflow"]


def collect(workflow: Workflow, site: FaultProxy, lake: Lake) -> None:
    hurried = workflow.model_copy(update={"source": workflow.source.model_copy(update={"delay_seconds": 0.0})})
    collect_partition(
        hurried, KEY, connection_uri=f"http://{site.address}/?allow_private_host=true", lake=lake, token=1
    )


def test_the_offers_are_collected_and_accounted_for(workflow, site, tmp_path, monkeypatch):
    """Of four offers one has a negative price, and one neither a number nor a boolean."""
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    collect(workflow, site, lake)
    asked = len(site.seen)
    line = ingest(workflow, KEY, connection_uri=None, lake=lake)
    assert (line.rows_in, line.rows_published, line.rows_quarantined) == (4, 2, 2)
    assert len(site.seen) == asked == 3


def test_the_parser_of_its_own_reads_the_archive_again(workflow, site, tmp_path, monkeypatch):
    monkeypatch.setenv("UPDRAFT_HOME", str(tmp_path / "home"))
    lake = Lake(uri=str(tmp_path / "lake"), storage_options={})
    collect(workflow, site, lake)
    source = workflow.source
    types = {name: kind for name, kind in source.columns.items() if name != "link"}
    parsed = type(source)(
        **{**source.model_dump(exclude={"kind", "item", "fields", "optional"}), "parser": "pages.parse", "types": types}
    )
    line = ingest(workflow.model_copy(update={"source": parsed}), KEY, connection_uri=None, lake=lake)
    assert (line.rows_in, line.rows_published, line.rows_quarantined) == (4, 3, 1)
    assert len(site.seen) == 3
