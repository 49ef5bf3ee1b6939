"""The quarantined share above which nothing is published; below it, every row is accounted for."""

from __future__ import annotations

import json
from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from include.errors import ContractViolationError
from include.lake.fencing import new_token
from include.lake.ledger import RUNS, latest_run, read_ledger
from include.lake.partitions import read_partition
from include.lake.store import Lake, table_exists, table_version
from include.quality.publication import publish_partition
from include.quality.report import ValidationReport
from include.workflow import Quality
from tests.factories import declare_workflow, parcel_rows
from tests.quality.partitions import KEY, land, validate
from tests.quality.rows import changed

SHARE = r"(\d+) of (\d+) rows \((\S+)%\) break a rule, and at most 50\.0% may \(quality\.max_quarantined\): "


def spoiled(n_bad, n_rows=40):
    return changed(parcel_rows(n_rows=n_rows), "is_late", dict.fromkeys(range(n_bad)))


def test_at_the_limit_it_publishes_and_above_it_does_not(lake, tmp_path):
    assert validate(lake, tmp_path, land(lake, spoiled(20))).rows_quarantined == 20
    with pytest.raises(ContractViolationError, match=SHARE + r"is_late: expect_column_values_to_not_be_null \(21\)"):
        validate(lake, tmp_path, land(lake, spoiled(21)))
    assert not table_exists(lake, "parcels/validated")


def test_a_stopped_partition_stands_in_the_ledger_with_its_reasons(lake, tmp_path):
    """Raw keeps the rows, nothing else changes; and what had been published before is still what was published."""
    first = land(lake, spoiled(2))
    report = validate(lake, tmp_path, first)
    workflow = declare_workflow(tmp_path / "parcels")
    published = publish_partition(workflow, report, lake=lake, token=new_token(), run_id="r1", try_id="t1")
    before = [table_version(lake, f"parcels/{table}") for table in ("validated", "quarantine")]
    with pytest.raises(ContractViolationError):
        validate(lake, tmp_path, land(lake, spoiled(30)))
    assert [table_version(lake, f"parcels/{table}") for table in ("validated", "quarantine")] == before
    assert latest_run(lake, "parcels", KEY) == published
    *_, line = read_ledger(lake, RUNS, workflow="parcels", with_stops=True).to_pylist()
    assert (line["status"], line["rows_in"], line["rows_published"], line["rows_quarantined"]) == ("stopped", 40, 0, 0)
    assert "30 of 40 rows (75.0%) break a rule" in json.loads(line["reasons"])[0]
    assert read_partition(lake, "parcels/raw", KEY).num_rows == 40


def test_the_limit_is_declared_and_may_be_lifted(lake, tmp_path):
    commit = land(lake, spoiled(39))
    assert validate(lake, tmp_path, commit, quality=Quality(max_quarantined=None)).rows_published == 1
    with pytest.raises(ContractViolationError, match=r"39 of 40 rows \(97\.5%\) break a rule, and at most 1\.0% may"):
        validate(lake, tmp_path, commit, quality=Quality(max_quarantined=0.01))


def test_duplicates_are_neither_good_nor_bad(lake, tmp_path):
    """12 bad of 20 rows, beside 20 copies of good ones: 30 % of what came in, but 60 % of what was judged."""
    rows = changed(parcel_rows(n_rows=20), "is_late", dict.fromkeys(range(12)))
    copies = rows.take(np.r_[0:20, np.repeat(np.arange(12, 20), 3)[:20]])
    with pytest.raises(ContractViolationError, match=r"12 of 20 rows \(60\.0%\)"):
        validate(lake, tmp_path, land(lake, copies))


@settings(max_examples=12, deadline=None)
@given(n_bad=st.integers(0, 30), n_copies=st.integers(0, 10), seed=st.integers(0, 99))
def test_whatever_share_is_bad_no_row_is_lost(tmp_path_factory, n_bad, n_copies, seed):
    """The counts are taken from the rows themselves: which are bad is known before they are judged."""
    folder = tmp_path_factory.mktemp("share")
    lake = Lake(uri=str(folder / "lake"), storage_options={})
    rng = np.random.default_rng(seed)
    rows = changed(parcel_rows(n_rows=30), "depot", dict.fromkeys(rng.permutation(30)[:n_bad].tolist(), "moon"))
    landed = land(lake, rows.take(np.r_[0:30, rng.integers(0, 30, n_copies)]))
    if n_bad > 15:
        with pytest.raises(ContractViolationError, match=f"{n_bad} of 30 rows|each of the 30 rows"):
            validate(lake, folder, landed)
        return
    report = validate(lake, folder, landed)
    assert (report.rows_in, report.rows_published, report.rows_quarantined, report.rows_duplicate) == (
        30 + n_copies,
        30 - n_bad,
        n_bad,
        n_copies,
    )


def test_a_report_survives_json(lake, tmp_path, workflow):
    report = validate(lake, tmp_path, land(lake, spoiled(3)))
    again = ValidationReport.from_dict(json.loads(json.dumps(asdict(report))))
    assert again == report
    record = publish_partition(workflow, again, lake=lake, token=new_token(), run_id="r", try_id="t")
    assert (record.partition_key, record.rows_quarantined) == (KEY, 3)
