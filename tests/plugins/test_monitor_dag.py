"""`flight_delays.monitor`, run whole: what it emits, and what it leaves alone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from include.lake.store import open_lake
from include.lake.verdicts import read_verdicts
from include.monitoring.judgement import Judgement
from include.monitoring.retraining import RetrainRequest
from updraft.operators.train import _request_of

pytestmark = pytest.mark.airflow

REQUEST = RetrainRequest(
    period_key="2026-01-26",
    as_of="2026-02-05T00:00:00+00:00",
    reason="drift in window 2026-02-04",
    partition_key="2026-02-04",
    subject="inputs",
)


def states(dag_run) -> dict[str, str]:
    return {ti.task_id: str(ti.state) for ti in dag_run.get_task_instances()}


def events() -> list[tuple[str | None, dict]]:
    """Keys and extras of all requests for a training."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    with create_session() as session:
        found = session.query(AssetEvent).join(AssetModel, AssetModel.id == AssetEvent.asset_id)
        return [
            (event.partition_key, event.extra)
            for event in found.filter(AssetModel.name == "flight_delays/retrain_requested")
        ]


def test_a_window_without_traffic_is_unknown_and_emits_nothing(run_dag, updraft_home):
    run = run_dag("flight_delays.monitor", partition_key="2026-02-03")
    assert states(run) == {"collect_predictions": "success", "judge_window": "success", "request_retraining": "skipped"}
    (line,) = read_verdicts(open_lake(), "flight_delays")
    assert (line.partition_key, line.verdict) == ("2026-02-03", "unknown")
    assert events() == []


def test_a_request_is_one_event_under_the_periods_key_with_its_reason(run_dag, updraft_home, monkeypatch):
    judged = Judgement(
        workflow="flight_delays",
        partition_key="2026-02-04",
        verdict="drift",
        reasons=("temp: 0.4 away",),
        performance=(),
        n_waiting=0,
        decision="",
        request=REQUEST,
        report_uri="/lake/flight_delays/_monitoring/2026-02-04.0123456789abcdef.html",
    )
    monkeypatch.setattr("include.monitoring.judgement.judge_window", lambda *_, **__: judged)
    run = run_dag("flight_delays.monitor", partition_key="2026-02-04")
    assert set(states(run).values()) == {"success"}
    ((key, extra),) = events()
    assert (key, extra["reason"], extra["as_of"]) == (REQUEST.period_key, REQUEST.reason, REQUEST.as_of)


def test_a_training_knows_the_last_request_among_its_events():
    validated = SimpleNamespace(extra={"rows": 7}, timestamp=9)
    first = SimpleNamespace(extra={"as_of": "a", "reason": "first"}, timestamp=1)
    last = SimpleNamespace(extra={"as_of": "b", "reason": "last"}, timestamp=2)
    assert (
        _request_of({"triggering_asset_events": {"validated": [validated], "requested": [first, last]}})["reason"]
        == "last"
    )
    assert _request_of({"triggering_asset_events": {"validated": [validated]}}) == {}
    assert _request_of({}) == {}
