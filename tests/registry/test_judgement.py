"""Evaluation and judgement, with real models on real rows."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from include.errors import EvidenceError
from include.evaluation.evaluate import Scoring, evaluate
from include.lake.ledger import DECISIONS, DecisionRecord, read_ledger
from include.registry import load_version, read_version
from include.registry.evaluation import evaluate_version, explain
from include.registry.evidence import read_evidence, reasons_of
from include.registry.judged_rows import JudgedRows, champion_scores, read_judged_rows, seen_in_training
from include.registry.judgement import judge_version
from include.registry.promotion import promote
from tests.registry.house import House, with_gate
from tests.registry.processes import judge_in, run_killed


def n_decisions(house: House) -> int:
    return len(read_ledger(house.lake, DECISIONS))


def make_champion(house: House, training: str) -> str:
    version = house.register(training)
    house.judge(version)
    promote(house.workflow, version, lake=house.lake, registry=house.registry, target="local", decided_by="test")
    return version


def test_an_evaluation_is_kept_with_the_version(house: House) -> None:
    version, snapshot = house.register("monday3"), house.snapshots["monday3"]
    summary = evaluate_version(house.workflow, snapshot, version, lake=house.lake, registry=house.registry)
    found = read_version(house.registry, "parcels", version)
    files = Path(found.uri)
    assert summary.n_rows == snapshot.n_test
    assert 0.7 < (summary.metrics["roc_auc"] or 0) < 0.85  # the rows' Bayes AUC is about 0.8
    assert json.loads((files / "evaluation.json").read_text())["n_rows"] == snapshot.n_test
    assert (files / "card.md").read_text().startswith("# parcels, version 1")
    assert "<h1>parcels, version 1</h1>" in (files / "card.html").read_text()
    assert (files / "figures" / "calibration.png").read_bytes().startswith(b"\x89PNG")
    assert house.registry.client.get_run(found.run_id).data.metrics["test_roc_auc"] == summary.metrics["roc_auc"]
    assert load_version(house.registry, "parcels", version)  # the card is no part of the model


@pytest.mark.claim("gate")
def test_an_evaluation_explains_the_model_and_shows_no_rows_value(house: House) -> None:
    """Lateness depends on distance, depot and hour (see `parcel_rows`), and not on weight."""
    version, snapshot = house.register("monday3"), house.snapshots["monday3"]
    rows = read_judged_rows(house.workflow, snapshot, lake=house.lake)
    model = load_version(house.registry, "parcels", version)
    y_pred = model.predict(rows.table)
    report = evaluate(rows.y_true, y_pred, scoring=Scoring(), slices={}, random_state=0, n_bootstrap=20)
    explained = explain(report, house.workflow, model, rows, y_pred)
    loss = {item.column: item.loss for item in explained.importance}
    assert explained.importance[0].column == "distance_km"
    assert loss["distance_km"].low > 0 > loss["weight_kg"].value - 0.02
    (by_distance,) = [item for item in explained.dependence if item.column == "distance_km"]
    assert by_distance.answers[-1][0] > by_distance.answers[0][0]
    ids = {str(row_id) for row_id in rows.table["row_id"].to_pylist()}
    assert len(explained.examples) == 10
    for example in explained.examples:
        assert example.row_id in ids
        assert example.masked["depot"] in {"aaaaa", "aaaa"}
        assert set(example.masked["distance_km"]) <= set("9.")


@pytest.mark.claim("loop")
def test_the_card_tells_the_verdict_also_when_it_is_written_anew(house: House) -> None:
    version, snapshot = house.register("monday3"), house.snapshots["monday3"]
    card = Path(read_version(house.registry, "parcels", version).uri) / "card.md"
    evaluate_version(house.workflow, snapshot, version, lake=house.lake, registry=house.registry)
    assert "not judged yet" in card.read_text()
    house.judge(version)
    assert "**PROMOTE**" in card.read_text()
    evaluate_version(house.workflow, snapshot, version, lake=house.lake, registry=house.registry)
    assert "**PROMOTE**" in card.read_text()


def test_a_first_model_is_judged_against_the_naive_baseline(house: House) -> None:
    version = house.register("monday3")
    decision = house.judge(version)
    evidence = read_evidence(house.lake, decision)
    assert (decision.verdict, decision.champion_version) == ("PROMOTE", None)
    assert decision.as_of == datetime(2026, 1, 26, tzinfo=UTC)
    assert set(evidence["metrics"]) == {"candidate", "naive"}
    assert evidence["metrics"]["naive"]["roc_auc"]["value"] == 0.5
    assert evidence["snapshot"]["snapshot_id"] == house.snapshots["monday3"].snapshot_id
    assert any("naive" in reason for reason in reasons_of(decision))


def test_judged_again_on_the_same_inputs_gives_the_same_decision(house: House) -> None:
    version = house.register("monday3")
    first = house.judge(version)
    assert house.judge(version) == first
    assert n_decisions(house) == 1


@pytest.mark.claim("gate")
def test_another_gate_judges_anew(house: House) -> None:
    version = house.register("monday3")
    house.judge(version)
    strict = house.judge(version, workflow=with_gate(house.workflow, minimum={"roc_auc": 0.99}))
    assert strict.verdict == "REJECT"
    assert house.judge(version, workflow=with_gate(house.workflow, minimum_rows=100_000)).verdict == "HOLD"
    assert n_decisions(house) == 3


def test_evidence_that_was_changed_is_made_anew(house: House) -> None:
    version = house.register("monday3")
    first = house.judge(version)
    Path(first.evidence_uri).write_bytes(b"{}")
    second = house.judge(version)
    assert second.evidence_digest != first.evidence_digest
    assert read_evidence(house.lake, second)["verdict"] == "PROMOTE"


def test_the_champion_is_judged_on_the_same_rows(house: House) -> None:
    champion = make_champion(house, "monday3")
    version = house.register("monday4")
    evaluate_version(house.workflow, house.snapshots["monday4"], version, lake=house.lake, registry=house.registry)
    decision = house.judge(version)
    evidence = read_evidence(house.lake, decision)
    names = {check["name"] for check in evidence["checks"]}
    assert decision.champion_version == champion
    assert evidence["champion_digest"] == read_version(house.registry, "parcels", champion).model_digest
    assert evidence["n_rows_unseen_by_champion"] == house.snapshots["monday4"].n_test
    assert {"champion age", "unseen rows", "distinct", "champion", "slices by depot"} <= names
    assert (Path(read_version(house.registry, "parcels", version).uri) / "figures" / "difference.png").is_file()


@pytest.mark.claim("gate")
def test_rows_that_the_champion_was_trained_on_are_left_out(house: House) -> None:
    """The champion of a week later was fitted on all of the older candidate's test week."""
    make_champion(house, "monday4")
    decision = house.judge(house.register("monday3"))
    evidence = read_evidence(house.lake, decision)
    assert evidence["n_rows_unseen_by_champion"] == 0
    assert decision.verdict == "HOLD"
    assert any("was not trained on 0 of" in reason for reason in reasons_of(decision))
    assert any("is later than the candidate's" in reason for reason in reasons_of(decision))


