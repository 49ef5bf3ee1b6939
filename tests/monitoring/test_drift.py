"""Drift of one window: what counts, what does not, and what cannot be told."""

from __future__ import annotations

import numpy as np
import pytest

from include.modeling.profile import TrainingProfile, profile_rows, profile_values
from include.monitoring.drift import judge_drift
from include.selection.columns import FeatureColumn
from include.workflow import Drift

N_TRAINED = 20_000
COLUMNS = (FeatureColumn(name="x", kind="number"), FeatureColumn(name="depot", kind="category"))
TIMES = np.datetime64("2026-01-05T00:00") + (np.arange(N_TRAINED) * 60).astype("timedelta64[s]")


def draw(rng, n_rows, *, shift=0.0, depots=("north", "south"), missing=0.0):
    x = rng.normal(shift, 1, n_rows)
    lost = rng.random(n_rows) < missing
    return [
        {"x": None if gone else float(value), "depot": str(name)}
        for value, gone, name in zip(x, lost, rng.choice(depots, n_rows), strict=True)
    ]


@pytest.fixture(scope="module")
def profile():
    rng = np.random.default_rng(0)
    rows = draw(rng, N_TRAINED)
    prediction = profile_values("prediction", "number", rng.random(5_000), TIMES[:5_000])
    return TrainingProfile(
        n_rows=N_TRAINED, start="", end="", features=profile_rows(rows, COLUMNS, TIMES), prediction=prediction
    )


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def judge(profile, rows, rng, *, scores=None, **settings):
    scores = rng.random(len(rows)) if scores is None else scores
    return judge_drift(profile, rows, scores, settings=Drift(**settings), every="day")


@pytest.mark.parametrize("n_rows", [100, 1_000, 100_000])
def test_rows_as_in_training_are_ok_whatever_their_number(profile, rng, n_rows):
    found = judge(profile, draw(rng, n_rows), rng)
    assert (found.verdict, found.reasons) == ("ok", ())


@pytest.mark.parametrize("n_rows", [300, 1_000, 100_000])
def test_a_shift_by_half_a_spread_is_drift_whatever_their_number(profile, rng, n_rows):
    found = judge(profile, draw(rng, n_rows, shift=0.5), rng)
    assert [item.verdict for item in found.features] == ["drift", "ok", "ok"]
    assert found.features[0].effect == pytest.approx(0.205, abs=0.045)
    assert found.reasons[0].startswith("x: 0.")


def test_a_shift_below_the_minimum_effect_is_no_drift_however_sure_it_is(profile, rng):
    found = judge(profile, draw(rng, 100_000, shift=0.15), rng)
    x = found.features[0]
    assert x.p_value < 1e-50
    assert (x.verdict, found.verdict) == ("ok", "ok")
    assert judge(profile, draw(rng, 100_000, shift=0.15), rng, minimum_effect=0.05).verdict == "drift"


def test_missing_values_new_names_and_new_ranges_are_told_as_the_cause(profile, rng):
    rows = draw(rng, 2_000, missing=0.3, depots=("north", "moon"))
    rows[:400] = [{**row, "x": 50.0} for row in rows[:400]]
    reasons = "\n".join(judge(profile, rows, rng).reasons)
    assert "% missing, 0 % in training" in reasons
    assert "20 % above all training values, 0 % in training" in reasons
    assert "never seen in training" in reasons
    assert "moon" not in reasons  # names of served rows may be anybody's


def test_answers_that_move_are_drift(profile, rng):
    found = judge(profile, draw(rng, 1_000), rng, scores=rng.random(1_000) ** 2)
    assert [item.name for item in found.features if item.verdict == "drift"] == ["prediction"]


@pytest.mark.parametrize("n_rows", [0, 1, 49])
def test_too_few_rows_are_unknown(profile, rng, n_rows):
    found = judge(profile, draw(rng, n_rows, shift=9), rng)
    assert (found.verdict, found.features) == ("unknown", ())
    assert f"{n_rows} served rows: drift.minimum_rows=50" in found.reasons[0]


def test_windows_of_nothing_but_missing_values_are_unknown_and_never_ok(profile, rng):
    rows = [{"x": None, "depot": None}] * 500
    found = judge(profile, rows, rng, scores=np.full(500, np.nan))
    assert [item.verdict for item in found.features] == ["unknown"] * 3
    assert found.verdict == "unknown"
    assert found.effect is None
    one_lost = [{**row, "x": None} for row in draw(rng, 500)]
    assert judge(profile, one_lost, rng).verdict == "unknown"
    assert "x: no row of the window has a value (0 % missing in training)" in judge(profile, one_lost, rng).reasons


def test_drift_elsewhere_outweighs_what_cannot_be_told(profile, rng):
    rows = [{**row, "depot": None} for row in draw(rng, 500, shift=2)]
    assert judge(profile, rows, rng).verdict == "drift"


def test_what_the_training_rows_days_did_among_themselves_is_no_drift(rng):
    """Weather: each day around another mean. A window like one of them is as usual; one far outside is not."""
    day = np.repeat(rng.normal(0, 1, 30), 200)
    moments = TIMES[0] + (np.arange(6_000) * 432).astype("timedelta64[s]")
    x = profile_values("x", "number", day + rng.normal(0, 0.3, 6_000), moments)
    profile = TrainingProfile(n_rows=6_000, start="", end="", features=(x,), prediction=None)
    assert x.usual["day"] > 0.5
    like_a_day = [{"x": float(value)} for value in 0.8 + rng.normal(0, 0.3, 500)]
    far_away = [{"x": float(value)} for value in 9 + rng.normal(0, 0.3, 500)]
    assert judge(profile, like_a_day, rng).verdict == "ok"
    assert judge(profile, far_away, rng).verdict == "drift"
