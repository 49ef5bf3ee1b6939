"""Labels of served rows: by key, by request, corrected, ambiguous, not there."""

from __future__ import annotations

from datetime import timedelta

import pyarrow as pa
import pytest

from include.errors import DataError
from include.lake.fencing import new_token
from include.lake.partitions import read_partition, replace_partition
from include.monitoring.labels import match_labels, record_labels
from include.monitoring.served import read_served
from include.workflow.partitions import window_of_moment
from tests.factories import days
from tests.monitoring.production import AS_OF

MONDAY, TUESDAY = days(2, start=AS_OF)
NOW = AS_OF + timedelta(days=3)


def found(production, *, now=NOW):
    window = window_of_moment("day", MONDAY)
    served = read_served(production.lake, "parcels", window, minimum_rows=1)
    return match_labels(
        production.workflow, production.model.manifest, served, window=window, lake=production.lake, now=now
    )


def handed_in(labels, *, known=NOW, first=0):
    n = len(labels)
    return pa.table(
        {
            "request_id": [f"r0202-{first + i}" for i in range(n)],
            "row_index": [0] * n,
            "label": labels,
            "known_time": pa.array([known] * n, pa.timestamp("us", tz="UTC")),
        }
    )


def test_rows_find_their_labels_by_the_sources_key(production):
    rows = production.serve(MONDAY)
    production.publish(MONDAY, rows, share=0.5)
    assert list(found(production).values) == rows["is_late"].to_pylist()[:150] + [None] * 150


def test_no_label_counts_before_it_was_known(production):
    rows = production.serve(MONDAY)
    production.publish(MONDAY, rows)
    at_noon = found(production, now=MONDAY + timedelta(hours=12))
    # Parcels of a day become known an hour after they were sent.
    assert at_noon.n_labelled == sum(known <= MONDAY + timedelta(hours=12) for known in rows["recorded_at"].to_pylist())


def test_a_label_key_that_does_not_tell_rows_apart_labels_none_of_them(production):
    production.publish(MONDAY, production.serve(MONDAY))
    truth = found(production.declared(label_key=("depot",)))
    assert truth.n_labelled == 0
    assert truth.notes == ("300 requests fit several rows: depot do not tell rows apart, name more columns",)


def test_a_key_that_requests_do_not_carry_is_said_so(production):
    production.publish(MONDAY, production.serve(MONDAY))
    truth = found(production.declared(label_key=("barcode",)))
    assert (truth.n_labelled, "the model does not read 'barcode'" in truth.notes[0]) == (0, True)


def test_before_anything_is_published_there_is_no_label(production):
    production.serve(MONDAY)
    assert found(production).notes == ("no partition with these rows is published yet",)


def test_rows_without_a_known_key_have_no_label(production):
    rows = production.serve(MONDAY)
    production.publish(MONDAY, rows)
    kept = read_partition(production.lake, "parcels/predictions", "2026-02-02")
    inputs = ['{"depot": "north", "sent_at": "9999-12-31T23:59:59"}', "{", *kept["inputs"].to_pylist()[2:]]
    kept = kept.set_column(kept.schema.get_field_index("inputs"), "inputs", pa.array(inputs))
    replace_partition(production.lake, "parcels/predictions", "2026-02-02", kept, token=new_token())
    assert found(production).values[:3] == (None, None, rows["is_late"][2].as_py())


def test_labels_handed_in_by_request_come_first_and_the_latest_holds(production):
    rows = production.serve(MONDAY)
    production.publish(MONDAY, rows)
    truth = rows["is_late"].to_pylist()
    assert record_labels(production.workflow, handed_in([not label for label in truth[:3]]), lake=production.lake)
    assert found(production).values[:4] == (not truth[0], not truth[1], not truth[2], truth[3])
    corrected = handed_in([truth[0]], known=NOW + timedelta(hours=1))
    assert record_labels(production.workflow, corrected, lake=production.lake)
    assert found(production).values[0] is (not truth[0])
    assert found(production, now=NOW + timedelta(hours=2)).values[0] is truth[0]


def test_labels_handed_in_twice_are_kept_once(production):
    rows = handed_in([True, False])
    assert [record_labels(production.workflow, rows, lake=production.lake) for _ in range(2)] == [True, False]
    assert read_partition(production.lake, "parcels/labels", f"{NOW:%Y-%m-%d}").num_rows == 2
    assert not record_labels(production.workflow, rows.slice(0, 0), lake=production.lake)


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (handed_in([True]).drop_columns(["label"]), "lack the column 'label'"),
        (handed_in([None, True]), "hold nulls in 'label'"),
    ],
)
def test_unusable_labels_are_refused(production, rows, said):
    with pytest.raises(DataError, match=said):
        record_labels(production.workflow, rows, lake=production.lake)
