"""Files of partitions that are over go; whatever may belong to one that is kept stays."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from include.sources.files.expiry import remove_old_files
from tests.sources.files.conftest import declare

CUTOFF = datetime(2026, 2, 1, tzinfo=UTC)


def remove(folder, pattern, *, every="day", **declared):
    remove_old_files(
        declare(folder, path=f"{folder}/{pattern}", **declared), every=every, cutoff=CUTOFF, connection_uri=None
    )
    return sorted(path.name for path in folder.iterdir())


def fill(folder, *names):
    for name in names:
        (folder / name).touch()


def test_what_ended_by_the_cutoff_goes_with_its_marker(tmp_path):
    fill(tmp_path, "2026-01-31.csv", "2026-01-31.csv.done", "2026-02-01.csv", "2026-02-01.csv.done")
    assert remove(tmp_path, "{partition_key}.csv", done_marker="{file}.done") == [
        "2026-02-01.csv",
        "2026-02-01.csv.done",
    ]


@pytest.mark.parametrize("name", ["of-2026-01-05-made-2026-03-01.csv", "of-2026-03-01-made-2026-01-05.csv"])
def test_of_two_dates_in_a_name_either_may_be_the_partition(tmp_path, name):
    fill(tmp_path, name, "of-2026-01-05-made-2026-01-09.csv")
    assert remove(tmp_path, "*{partition_key}*.csv") == [name]


def test_a_date_that_the_declaration_names_elsewhere_does_not_count(tmp_path):
    fill(tmp_path, "2026-01-05-made-2026-03-01.csv")
    assert remove(tmp_path, "{partition_key}-made-*.csv") == []


@pytest.mark.parametrize("name", ["2026-13-45.csv", "last year.csv", "2026-01-05.txt"])
def test_a_name_that_is_no_partitions_stays(tmp_path, name):
    fill(tmp_path, name)
    assert remove(tmp_path, "{partition_key}.csv") == [name]
