"""
Bad rows that a test injects, and the proof that each is accounted for: published, quarantined with the right reasons,
or a duplicate.

What is right is known by construction, from what the test wrote into the source. What became of it is read from the
tables' own Parquet files and counted here, so that no code of Updraft's vouches for itself.

    expected = Expected(n_in=12_000, n_published=1_900, n_duplicate=100, reasons_by_row={17: ("price: value is
    infinite",), ...}) assert (expected.n_quarantined, expected.n_kinds) == (10_000, 9) ingest(workflow, "2026-01-05",
    lake=lake, connection_uri=uri) assert_accounted(lake, "orders", expected, marker_column="order_id")
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Hashable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from deltalake import DeltaTable

from include.lake.fencing import new_token
from include.lake.ledger import RunRecord
from include.lake.store import Lake
from include.quality.publication import publish_partition
from include.quality.validation import validate_partition
from include.sources.extraction import extract_partition
from include.workflow import Workflow

MAX_SHOWN = 5
# What was accounted for in the present test: a claim shows it.
FIGURES: list[str] = []
COUNTS = ("rows_in", "rows_published", "rows_quarantined", "rows_duplicate")


@dataclass(frozen=True, kw_only=True)
class Expected:
    """
    What has to become of the rows of one workflow, all partitions together.

    A row's marker is the value that a column of the source has in this row alone (a tuple, if several columns mark it).
    `reasons_by_row` holds the markers of the bad rows with all their reasons, in any order. `published` holds those of
    the good rows, where a test knows them: then these very rows must be published.
    """

    n_in: int
    n_published: int
    n_duplicate: int = 0
    reasons_by_row: Mapping[Hashable, Collection[str]] = field(repr=False)
    published: Collection[Hashable] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.n_in != self.n_published + self.n_quarantined + self.n_duplicate:
            raise ValueError(f"the test contradicts itself: {self}, {self.n_quarantined} to be quarantined")

    @property
    def n_quarantined(self) -> int:
        """How many rows are bad."""
        return len(self.reasons_by_row)

    @property
    def n_kinds(self) -> int:
        """In how many ways rows are bad: different sets of reasons."""
        return len({frozenset(reasons) for reasons in self.reasons_by_row.values()})


def ingest(workflow: Workflow, partition_key: str, *, lake: Lake, connection_uri: str | None = None) -> RunRecord:
    """
    Extract, validate and publish one partition, as the three tasks of the ingest Dag do; validation's page goes to
    UPDRAFT_HOME.
    """
    token = new_token()
    landed = extract_partition(workflow, partition_key, connection_uri=connection_uri, lake=lake, token=token)
    report = validate_partition(workflow, partition_key, lake=lake, raw_version=landed.version, run_id="test")
    return publish_partition(workflow, report, lake=lake, token=token, run_id="test", try_id="test")


def assert_accounted(
    lake: Lake, workflow_name: str, expected: Expected, *, marker_column: str | tuple[str, ...]
) -> None:
    """Compare what was expected with `<name>/quarantine`, `<name>/validated` and the latest lines of `ledger/runs`."""
    columns = (marker_column,) if isinstance(marker_column, str) else marker_column
    quarantined = list(_rows(lake, f"{workflow_name}/quarantine", (*columns, "reasons")))
    published = list(_rows(lake, f"{workflow_name}/validated", columns))

    found = Counter((_marker(row, columns), tuple(sorted(row["reasons"]))) for row in quarantined)
    wanted = Counter((marker, tuple(sorted(reasons))) for marker, reasons in expected.reasons_by_row.items())
    assert found == wanted, _difference("quarantined", found, wanted)
    if expected.published is not None:
        markers, good = Counter(_marker(row, columns) for row in published), Counter(expected.published)
        assert markers == good, _difference("published", markers, good)

    stated = latest_lines(lake, workflow_name)
    counted = tuple(sum(line[name] for line in stated.values()) for name in COUNTS)
    truth = (expected.n_in, expected.n_published, expected.n_quarantined, expected.n_duplicate)
    assert counted == truth, f"the ledger states {dict(zip(COUNTS, counted, strict=True))}, and the truth is {truth}"
    assert len(published) == expected.n_published, (
        f"{len(published)} rows are published, and {expected.n_published} should be"
    )
    _assert_each_partition_conserved(stated, published=published, quarantined=quarantined)
    FIGURES.append(
        f"{workflow_name}: {truth[0]:,} rows in = {truth[1]:,} published + {truth[2]:,} quarantined "
        f"({expected.n_kinds} kinds of reasons) + {truth[3]:,} duplicate"
    )


def latest_lines(lake: Lake, workflow_name: str) -> dict[str, dict[str, Any]]:
    """The ledger's latest line of each partition that is published; a later one may have been stopped."""
    lines = _rows(lake, "ledger/runs", ("workflow", "partition_key", "recorded_at", "status", *COUNTS))
    own = [line for line in lines if line["workflow"] == workflow_name and line["status"] == "published"]
    return {line["partition_key"]: line for line in sorted(own, key=lambda line: line["recorded_at"])}


def _assert_each_partition_conserved(
    stated: dict[str, dict[str, Any]], *, published: list[dict[str, Any]], quarantined: list[dict[str, Any]]
) -> None:
    good, bad = (Counter(row["partition_key"] for row in rows) for rows in (published, quarantined))
    assert good.keys() | bad.keys() <= stated.keys(), "a partition has rows, and no line in the ledger"
    for key, line in stated.items():
        assert (line["rows_published"], line["rows_quarantined"]) == (good[key], bad[key]), (
            f"the ledger's line of {key} is not true"
        )
        assert line["rows_in"] == good[key] + bad[key] + line["rows_duplicate"], f"rows of {key} are lost"


def _rows(lake: Lake, table: str, columns: Collection[str]) -> Iterator[dict[str, Any]]:
    """
    Rows of a Delta table's live files; those of a workflow's tables each with its `partition_key`, which
    is in no file.
    """
    folder = Path(lake.uri) / table
    if not (folder / "_delta_log").is_dir():
        return
    for file in pa.table(DeltaTable(str(folder)).get_add_actions(flatten=True)).to_pylist():
        for row in pq.ParquetFile(folder / file["path"]).read(columns=list(columns)).to_pylist():
            yield {"partition_key": file.get("partition.partition_key"), **row}


def _marker(row: dict[str, Any], columns: tuple[str, ...]) -> Hashable:
    return row[columns[0]] if len(columns) == 1 else tuple(row[name] for name in columns)


def _difference(what: str, found: Counter[Any], wanted: Counter[Any]) -> str:
    extra, missing = found - wanted, wanted - found
    return (
        f"{what}: {extra.total()} that should not be, for instance {list(extra)[:MAX_SHOWN]}; "
        f"{missing.total()} missing, for instance {list(missing)[:MAX_SHOWN]}"
    )
