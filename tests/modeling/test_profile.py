"""Profiles of training rows: what they count, what they keep, what they know of usual windows."""

from __future__ import annotations

import json
import math
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from include.errors import DataError
from include.evaluation.divergence import distance
from include.modeling.profile import (
    PROFILE_FILE,
    TrainingProfile,
    profile_rows,
    profile_values,
    read_profile,
    with_usual_distances,
)
from include.selection.columns import FeatureColumn

MONDAY = np.datetime64("2026-01-05T00:00")
numbers = st.lists(st.one_of(st.none(), st.floats(allow_infinity=False, width=32)), min_size=1, max_size=60)
words = st.lists(st.one_of(st.none(), st.sampled_from(["a", "b", "c", "ü", ""])), min_size=1, max_size=60)


def times(n_rows, *, seconds=60):
    return MONDAY + (np.arange(n_rows) * seconds).astype("timedelta64[s]")


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@given(numbers, numbers)
def test_numbers_are_counted_as_they_are_placed(trained, served):
    profile = profile_values("x", "number", trained, times(len(trained)))
    assert sum(profile.counts) == len(trained)
    counted = profile.count(served)
    assert counted.sum() == len(served)
    assert counted.tolist() == np.bincount(profile.cells(served), minlength=len(counted)).tolist()
    assert counted[-1] == sum(value is None or math.isnan(value) for value in served)


@given(words, words)
def test_categories_are_counted_as_they_are_placed(trained, served):
    profile = profile_values("x", "category", trained, times(len(trained)))
    counted = profile.count(served)
    assert counted.tolist() == np.bincount(profile.cells(served), minlength=len(counted)).tolist()
    known = set(trained)
    assert counted[-2] == sum(value not in known for value in served if value is not None)
    assert counted[-1] == served.count(None)


def test_no_training_value_is_out_of_range_and_others_are(rng):
    values = rng.normal(size=1_000)
    profile = profile_values("x", "number", values, times(1_000))
    assert (profile.counts[0], profile.counts[-2]) == (0, 0)
    assert profile.count([values.max(), values.min()]).tolist()[0] == 0
    assert profile.count([values.max() + 1, values.min() - 1])[[0, -2]].tolist() == [1, 1]


def test_a_profile_is_small_and_survives_json(rng, tmp_path):
    n_rows = 2_000
    draws = zip(rng.normal(size=n_rows), rng.integers(0, 900, n_rows), strict=True)
    rows = [{"x": float(x), "c": f"name {k}", "t": "three words here"} for x, k in draws]
    columns = (
        FeatureColumn(name="x", kind="number"),
        FeatureColumn(name="c", kind="category"),
        FeatureColumn(name="t", kind="text"),
    )
    features = profile_rows(rows, columns, times(n_rows))
    profile = TrainingProfile(
        n_rows=n_rows, start="2026-01-05", end="2026-01-07", features=features, prediction=features[0]
    )
    (tmp_path / PROFILE_FILE).write_bytes(profile.to_json())
    assert read_profile(tmp_path) == profile
    # More than 500 names: none of the rare ones is kept, and a new one cannot be told from them.
    assert features[1].is_open
    assert len(profile.to_json()) < 4_000
    assert features[2].count(["one", "a b c"]).sum() == 2


def test_versions_without_a_profile_have_none_and_a_broken_one_is_told(tmp_path):
    assert read_profile(tmp_path) is None
    for content in (
        "{",
        json.dumps({"format": 9}),
        json.dumps({"format": 1, "features": [{"name": "x"}], "prediction": None}),
    ):
        (tmp_path / PROFILE_FILE).write_text(content)
        with pytest.raises(DataError, match="train the version again"):
            read_profile(tmp_path)


def test_what_differs_by_day_is_usual_for_a_day_and_not_for_a_week(rng):
    """A weekday is one value in each day: as far from a whole month as anything can be, every day."""
    moments = MONDAY + (np.sort(rng.integers(0, 28 * 86_400, 8_000))).astype("timedelta64[s]")
    weekday = ((moments - MONDAY) // np.timedelta64(1, "D") % 7).astype(int)
    profile = profile_values("weekday", "category", [f"day {d}" for d in weekday], moments)
    assert profile.usual["day"] > 0.7
    assert profile.usual["week"] < 0.05


def test_windows_that_differ_by_chance_alone_are_not_unusual(rng):
    moments = MONDAY + (np.sort(rng.integers(0, 28 * 86_400, 60_000))).astype("timedelta64[s]")
    profile = profile_values("x", "number", rng.normal(size=60_000), moments)
    # Of 672 hours with some 90 rows each, the one that lies furthest away by chance is 0.2 away.
    assert profile.usual == {"hour": 0.0, "day": 0.0, "week": 0.0}


def test_what_differs_by_week_is_usual_for_answers_to_one_week_alone(rng):
    """Eight weeks whose answers move to and fro; the test rows are of one of them."""
    moments = MONDAY + (np.sort(rng.integers(0, 56 * 86_400, 16_000))).astype("timedelta64[s]")
    weeks = ((moments - MONDAY) // np.timedelta64(7, "D")).astype(int)
    fitted = rng.normal(size=16_000) + np.array([0, 0.5, -0.5, 0, 0.5, -0.5, 0, 0.5])[weeks]
    last = moments >= MONDAY + np.timedelta64(49, "D")
    answers = profile_values("prediction", "number", fitted[last], moments[last])
    usual = with_usual_distances(answers, fitted, moments, stretch=timedelta(days=7)).usual["week"]
    furthest = max(
        distance(answers.count(fitted[weeks == a]).astype(float), answers.count(fitted[weeks == b])[None, :])[0]
        for a in range(8)
        for b in range(8)
    )
    assert usual == pytest.approx(furthest)
    assert usual > 0.2
    calm = with_usual_distances(answers, rng.normal(size=16_000), moments, stretch=timedelta(days=7))
    assert calm.usual["week"] == 0.0
    short = with_usual_distances(answers, fitted[weeks < 3], moments[weeks < 3], stretch=timedelta(days=7))
    assert short.usual == {}


def test_too_few_windows_tell_of_no_usual_distance(rng):
    assert profile_values("x", "number", rng.normal(size=200), times(200)).usual == {}


def test_a_feature_without_a_value_and_rows_without_a_feature_have_profiles():
    profile = profile_values("x", "number", [None, None], times(2))
    assert profile.counts == (0, 2)
    assert profile.count([1.0, None]).tolist() == [1, 1]
