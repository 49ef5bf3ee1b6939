"""What the suite of every declared workflow has to state, so that an empty or a half batch is not called a success."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from include.settings import PROJECT_ROOT

SUITES = sorted((PROJECT_ROOT / "include" / "workflows").glob("*/expectations.json"))
VOLUME = {"expect_table_row_count_to_be_between", "expect_partition_row_count_to_be_within_history"}


def test_every_workflow_has_a_suite():
    declared = {path.parent.name for path in (PROJECT_ROOT / "include" / "workflows").glob("*/workflow.py")}
    assert {path.parent.name for path in SUITES} == declared
    assert len(declared) >= 2


@pytest.mark.parametrize("path", SUITES, ids=lambda path: path.parent.name)
def test_each_suite_bounds_the_number_of_rows_and_asks_for_values(path: Path):
    rules = json.loads(path.read_text(encoding="utf-8"))["expectations"]
    lower = [
        rule["kwargs"].get("min_value") or rule["kwargs"].get("min_ratio") for rule in rules if rule["type"] in VOLUME
    ]
    assert any(bound and bound > 0 for bound in lower)
    assert any(rule["type"] == "expect_column_values_to_not_be_null" for rule in rules)
