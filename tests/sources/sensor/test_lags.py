"""A row's lags: the same device's earlier readings, as they were known when the forecast was made."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest

from include.errors import DataError, DeclarationError
from include.modeling.features import FeatureBuilder
from include.modeling.schema import hidden_columns
from include.workflow import Lag, SensorSource
from tests.mqtt_broker import as_json
from tests.sources.sensor.stations import DAY, declare, land_at, reading, rows_of

HOUR = timedelta(hours=1)
LAGS = {"pm25_2h": Lag(field="pm25", by="2 hours"), "pm25_26h": Lag(field="pm25", by="26 hours")}


def hourly(n, **changes):
    return reading(n, measured_at=(DAY + n * HOUR).isoformat(), **changes)


def test_a_lag_is_what_the_same_device_read_that_long_before(tmp_path, lake):
    workflow = declare(tmp_path / "w", lags=LAGS)
    for station, add in (("north", 0), ("south", 1000)):
        payloads = [(DAY + n * HOUR, as_json(hourly(n, station=station, pm25=n + add))) for n in range(48) if n != 30]
        land_at(lake, workflow, payloads, batch=station, topic=f"stations/{station}")
    found = {(row["station"], row["sequence"]): row for row in rows_of(lake, workflow, "2026-01-06").to_pylist()}
    assert len(found) == 46
    assert (found["north", 31]["pm25_2h"], found["south", 31]["pm25_2h"]) == (29, 1029)
    assert found["north", 32]["pm25_2h"] is None
    assert [found["south", n]["pm25_26h"] for n in (24, 25, 26, 47)] == [None, None, 1000, 1021]


def test_what_was_not_known_at_the_forecast_is_in_no_lag(tmp_path, lake):
    """
    The reading of 0:00 came at 1:30. The forecast for 3:00 was made at 1:00, without it; the one for 4:00 at 2:00, with
    it.
    """
    lags = {"by_3h": Lag(field="pm25", by="3 hours"), "by_4h": Lag(field="pm25", by="4 hours")}
    workflow = declare(tmp_path / "w", lags=lags, lead="2 hours")
    arrivals = [(DAY + 1.5 * HOUR, as_json(hourly(0, pm25=7)))] + [(DAY + n * HOUR, as_json(hourly(n))) for n in (3, 4)]
    land_at(lake, workflow, arrivals)
    rows = rows_of(lake, workflow, "2026-01-05")
    assert rows["sequence"].to_pylist() == [0, 3, 4]
    assert (rows["by_3h"].to_pylist(), rows["by_4h"].to_pylist()) == ([None, None, None], [None, None, 7])


def test_a_corrected_reading_counts_from_when_it_was_known(tmp_path, lake):
    """The device corrects 0:00 from 7 to 70 at 2:30: forecasts made before say 7, later ones 70."""
    workflow = declare(
        tmp_path / "w", lags={"by_3h": Lag(field="pm25", by="3 hours"), "by_6h": Lag(field="pm25", by="6 hours")}
    )
    arrivals = [(DAY, as_json(hourly(0, pm25=7))), (DAY + 2.5 * HOUR, as_json(hourly(0, pm25=70)))]
    land_at(lake, workflow, arrivals + [(DAY + n * HOUR, as_json(hourly(n))) for n in (3, 6)])
    later = {row["sequence"]: row for row in rows_of(lake, workflow, "2026-01-05").to_pylist() if row["sequence"]}
    assert (later[3]["by_3h"], later[6]["by_6h"]) == (7, 70)


def test_a_refused_reading_is_in_no_lag(tmp_path, lake):
    workflow = declare(tmp_path / "w", lags={"pm25_2h": LAGS["pm25_2h"]})
    spoiled = as_json(hourly(0, pm25=7, sequence="no number"))
    land_at(lake, workflow, [(DAY, spoiled), (DAY + 2 * HOUR, as_json(hourly(2)))])
    assert rows_of(lake, workflow, "2026-01-05")["pm25_2h"].to_pylist() == [None, None]


@pytest.mark.parametrize("seed", range(5))
def test_lags_equal_a_plain_search_and_do_not_change_by_what_comes_later(tmp_path, lake, seed):
    """
    Truth by a loop over what had arrived. Then everything arrives again, with other values: too late to have been
    known.
    """
    rng = random.Random(seed)
    lags = {f"by_{h}h": Lag(field="pm25", by=f"{h} hours") for h in (5, 24, 31)}
    workflow = declare(tmp_path / "w", lags=lags, lead="4 hours", lateness="9 days")
    sent = []
    for n in rng.sample(range(96), 60):
        at = DAY + n * HOUR
        sent.append(
            (at + rng.choice([0, 0.5, 3, 30]) * HOUR, at, rng.choice(["north", "south"]), float(rng.randrange(500)))
        )
    sent.sort()
    payloads = [
        (c, as_json({"station": s, "sequence": i, "measured_at": at.isoformat(), "pm25": v}))
        for i, (c, at, s, v) in enumerate(sent)
    ]
    land_at(lake, workflow, payloads)
    first = [rows_of(lake, workflow, f"2026-01-0{day}") for day in (5, 6, 7, 8)]
    for row in [row for rows in first for row in rows.to_pylist()]:
        for hours in (5, 24, 31):
            made, asked = row["measured_at"] - hours * HOUR, row["measured_at"] - 4 * HOUR
            known = [v for c, at, s, v in sent if (at, s) == (made, row["station"]) and c <= asked]
            assert row[f"by_{hours}h"] == (known[-1] if known else None)
    again = [
        (DAY + timedelta(days=8), as_json({"station": s, "sequence": 0, "measured_at": at.isoformat(), "pm25": v + 1}))
        for _, at, s, v in sent
    ]
    land_at(lake, workflow, again, batch="again")
    names = list(lags)
    for day, rows in zip((5, 6, 7, 8), first, strict=True):
        now = rows_of(lake, workflow, f"2026-01-0{day}")
        own = {row["sequence"]: [row[name] for name in names] for row in rows.to_pylist()}
        of_own = [
            row for row in now.to_pylist() if row["sequence"] in own and row["received_at"] < DAY + timedelta(days=8)
        ]
        assert {row["sequence"]: [row[name] for name in names] for row in of_own} == own


def test_no_feature_may_read_the_hour_that_is_forecast(tmp_path):
    workflow = declare(tmp_path / "w", lags=LAGS)
    hidden = hidden_columns(workflow)
    assert {"pm25", "sequence", "received_at"} <= hidden
    assert not hidden & {"station", "measured_at", "pm25_2h", "pm25_26h"}
    cheating = FeatureBuilder(
        columns=(), hidden=hidden, source=b"def build(row):\n    return {'x': row.get('pm25')}\n", function="f.build"
    )
    with pytest.raises(DataError, match="reads column 'pm25', which is hidden from features"):
        cheating.build([{"pm25": 1.0}])


PARTS = {
    "conn_id": "b",
    "topics": ("a",),
    "fields": {"d": "text", "at": "timestamp", "x": "number"},
    "device": "d",
    "event_time": "at",
    "key": ("d", "at"),
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lags": {"x": Lag(field="x", by="1 hour")}}, "lags names 'x': give a column's name"),
        ({"lags": {"received_at": Lag(field="x", by="1 hour")}}, "lags names 'received_at'"),
        ({"lags": {"y": Lag(field="z", by="1 hour")}}, "lags: y is of 'z', which is none of the fields d, at, x"),
        (
            {"lags": {"y": Lag(field="x", by="1 hour")}, "lead": "2 hours"},
            "lags: y is of 1 hour before, which is after the forecast was made (lead=2 hours)",
        ),
    ],
)
def test_a_lag_that_cannot_be_is_refused(changes, message):
    with pytest.raises(DeclarationError) as caught:
        SensorSource(**PARTS, **changes)
    assert message in str(caught.value)