@pytest.mark.claim("gate")
def test_seen_rows_are_those_of_the_window(house: House) -> None:
    rows = read_judged_rows(house.workflow, house.snapshots["monday3"], lake=house.lake)
    own, later = (
        load_version(house.registry, "parcels", house.register(name)).manifest for name in ("monday3", "monday4")
    )
    assert not seen_in_training(own, rows).any()
    assert seen_in_training(later, rows).all()


@pytest.mark.claim("gate")
def test_a_promoted_version_is_never_compared_with_itself(house: House) -> None:
    version = make_champion(house, "monday3")
    again = house.judge(version)
    assert again.champion_version is None
    assert n_decisions(house) == 1


def test_a_version_is_judged_on_its_own_snapshot_only(house: House) -> None:
    version = house.register("monday4")
    for work in (evaluate_version, judge_version):
        extra = {"decided_by": "test"} if work is judge_version else {}
        with pytest.raises(EvidenceError, match="was trained on snapshot"):
            work(house.workflow, house.snapshots["monday3"], version, lake=house.lake, registry=house.registry, **extra)
    assert n_decisions(house) == 0


def test_a_champion_that_cannot_read_the_rows_scores_nan(house: House) -> None:
    champion = load_version(house.registry, "parcels", house.register("monday3"))
    rows = read_judged_rows(house.workflow, house.snapshots["monday4"], lake=house.lake)
    assert np.isfinite(champion_scores(champion, rows)).all()
    texts = pa.array(["heavy"] * rows.table.num_rows)
    table = rows.table.set_column(rows.table.schema.get_field_index("weight_kg"), "weight_kg", texts)
    retyped = JudgedRows(table=table, y_true=rows.y_true, naive=rows.naive, slices=rows.slices)
    assert np.isnan(champion_scores(champion, retyped)).all()


@pytest.mark.claim("kills")
@pytest.mark.parametrize("crash_at", ["judge.before_evidence", "judge.before_ledger", "judge.after_ledger"])
def test_killed_while_judging_a_rerun_leaves_one_decision(house: House, crash_at: str) -> None:
    version = house.register("monday3")
    run_killed(judge_in, house.settings.home, house.packages, dict(house.snapshots), version, crash_at)
    assert n_decisions(house) == (1 if crash_at == "judge.after_ledger" else 0)
    decision = house.judge(version)
    assert isinstance(decision, DecisionRecord)
    assert n_decisions(house) == 1
