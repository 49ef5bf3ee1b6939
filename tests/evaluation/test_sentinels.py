"""
The gate's self-test: a sound gate passes it, and each of the field's four broken gates, put back by mutation, fails
closed.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from include.evaluation import absolute, against_champion, checks, gate, sentinels
from include.evaluation.checks import passed
from include.evaluation.gate import Verdict, judge
from include.workflow import Gate, Paired
from include.workflow.tasks import METRICS_OF_TASK
from tests.evaluation.rows import draw_evidence

N = 400
GOOD = draw_evidence(n_rows=N, noise=0.2, champion_noise=1.5)
WORSE = replace(GOOD, candidate=GOOD.champion, champion=GOOD.candidate)
FIRST = replace(GOOD, champion=None, seen_by_champion=None, champion_as_of=None)
GUESS = replace(FIRST, candidate=np.random.default_rng(1).random(N))
RULES = [Gate(), Gate(against_champion=Paired(rule="not_worse", tolerance=0.05))]


@pytest.fixture(params=RULES, ids=["better", "not worse"])
def declared(request) -> Gate:
    """A gate of each rule."""
    return request.param


def self_test_of(verdict: Verdict) -> dict[str, bool | None]:
    return {
        check.name.removeprefix("self-test "): check.passed
        for check in verdict.checks
        if check.name.startswith("self-test")
    }


def require_closed(verdict: Verdict) -> None:
    assert verdict.verdict == "REJECT"
    assert verdict.reasons[0].startswith("the gate's self-test failed: ")


@pytest.mark.parametrize("evidence", [GOOD, FIRST], ids=["champion", "first"])
def test_a_sound_gate_passes_and_says_so(evidence, declared):
    verdict = judge(evidence, declared)
    assert verdict.verdict == "PROMOTE"
    assert self_test_of(verdict) == dict.fromkeys(["self-test", *sentinels.NAMES], True)


def test_a_first_model_beyond_improvement_ships(declared):
    """Average precision 1 on every row: there is no better one, and the self-test needs none."""
    perfect = np.where(FIRST.y_true, 0.9, 0.1) + 0.01 * np.random.default_rng(0).random(N)
    assert judge(replace(FIRST, candidate=perfect), declared).verdict == "PROMOTE"


@pytest.mark.parametrize("task", ["multiclass", "regression", "forecasting"])
def test_a_sound_gate_of_another_task_passes(rng, task, declared):
    y = rng.integers(0, 4, N) if task == "multiclass" else rng.normal(size=N)
    candidate = (
        0.5 * np.eye(4)[y] + 0.5 * rng.dirichlet(np.ones(4), N) if task == "multiclass" else y + rng.normal(size=N)
    )
    naive = np.full((N, 4), 0.25) if task == "multiclass" else np.zeros(N)
    metric = "log_loss" if task == "multiclass" else "mae"
    times = np.datetime64("2026-01-05", "us") + np.arange(N) * np.timedelta64(30, "m")
    block = timedelta(days=1) if task == "forecasting" else None
    evidence = replace(
        FIRST, task=task, metric=metric, y_true=y, candidate=candidate, naive=naive, times=times, block=block
    )
    assert all(self_test_of(judge(evidence, declared)).values())


# 1. The challenger compared with itself (GoogleCloudPlatform/vertex-pipelines-end-to-end-samples#71).
def test_a_gate_that_compares_the_candidate_with_itself_fails_closed(monkeypatch, declared):
    assert judge(WORSE, declared).verdict == "REJECT"
    real = against_champion.compare_models
    monkeypatch.setattr(
        against_champion,
        "compare_models",
        lambda task, metrics, y, models, *, test: real(task, metrics, y, (models[0], models[0]), test=test),
    )
    for evidence in (WORSE, GOOD):
        verdict = judge(evidence, declared)
        require_closed(verdict)
        assert "it saw a difference of 0.0 in average_precision, where 0." in verdict.reasons[0]


def _with_one_model(rows):
    return rows if rows.champion is None else replace(rows, champion=rows.candidate)


# 2. The champion's metrics computed on what is the candidate's (mlflow/mlflow#12213): the same evidence for both.
def test_a_gate_that_takes_one_models_evidence_for_both_fails_closed(monkeypatch, declared):
    real = gate.check_against_champion
    monkeypatch.setattr(gate, "check_against_champion", lambda rows, g: real(_with_one_model(rows), g))
    for evidence in (WORSE, GOOD):
        require_closed(judge(evidence, declared))


@pytest.mark.parametrize("where", ["candidate", "champion"])
def test_one_model_loaded_twice_is_never_promoted(where, declared):
    """The same bug before the gate: nothing is wrong with its evidence but that both are one."""
    both = getattr(GOOD, where)
    verdict = judge(replace(GOOD, candidate=both, champion=both), declared)
    assert verdict.verdict == "HOLD"
    assert "answers exactly as the champion" in " ".join(verdict.reasons)


# 3. A validator that returns True (tensorflow/tfx#663).
@pytest.mark.parametrize("site", ["decide", "_judge_once", "check_against_champion", "check_absolute"])
def test_a_gate_that_always_says_yes_fails_closed(monkeypatch, site, declared):
    yes = {
        "decide": lambda found, required: Verdict(verdict="PROMOTE", reasons=("ok",), checks=tuple(found)),
        "_judge_once": lambda evidence, g: Verdict(verdict="PROMOTE", reasons=("ok",), checks=()),
        "check_against_champion": lambda evidence, g: [
            passed(name, "ok") for name in gate.required_checks(evidence, g)
        ],
        "check_absolute": lambda evidence, g: [passed("naive", "ok")],
    }
    monkeypatch.setattr(gate, site, yes[site])
    for evidence in (WORSE, GUESS, GOOD):
        require_closed(judge(evidence, declared))


# 4. A rubber stamp where there is no baseline yet (TFX: "no baseline, hence blessed").
def test_a_gate_that_blesses_what_has_no_champion_fails_closed(monkeypatch, declared):
    assert judge(GUESS, declared).verdict != "PROMOTE"
    real = gate.check_absolute
    monkeypatch.setattr(
        gate, "check_absolute", lambda rows, g: [passed("naive", "ok")] if rows.champion is None else real(rows, g)
    )
    for evidence in (GUESS, GOOD):
        require_closed(judge(evidence, declared))


def test_a_gate_that_passes_what_is_missing_fails_closed(monkeypatch, declared):
    monkeypatch.setattr(
        checks, "check_predictions", lambda task, values, name: np.nan_to_num(np.asarray(values, dtype=float))
    )
    real = absolute.compare_models
    fill = np.nan_to_num
    for module in (absolute, against_champion):
        monkeypatch.setattr(
            module,
            "compare_models",
            lambda task, metrics, y, models, *, test: real(
                task, metrics, y, (fill(models[0]), fill(models[1])), test=test
            ),
        )
    verdict = judge(GOOD, declared)
    require_closed(verdict)
    assert "nan: it promoted a model that is no better" in verdict.reasons[0]


def test_a_gate_that_always_says_no_is_told_as_broken(monkeypatch, declared):
    monkeypatch.setattr(gate, "check_absolute", lambda rows, g: [checks.failed("naive", "REJECT", "no")])
    verdict = judge(GOOD, declared)
    require_closed(verdict)
    assert "oracle: it rejected a model that is better: no" in verdict.reasons[0]


@pytest.mark.parametrize("left", [(), ("itself", "nan")])
def test_without_the_whole_self_test_nothing_ships(monkeypatch, left):
    monkeypatch.setattr(
        sentinels, "self_test", lambda evidence, g, judge: [passed(f"self-test {name}", "ok") for name in left]
    )
    verdict = judge(GOOD, Gate())
    assert verdict.verdict == "REJECT"
    assert verdict.reasons[0].startswith("no proof of: self-test, self-test constant")


def test_a_self_test_that_raises_ships_nothing(monkeypatch):
    monkeypatch.setattr(sentinels, "self_test", None)
    assert judge(GOOD, Gate()).reasons[0].startswith("the gate itself failed: TypeError")


def test_rows_that_cannot_show_an_oracle_hold_for_lack_of_rows():
    """One positive: that is no defect of the gate."""
    y = np.isin(np.arange(N), (90,))
    verdict = judge(replace(GOOD, y_true=y), Gate(minimum_rows=20))
    oracle = next(check for check in verdict.checks if check.name == "self-test oracle")
    assert oracle.forces == "HOLD"
    assert "these 200 rows cannot show even a planted improvement" in oracle.reason
    assert verdict.verdict != "PROMOTE"


def answers_of(rng, task: str, y: np.ndarray, kind: str, n_classes: int) -> np.ndarray:
    """Predictions of any worth, in the task's form."""
    n = len(y)
    if task == "classification":
        found = {
            "constant": np.full(n, 0.3),
            "perfect": 1.0 * y,
            "guess": rng.random(n),
            "coarse": np.round(rng.random(n), 1),
            "opposite": 1.0 - y,
        }
    elif task == "multiclass":
        one_hot, guess = np.eye(n_classes)[y], rng.dirichlet(np.ones(n_classes), n)
        opposite = np.eye(n_classes)[(y + 1) % n_classes]
        shares = np.full((n, n_classes), 1 / n_classes)
        found = {
            "constant": shares,
            "perfect": one_hot,
            "guess": guess,
            "coarse": (one_hot + shares) / 2,
            "opposite": opposite,
        }
    else:
        found = {
            "constant": np.ones(n),
            "perfect": 1.0 * y,
            "guess": 9 * rng.normal(size=n),
            "coarse": np.round(y + 1),
            "opposite": -3.0 * y,
        }
    return found[kind]


