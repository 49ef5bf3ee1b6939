"""Data Docs: a page of each validation, which shows counts and never a row's value."""

from __future__ import annotations

import logging
import os
import re
from pathlib import Path

import pyarrow as pa
import pytest

from include.errors import ContractViolationError
from include.lake.fencing import new_token
from include.lake.partitions import replace_partition
from include.quality.validation import validate_partition
from tests.factories import declare_workflow, parcel_rows
from tests.quality.rows import changed, with_positions

KEY = "2026-01-05"
SECRET = "ada@example.org"
SALARY = 98765.4321


def rule(type_, *, meta=None, **kwargs):
    return {"type": type_, "kwargs": {"column": "depot"} | kwargs, "meta": meta or {}}


WARN = {"severity": "warn"}
SUITE = {
    "name": "parcels",
    "expectations": [
        rule("expect_column_values_to_be_in_set", value_set=["north", "south", "east"]),
        rule("expect_column_distinct_values_to_be_in_set", value_set=["north"], meta=WARN),
        rule("expect_column_most_common_value_to_be_in_set", value_set=["x"], meta=WARN),
        rule("expect_column_max_to_be_between", column="distance_km", max_value=9, meta=WARN),
        rule(
            "expect_column_quantile_values_to_be_between",
            column="distance_km",
            quantile_ranges={"quantiles": [1.0], "value_ranges": [[0, 1]]},
            meta=WARN,
        ),
        rule("expect_column_value_lengths_to_be_between", max_value=99, meta={"reason": "short"}),
        {"type": "expect_table_row_count_to_be_between", "kwargs": {"min_value": 1}},
    ],
}


def validate(lake, folder, rows, *, run_id="manual__2026", suite=SUITE):
    commit = replace_partition(lake, "parcels/raw", KEY, with_positions(rows), token=new_token())
    workflow = declare_workflow(folder, suite=suite)
    return validate_partition(workflow, KEY, lake=lake, raw_version=commit.version, run_id=run_id)


def test_a_page_tells_why_rows_are_in_quarantine(lake, tmp_path):
    """Also for what no rule says: a null in the key, what the source found. At most forty reasons."""
    errors = pa.array([f"fault {number:02}" if number < 42 else None for number in range(100)], pa.string())
    rows = changed(parcel_rows(n_rows=100), "parcel_id", {0: None}).append_column("source_error", errors)
    text = Path(validate(lake, tmp_path / "w", rows).docs_uri).read_text()
    assert "<tr><td>parcel_id: key is missing</td><td class='number'>1</td></tr>" in text
    assert text.count("<td>source: fault ") == 39
    assert "<td>… and 3 more</td>" in text


def test_a_page_shows_each_rule_and_no_value(lake, tmp_path, home):
    rows = changed(parcel_rows(n_rows=20), "depot", dict.fromkeys(range(9), SECRET))
    rows = changed(rows, "distance_km", {0: SALARY})
    report = validate(lake, tmp_path / "w", rows)
    text = Path(report.docs_uri).read_text()
    assert Path(report.docs_uri).is_relative_to(home / "data_docs" / "parcels" / KEY)
    assert "depot" in text
    assert "short" in text
    assert "9 unexpected values found. 45% of 20 total rows." in text
    written = [file.read_bytes() for file in home.rglob("data_docs/**/*") if file.is_file()]
    assert not [data for data in written if SECRET.encode() in data or b"98765" in data]


def test_a_page_needs_no_other_host_and_no_script(lake, tmp_path, home):
    report = validate(lake, tmp_path / "w", changed(parcel_rows(n_rows=20), "depot", {0: "moon"}))
    for page in (Path(report.docs_uri), home / "data_docs" / "parcels" / "index.html"):
        text = page.read_text()
        assert not re.findall(r"<script|<link|<img|https?://|@import|url\(", text)
    assert "[warn]" in " ".join(report.failed)
    assert "<td>warn</td>" in Path(report.docs_uri).read_text()


def test_a_value_is_in_no_message_or_log_of_a_stopped_partition(lake, tmp_path, home, caplog):
    suite = {
        "expectations": [{"type": "expect_column_values_to_be_between", "kwargs": {"column": "depot", "min_value": 3}}]
    }
    with caplog.at_level(logging.DEBUG), pytest.raises(ContractViolationError) as caught:
        validate(
            lake, tmp_path / "w", changed(parcel_rows(n_rows=9), "depot", dict.fromkeys(range(9), SECRET)), suite=suite
        )
    assert SECRET not in str(caught.value) + caplog.text
    page = Path(str(caught.value).rsplit("see ", 1)[1])
    assert page.is_relative_to(home / "data_docs")
    assert "TypeError" in page.read_text()
    assert SECRET not in page.read_text()


def test_the_index_links_every_page_newest_partition_first(lake, tmp_path, home):
    first = validate(lake, tmp_path / "w", parcel_rows(), run_id="a")
    validate(lake, tmp_path / "w", parcel_rows(), run_id="a")
    second = validate(lake, tmp_path / "w", parcel_rows(), run_id="b")
    index = (home / "data_docs" / "parcels" / "index.html").read_text()
    assert index.count("<li>") == 2
    for report in (first, second):
        assert f"{KEY}/{Path(report.docs_uri).name}" in index


@pytest.mark.parametrize(
    "run_id", ["../../../etc/passwd", "manual__2026-01-05T00:00:00+00:00", "a/b", "..", "", "x" * 500, "<script>"]
)
def test_no_run_id_leaves_the_folder(lake, tmp_path, home, run_id):
    page = Path(validate(lake, tmp_path / "w", parcel_rows(), run_id=run_id).docs_uri)
    assert page.resolve().parent == home / "data_docs" / "parcels" / KEY
    assert page.is_file()
    assert "<script>" not in (home / "data_docs" / "parcels" / "index.html").read_text()


def test_great_expectations_is_quiet(lake, tmp_path, caplog, capfd):
    with caplog.at_level(logging.INFO):
        validate(lake, tmp_path / "w", parcel_rows())
    assert not [record for record in caplog.records if record.name.startswith("great_expectations")]
    assert "Calculating Metrics" not in capfd.readouterr().err
    assert os.environ["GX_ANALYTICS_ENABLED"] == "False"
