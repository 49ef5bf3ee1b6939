"""A source that has quiet times: a partition without a row is published as such, once that is declared."""

from __future__ import annotations

from pathlib import Path

import pytest

from include.errors import ContractViolationError
from include.lake.ledger import latest_run
from include.lake.partitions import read_partition, read_partitions
from include.lake.store import Lake
from tests.factories import declare_workflow, parcel_rows
from tests.quality.partitions import KEY, day_rows, key_of, land, publish, validate


@pytest.fixture
def quiet(tmp_path: Path):
    """The parcels' source, which may be empty."""
    return declare_workflow(tmp_path / "other").source.model_copy(update={"may_be_empty": True})


def test_without_the_declaration_it_is_refused(lake: Lake, tmp_path: Path) -> None:
    landed = land(lake, parcel_rows().slice(0, 0))
    with pytest.raises(ContractViolationError, match=r"it is empty: .* or declare source.may_be_empty"):
        validate(lake, tmp_path, landed)


def test_a_quiet_day_between_two_others_is_published(lake: Lake, tmp_path: Path, quiet) -> None:
    """The suite's lower bound on the row count (5) is for days on which something happened."""
    counts = []
    for day, rows in enumerate((day_rows(0), day_rows(1).slice(0, 0), day_rows(2))):
        line = publish(lake, tmp_path, rows, key=key_of(day), source=quiet)
        counts.append((line.rows_in, line.rows_published, line.rows_quarantined, line.rows_duplicate))
    assert counts == [(40, 40, 0, 0), (0, 0, 0, 0), (40, 40, 0, 0)]
    assert read_partitions(lake, "parcels/validated", [key_of(day) for day in range(3)]).num_rows == 80
    assert latest_run(lake, "parcels", key_of(1)).rows_in == 0


def test_rows_that_are_gone_are_taken_back(lake: Lake, tmp_path: Path, quiet) -> None:
    publish(lake, tmp_path, day_rows(0), source=quiet)
    line = publish(lake, tmp_path, day_rows(0).slice(0, 0), source=quiet)
    assert line.rows_in == 0
    assert read_partition(lake, "parcels/validated", KEY).num_rows == 0


def test_a_day_with_rows_is_judged_as_ever(lake: Lake, tmp_path: Path, quiet) -> None:
    with pytest.raises(ContractViolationError, match="row_count"):
        validate(lake, tmp_path, land(lake, day_rows(0, n_rows=4)), source=quiet)