OTHER_TASKS = [
    pytest.param(task, marks=pytest.mark.claim("gate")) for task in ("multiclass", "regression", "forecasting")
]


@pytest.mark.parametrize("task", ["classification", *OTHER_TASKS])
def test_a_sound_gate_never_stumbles_over_itself(rng, task):
    """
    Few rows, one class, constant targets, perfect and absurd models, any metric and rule: no or wait, but never
    "broken".
    """
    for _ in range(40):
        n, n_classes = int(rng.choice([1, 3, 19, 40, 120])), int(rng.choice([2, 5]))
        labels = {
            "classification": 1 * (rng.random(n) < rng.choice([0, 0.05, 0.5, 1])),
            "multiclass": rng.integers(0, n_classes, n),
        }
        y = labels.get(task, rng.choice([0, 1e-9, 1, 1e6]) * rng.normal(size=n))
        first, second = (
            answers_of(rng, task, y, str(kind), n_classes)
            for kind in rng.choice(["constant", "perfect", "guess", "coarse", "opposite"], 2)
        )
        champion = (
            {"champion": second}
            if rng.random() < 0.7
            else {"champion": None, "seen_by_champion": None, "champion_as_of": None}
        )
        times = np.datetime64("2026-01-05", "us") + np.arange(n) * np.timedelta64(6, "h")
        evidence = draw_evidence(
            n_rows=n,
            task=task,
            metric=str(rng.choice(METRICS_OF_TASK[task])),
            y_true=y,
            candidate=first,
            naive=answers_of(rng, task, y, "constant", n_classes),
            times=times,
            block=timedelta(days=1) if task == "forecasting" else None,
            **champion,
        )
        reasons = judge(
            evidence, Gate(minimum_rows=20, against_champion=RULES[rng.integers(2)].against_champion)
        ).reasons
        assert not any("self-test failed" in reason or "gate itself failed" in reason for reason in reasons), reasons
