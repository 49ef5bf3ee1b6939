"""The card alone answers: what was it trained on, how good and how sure, where weak, why did it (not) ship."""

import functools
import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from include.evaluation.card import CardFacts, write_card
from include.evaluation.evaluate import evaluate_classifier
from include.evaluation.gate import judge
from include.workflow import Gate
from tests.evaluation.rows import draw_evidence

MANIFEST: dict[str, Any] = {
    "training_id": "manual-2026-02-02",
    "workflow_digest": "d1" * 32,
    "as_of": "2026-02-02T00:00:00+00:00",
    "family": "boosting",
    "params": {"max_depth": 3, "learning_rate": 0.1},
    "random_state": 7,
    "feature_names": ("depot", "distance_km"),
    "target": "is_late",
    "positive": True,
    "libraries": {"scikit-learn": "1.9.1"},
    "snapshot": {
        "snapshot_id": "0123456789abcdef",
        "train_start": "2026-01-12",
        "test_start": "2026-01-26",
        "test_end": "2026-02-02",
        "n_train": 2_200,
        "n_validation": 600,
        "n_test": 2_000,
        "n_not_yet_known": 12,
        "missing_partitions": ("2026-01-13",),
        "table_version": 21,
        "digest": "ab" * 32,
    },
}
TRIALS = [
    {"family": "boosting", "params": {"max_depth": 3, "eta": 0.0326847}, "score": 0.51, "cpu_seconds": 1.25},
    {"family": "naive", "params": {}, "score": 0.2, "cpu_seconds": 0.0, "error": None},
    {"family": "forest", "params": {}, "score": None, "cpu_seconds": 0.1, "error": "MemoryError: <b>|no|</b>"},
]
PNG = b"\x89PNG\r\n\x1a\n"
EVIDENCE = draw_evidence(noise=0.3, champion_noise=1.0)


@functools.cache
def measured_and_judged():
    """Report and verdict of the evidence: the same for all tests, and the gate takes its time."""
    report = evaluate_classifier(
        EVIDENCE.y_true, EVIDENCE.candidate, slices=EVIDENCE.slices, random_state=0, n_bootstrap=50
    )
    return report, judge(EVIDENCE, Gate(slices=("depot",)))


@pytest.fixture
def facts(workflow) -> CardFacts:
    report, verdict = measured_and_judged()
    return CardFacts(
        workflow=workflow,
        version="3",
        model_digest="e5" * 32,
        manifest=MANIFEST,
        report=report,
        leaderboard=TRIALS,
        verdict=verdict,
        figures={"roc.png": PNG, "own.png": PNG},
        measured={"latency_ms": 0.25, "size_mb": 1.5},
    )


def section(card: str, title: str) -> str:
    return card.split(f"## {title}\n")[1].split("\n## ")[0]


def test_the_card_answers_the_four_questions(facts):
    card = write_card(facts).markdown
    assert card.startswith(
        "# parcels, version 3\n\nWhich parcels will arrive late?\n\n**PROMOTE** · family `boosting` · Average "
        "precision 0."
    )
    trained = section(card, "What it was trained on")
    assert "- Fitted on: 2026-01-12 to 2026-01-26, 2,800 rows" in trained
    assert "- Missing partitions: 2026-01-13" in trained
    assert "version 21, digest `abab" in trained
    assert re.search(
        r"\*\*Average precision\*\* \| 0\.\d{4} \| 0\.\d{4} to 0\.\d{4} \| higher is better",
        section(card, "How good, and how sure"),
    )
    assert re.search(r"\| depot \| north \| [\d,]+ \| \d+\.\d % \| 0\.", section(card, "Where it is weak"))
    assert "better than the naive baseline: average_precision" in section(card, "Did it ship, and why")


def test_the_rest_is_there_too(facts):
    card = write_card(facts).markdown
    assert "| 1 | boosting | `eta=0.03268, max_depth=3` | 0.5100 | 1.2 | by shuffling columns only |  |" in section(
        card, "What else was tried"
    )
    assert "- Latency: 0.250 ms a row." in section(card, "Intended use and limits")
    assert "| family and parameters | `boosting(learning_rate=0.1, max_depth=3)` |" in section(
        card, "How to reproduce it"
    )
    assert "![ROC](figures/roc.png)" in card
    assert "![own](figures/own.png)" in card


def test_a_refusal_is_told_with_its_reasons(facts):
    verdict = judge(replace(EVIDENCE, latency_ms=30.0), Gate(max_latency_ms=20))
    card = write_card(replace(facts, verdict=verdict)).markdown
    assert "The gate says **REJECT**:\n\n- latency is 30 ms: at most 20 ms is allowed" in card


def test_slices_that_were_not_judged_are_named(facts):
    depot = np.where(np.arange(len(EVIDENCE.y_true)) < 9, "tiny", "large")
    evidence = replace(EVIDENCE, slices={"depot": depot})
    report = evaluate_classifier(
        evidence.y_true, evidence.candidate, slices=evidence.slices, random_state=0, n_bootstrap=20
    )
    card = write_card(replace(facts, report=report, verdict=judge(evidence, Gate(slices=("depot",))))).markdown
    assert "Not judged, because too small (1): depot=tiny." in card
    assert "- Too few rows to say anything sure: depot = tiny." in card


def test_a_weak_slice_is_named(facts):
    rng = np.random.default_rng(0)
    depot = np.where(rng.random(len(EVIDENCE.y_true)) < 0.2, "east", "north")
    scores = np.where(depot == "east", rng.random(len(depot)), EVIDENCE.candidate)
    report = evaluate_classifier(EVIDENCE.y_true, scores, slices={"depot": depot}, random_state=0, n_bootstrap=100)
    assert "on the worse side of that: depot = east." in write_card(replace(facts, report=report)).markdown


def test_before_the_gate_without_slices_or_search(facts):
    report = evaluate_classifier([0, 1] * 30, [0.2, 0.6] * 30, slices={}, random_state=0, n_bootstrap=20)
    card = write_card(
        replace(facts, version=None, verdict=None, report=report, leaderboard=(), figures={}, measured={})
    ).markdown
    assert card.startswith("# parcels, not yet registered")
    assert "The gate has not judged this version yet" in card
    assert "No slices are declared" in card
    assert "No search was recorded." in card
    assert "## Figures" not in card


def test_a_long_leaderboard_is_cut(facts):
    card = write_card(replace(facts, leaderboard=TRIALS[:1] * 20)).markdown
    assert "… and 5 more." in card


def test_data_never_becomes_markup(facts):
    """A value of a slice, or an error's text, with a pipe, HTML or a line break stays in its cell."""
    depot = np.where(EVIDENCE.slices["depot"] == "north", "<script>|a|\n# b", "south")
    report = evaluate_classifier(
        EVIDENCE.y_true, EVIDENCE.candidate, slices={"depot": depot}, random_state=0, n_bootstrap=20
    )
    card = write_card(replace(facts, report=report)).markdown
    assert r"| depot | \<script\>\|a\| # b |" in card
    assert r"MemoryError: \<b\>\|no\|\</b\> |" in card
    assert "\n# b" not in card


def test_a_metric_without_a_value_shows_its_reason(facts):
    report = evaluate_classifier([0] * 40, [0.2] * 40, slices={}, random_state=0, n_bootstrap=10)
    assert (
        "| – | all 40 rows are negative: roc_auc needs both classes |"
        in write_card(replace(facts, report=report)).markdown
    )
