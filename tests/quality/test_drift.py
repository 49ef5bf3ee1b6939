"""
Schema drift: of twelve mutated copies of a day, what is new is taken, what is gone or retyped stops, and order means
nothing.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import pyarrow as pa
import pytest

from include.errors import ContractViolationError, DataError
from include.lake.partitions import read_partition
from include.quality.drift import compare_columns
from include.workflow import Quality
from tests.quality.partitions import day_rows, key_of, land, publish, publish_days, validate
from tests.quality.rows import ROW_COUNT

DAY = key_of(1)
# Rules that the lost columns do not break: Great Expectations alone has nothing against any of the copies.
SUITE = [ROW_COUNT]


@dataclass(frozen=True)
class Mutation:
    """A changed copy of the day, and what becomes of it."""

    name: str
    rows: pa.Table
    stop: str = ""
    note: str = ""


def recast(name: str, kind: pa.DataType) -> pa.Table:
    rows = day_rows(1)
    return rows.set_column(rows.column_names.index(name), name, rows.column(name).cast(kind, safe=False))


def mutations() -> list[Mutation]:
    rows = day_rows(1)
    names = rows.column_names
    fragile = rows.append_column("fragile", pa.array([True] * rows.num_rows))
    gone = "column '{0}' ({1}) is gone: 2026-01-05 had it"
    retyped = "column '{0}' is {1}, but the table holds it as {2}"
    return [
        Mutation("added", fragile, note="column 'fragile' (bool) is new since 2026-01-05"),
        Mutation(
            "added first", fragile.select(["fragile", *names]), note="column 'fragile' (bool) is new since 2026-01-05"
        ),
        Mutation(
            "added, all null",
            rows.append_column("note", pa.nulls(40, pa.string())),
            note="column 'note' (string) is new",
        ),
        Mutation("dropped", rows.drop_columns(["weight_kg"]), stop=gone.format("weight_kg", "double")),
        Mutation("two dropped", rows.drop_columns(["weight_kg", "depot"]), stop=gone.format("depot", "string")),
        Mutation(
            "renamed", rows.rename_columns({"weight_kg": "weight"}), stop="was it renamed to 'weight'? Bring it back"
        ),
        Mutation(
            "number to text", recast("distance_km", pa.string()), stop=retyped.format("distance_km", "string", "double")
        ),
        Mutation(
            "float to integer", recast("distance_km", pa.int64()), stop=retyped.format("distance_km", "int64", "double")
        ),
        Mutation("flag to integer", recast("is_late", pa.int64()), stop=retyped.format("is_late", "int64", "bool")),
        Mutation(
            "time to date",
            recast("recorded_at", pa.date32()),
            stop="column 'recorded_at' is date32[day], but the table holds it as",
        ),
        Mutation("reversed", rows.select(names[::-1])),
        Mutation("rotated", rows.select([*names[3:], *names[:3]])),
    ]


@pytest.mark.parametrize("mutation", mutations(), ids=lambda mutation: mutation.name)
def test_a_mutated_copy_is_taken_or_stopped(lake, tmp_path, caplog, mutation):
    publish_days(lake, tmp_path, 1, expectations=SUITE)
    if mutation.stop:
        with pytest.raises(DataError) as caught:
            publish(lake, tmp_path, mutation.rows, key=DAY, expectations=SUITE)
        assert mutation.stop in str(caught.value)
        assert not (tmp_path / "home" / "lake" / "parcels" / "validated" / DAY).exists()
        return
    with caplog.at_level(logging.WARNING):
        report = validate(lake, tmp_path, land(lake, mutation.rows, key=DAY), expectations=SUITE)
    assert [mutation.note in note for note in report.notes] == ([True] if mutation.note else [])
    assert (mutation.note in caplog.text) is True


@pytest.mark.parametrize("order", [slice(None, None, -1), slice(2, None)], ids=["reversed", "rotated"])
def test_the_order_of_columns_changes_no_digest(lake, tmp_path, order):
    rows = day_rows(0)
    names = rows.column_names[order]
    plain = publish(lake, tmp_path, rows, expectations=SUITE)
    raw = land(lake, rows)
    again = land(lake, rows.select([*names, *(name for name in rows.column_names if name not in names)]))
    assert (raw.digest, again.digest, again.is_changed) == (raw.digest, raw.digest, False)
    assert publish(lake, tmp_path, rows.select(rows.column_names[::-1]), expectations=SUITE).digest == plain.digest


def test_freeze_refuses_what_is_new_and_evolve_takes_it(lake, tmp_path):
    publish_days(lake, tmp_path, 1)
    landed = land(lake, day_rows(1).append_column("fragile", pa.array([True] * 40)), key=DAY)
    with pytest.raises(
        ContractViolationError, match=r"column 'fragile' \(bool\) is new since 2026-01-05: .*'freeze' refuses it"
    ):
        validate(lake, tmp_path, landed, quality=Quality(schema_drift="freeze"))
    assert validate(lake, tmp_path, landed).rows_published == 40


def test_a_column_that_is_gone_for_good_is_declared(lake, tmp_path):
    """Without the declaration the table would read as nulls: that is the control."""
    publish_days(lake, tmp_path, 1, expectations=SUITE)
    landed = land(lake, day_rows(1).drop_columns(["weight_kg"]), key=DAY)
    assert read_partition(lake, "parcels/raw", DAY).column("weight_kg").null_count == 40
    with pytest.raises(ContractViolationError, match=r"declare quality\.dropped=\('weight_kg',\)"):
        validate(lake, tmp_path, landed, expectations=SUITE)
    report = validate(lake, tmp_path, landed, expectations=SUITE, quality=Quality(dropped=("weight_kg",)))
    assert report.notes == ("column 'weight_kg' (double) is gone since 2026-01-05, as quality.dropped declares",)


def test_a_stopped_day_is_no_measure_for_the_next(lake, tmp_path):
    """The second day lost a column and was not published: the third is held against the first."""
    publish_days(lake, tmp_path, 1, expectations=SUITE)
    land(lake, day_rows(1).drop_columns(["weight_kg"]), key=DAY)
    with pytest.raises(ContractViolationError, match="is gone: 2026-01-05 had it"):
        publish(lake, tmp_path, day_rows(2).drop_columns(["weight_kg"]), key=key_of(2), expectations=SUITE)
    assert publish(lake, tmp_path, day_rows(2), key=key_of(2), expectations=SUITE).rows_published == 40


def test_a_backfill_of_an_earlier_day_is_not_held_against_a_later_one(lake, tmp_path):
    publish(lake, tmp_path, day_rows(1).append_column("fragile", pa.array([True] * 40)), key=DAY, expectations=SUITE)
    assert publish(lake, tmp_path, day_rows(0), key=key_of(0), expectations=SUITE).rows_published == 40


def test_two_types_of_one_column_are_named():
    drift = compare_columns({"n": pa.int64()}, {"n": pa.string()}, quality=Quality(), since="2026-01-05")
    assert drift.stops == ("column 'n' is string, and was int64 in 2026-01-05: cast it back to int64 in the source",)
