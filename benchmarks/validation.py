"""
What validation costs beside Great Expectations alone: 20 rules on 1,000,000 rows of 20 columns, in CPU time.

Plain Great Expectations counts and samples; Updraft names every failing row, with all its reasons. That is the first
line. The second begins with the raw Arrow table, gives each row its id and finds duplicates besides, of which Great
Expectations knows nothing. Run: `python -m benchmarks.validation`.
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

os.environ.setdefault("GX_ANALYTICS_ENABLED", "False")

import great_expectations as gx
import numpy as np
import pyarrow as pa

from benchmarks.report import Finding, median_cpu_seconds, median_seconds
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from include.lake.store import Lake
from include.quality.frames import frame_of
from include.quality.publication import publish_partition
from include.quality.report import ValidationReport
from include.quality.row_ids import compute_row_ids
from include.quality.rows import identify_rows, read_rows
from include.quality.split import judge_rows, split_partition, tabulate_split
from include.quality.split_files import QUARANTINED, count_outcome
from include.quality.suite import Suite, load_suite
from include.quality.validation import validate_partition
from include.workflow import DatabaseSource, Features, Target, Workflow

N_ROWS, REPEAT, KEY = 1_000_000, 3, "2026-01-05"
SOURCE = DatabaseSource(conn_id="bench", query="q.sql", event_time="at", known_time="known", key=("id",))


def make_rows(n_rows: int = N_ROWS) -> pa.Table:
    """Rows of 20 columns, about one in thousand of which breaks a rule."""
    rng = np.random.default_rng(0)
    at = pa.array(np.arange(n_rows) + 1_767_571_200_000_000, pa.timestamp("us", tz="UTC"))
    columns: dict[str, Any] = {"id": np.arange(n_rows), "at": at, "known": at, "source_position": np.arange(n_rows)}
    columns |= {f"x{i}": rng.normal(size=n_rows) for i in range(9)}
    columns |= {f"n{i}": rng.integers(0, 1000, n_rows) for i in range(4)}
    columns |= {f"s{i}": rng.choice(["a", "b", "c", "d"], n_rows) for i in range(4)}
    return pa.table(columns)


def make_suite(folder: Path) -> Suite:
    """20 rules of the usual kinds."""
    between, not_null = "expect_column_values_to_be_between", "expect_column_values_to_not_be_null"
    rules = [(between, {"column": f"x{i}", "min_value": -4, "max_value": 4}) for i in range(9)]
    rules += [(not_null, {"column": name}) for name in ("id", "at", "known", "n0", "n1", "n2")]
    rules += [
        ("expect_column_values_to_be_in_set", {"column": f"s{i}", "value_set": ["a", "b", "c", "d"]}) for i in range(4)
    ]
    rules += [("expect_table_row_count_to_be_between", {"min_value": 1})]
    path = folder / "expectations.json"
    path.write_text(
        json.dumps({"name": "bench", "expectations": [{"type": kind, "kwargs": kwargs} for kind, kwargs in rules]})
    )
    return load_suite(path)


def day_findings(folder: Path) -> list[Finding]:
    """What one small partition costs, page included: 900 rows of 19 columns, 20 rules."""
    workflow = Workflow(
        name="bench",
        description="One day.",
        source=SOURCE,
        target=Target(column="n0"),
        features=Features(),
        folder=_declare(folder),
    )
    lake = Lake(uri=str(folder / "lake"))
    commit = replace_partition(lake, "bench/raw", KEY, make_rows(900), token=new_token())

    def validate() -> ValidationReport:
        return validate_partition(workflow, KEY, lake=lake, raw_version=commit.version, run_id="bench")

    report = validate()
    seconds = median_seconds(validate, repeat=REPEAT)
    publish = median_seconds(
        lambda: publish_partition(workflow, report, lake=lake, token=new_token(), run_id="bench", try_id="bench"),
        repeat=REPEAT,
    )
    return [
        Finding(
            what="Validate one day, 900 × 19",
            observed=seconds,
            bound=0.3,
            unit=" s",
            note=f"publish again {publish:.2f} s",
        )
    ]


def _declare(folder: Path) -> Path:
    make_suite(folder)
    (folder / "q.sql").write_text("SELECT 1")
    os.environ["UPDRAFT_HOME"] = str(folder / "home")
    return folder


def plain_batch(frame: Any) -> Any:
    """A batch of Great Expectations, as its tutorial makes one; its progress bars are off."""
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False}
    asset = context.data_sources.add_pandas("bench").add_dataframe_asset("rows")
    return asset.add_batch_definition_whole_dataframe("all").get_batch({"dataframe": frame})


def plain_suite_of(suite: Suite) -> Any:
    """The same rules as Great Expectations' own suite."""
    expectations = [{"type": rule.type, "kwargs": dict(rule.kwargs)} for rule in suite.rules]
    return gx.ExpectationSuite(name="bench", expectations=expectations)


def measure() -> list[Finding]:
    """Seconds of both, their ratio, and what identifying the rows adds."""
    raw = make_rows()
    with tempfile.TemporaryDirectory() as folder:
        suite = make_suite(Path(folder))
        day = day_findings(Path(folder))
    rows = read_rows(raw, SOURCE)
    frame = frame_of(rows.source)
    row_ids = identify_rows(rows, SOURCE)
    kept = np.arange(raw.num_rows)

    def judge_and_split() -> pa.Table:
        return tabulate_split(
            rows,
            row_ids=row_ids,
            kept=kept,
            findings=judge_rows(rows, frame=frame, suite=suite, source=SOURCE).findings,
        )

    batch, plain_suite = plain_batch(frame), plain_suite_of(suite)
    plain, ours, whole = median_cpu_seconds(
        lambda: batch.validate(plain_suite, result_format="SUMMARY"),
        judge_and_split,
        lambda: split_partition(raw, suite=suite, source=SOURCE),
        repeat=REPEAT,
    )
    whole_ids = median_seconds(lambda: compute_row_ids(rows.source, rows.source.column_names), repeat=1)
    key_ids = median_seconds(lambda: compute_row_ids(rows.source, SOURCE.key), repeat=1)
    n_failing = count_outcome(judge_and_split(), QUARANTINED)
    return [
        Finding(
            what="Complete split beside Great Expectations alone, 1 M × 20",
            observed=ours / plain,
            bound=1.2,
            note=f"{ours:.2f} CPU s beside {plain:.2f}, {n_failing} failing rows",
        ),
        Finding(
            what="The same from the raw table, with ids and duplicates",
            observed=whole / plain,
            bound=1.2,
            note=f"{whole:.2f} CPU s beside {plain:.2f}, of a single column as key",
        ),
        *day,
        Finding(
            what="Row ids of 1 M rows, of 20 columns",
            observed=whole_ids,
            bound=2.5,
            unit=" s",
            note=f"of a key {key_ids:.2f} s",
        ),
    ]


if __name__ == "__main__":
    for finding in measure():
        print(finding.line())
