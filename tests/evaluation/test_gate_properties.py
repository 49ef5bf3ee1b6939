"""What is missing, empty or not finite never ships, whatever else the evidence says."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from include.evaluation.gate import judge
from include.workflow import Gate
from tests.evaluation.rows import draw_evidence

NOT_FINITE = st.sampled_from([math.nan, math.inf, -math.inf, None])
SMALL = draw_evidence(n_rows=250, noise=0.1, champion_noise=3.0)
ROWS = ("y_true", "candidate", "naive", "champion", "seen_by_candidate", "seen_by_champion")


def test_control_that_evidence_ships_if_it_is_whole():
    assert judge(SMALL, Gate(slices=("depot",))).verdict == "PROMOTE"


@given(st.data(), st.sampled_from(["y_true", "candidate", "naive", "champion"]), NOT_FINITE)
@settings(max_examples=60, deadline=None)
def test_one_number_that_is_not_finite_never_ships(data, field, value):
    values = np.asarray(getattr(SMALL, field), dtype=object).copy()
    for index in data.draw(st.sets(st.integers(0, len(values) - 1), min_size=1)):
        values[index] = value
    assert judge(replace(SMALL, **{field: values}), Gate()).verdict != "PROMOTE"


@given(
    st.sampled_from(["latency_ms", "size_mb"]),
    st.one_of(NOT_FINITE, st.floats(max_value=-1e-9), st.text(), st.booleans()),
)
@settings(max_examples=60, deadline=None)
def test_no_unmeasured_latency_or_size_ships(field, value):
    assert judge(replace(SMALL, **{field: value}), Gate()).verdict == "REJECT"


@given(st.sampled_from(ROWS), st.one_of(st.none(), st.integers(0, 249)))
@settings(max_examples=40, deadline=None)
def test_nothing_ships_with_a_part_that_is_missing_or_cut_short(field, n_kept):
    values = None if n_kept is None else np.asarray(getattr(SMALL, field))[:n_kept]
    assert judge(replace(SMALL, **{field: values}), Gate()).verdict != "PROMOTE"


@given(st.integers(0, 19), st.sampled_from([(), ("depot",)]))
@settings(max_examples=20, deadline=None)
def test_too_few_rows_never_ship(n_rows, slices):
    cut = {field: np.asarray(getattr(SMALL, field))[:n_rows] for field in ROWS}
    evidence = replace(SMALL, **cut, slices={"depot": np.asarray(SMALL.slices["depot"])[:n_rows]})
    assert judge(evidence, Gate(slices=slices, minimum_rows=20)).verdict != "PROMOTE"


def test_control_the_naive_gate_promotes_nan():
    """Why all of the above: a comparison with nan is False, so 'reject if below' lets it through."""

    def naive_gate(metric: float, threshold: float) -> str:
        return "REJECT" if metric < threshold else "PROMOTE"

    assert naive_gate(math.nan, 0.8) == "PROMOTE"
    assert judge(replace(SMALL, candidate=np.full(250, math.nan)), Gate()).verdict == "REJECT"
