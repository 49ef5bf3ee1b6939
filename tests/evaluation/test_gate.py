"""The gate says yes, no and wait, each for the reason that was planted, and never yes to what it cannot see."""

import json
import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from include.evaluation.gate import Check, decide, judge, required_checks
from include.evaluation.sentinels import NAMES
from include.workflow import Gate, Paired
from tests.evaluation.rows import CHAMPION_AS_OF, draw_evidence

SELF_TESTS = {"self-test", *(f"self-test {name}" for name in NAMES)}
GATE = Gate(
    minimum={"roc_auc": 0.6, "brier": 0.2}, slices=("depot",), minimum_rows=200, max_latency_ms=20, max_size_mb=50
)

CLOSE = Paired(rule="not_worse", tolerance=0.05)
N = 600
BASE = draw_evidence(n_rows=N, noise=0.2, champion_noise=1.5)


def failed_names(verdict) -> list[str]:
    return [check.name for check in verdict.checks if check.is_failed]


def test_a_clearly_better_model_is_promoted():
    verdict = judge(BASE, GATE)
    assert (verdict.verdict, failed_names(verdict)) == ("PROMOTE", [])
    assert any(
        reason.startswith("significantly better than the champion: average_precision 0.") for reason in verdict.reasons
    )
    assert verdict.reasons[-1] == "the gate judged 6 sentinels as it should"


def test_the_first_model_needs_no_champion():
    verdict = judge(draw_evidence(n_rows=N, champion=None, seen_by_champion=None, champion_as_of=None), GATE)
    assert verdict.verdict == "PROMOTE"
    own = {"numbers", "rows", "minimum roc_auc", "minimum brier", "naive", "latency", "size"}
    assert {check.name for check in verdict.checks} == own | SELF_TESTS


# Evidence and gate, changed in one way: the check that must fail alone, its verdict, and what it says.
ALONE = {
    "too slow": ({"latency_ms": 21.0}, {}, "latency", "REJECT", "latency is 21 ms: at most 20 ms is allowed"),
    "too large": ({"size_mb": 51.0}, {}, "size", "REJECT", "size is 51 MB: at most 50 MB is allowed"),
    "not measured": (
        {"latency_ms": None},
        {},
        "numbers",
        "REJECT",
        "the candidate's latency is None: it must be measured",
    ),
    "negative": ({"size_mb": -1.0}, {}, "numbers", "REJECT", "the candidate's size is -1.0: it must be measured"),
    "below the minimum": ({}, {"minimum": {"roc_auc": 0.99}}, "minimum roc_auc", "REJECT", "at least 0.99 is declared"),
    "above the maximum": ({}, {"minimum": {"brier": 0.01}}, "minimum brier", "REJECT", "at most 0.01 is declared"),
    "few rows": (
        {"champion": None, "seen_by_champion": None, "champion_as_of": None},
        {"minimum_rows": N + 1},
        "rows",
        "HOLD",
        f"{N:,} test rows: at least {N + 1:,} are needed",
    ),
    "as good as naive": (
        {"naive": 1 - (1 - BASE.candidate) ** 2},
        {},
        "naive",
        "REJECT",
        "no better than the naive baseline",
    ),
    "newer champion": (
        {"champion_as_of": BASE.candidate_as_of + timedelta(days=1)},
        {},
        "champion age",
        "HOLD",
        "a backfilled model does not replace a newer one",
    ),
    "candidate saw the rows": (
        {"seen_by_candidate": np.arange(N) >= 190, "champion": None, "seen_by_champion": None, "champion_as_of": None},
        {},
        "rows",
        "HOLD",
        "190 test rows (410 more are left out: the candidate was trained on them): at least 200 are needed",
    ),
    "champion saw the rows": (
        {"seen_by_champion": np.arange(N) >= 190},
        {},
        "unseen rows",
        "HOLD",
        "the champion was not trained on 190 of the 600 test rows: at least 200 are needed",
    ),
    "itself": (
        {"champion": BASE.candidate},
        {"against_champion": CLOSE},
        "distinct",
        "HOLD",
        "answers exactly as the champion on all 600 rows",
    ),
    "missing slice": (
        {"slices": {}},
        {},
        "slices by depot",
        "HOLD",
        "slice column 'depot' is declared but not in the evidence",
    ),
    "no scores": (
        {"candidate": np.full(N, math.nan)},
        {},
        "numbers",
        "REJECT",
        "the candidate's scores: 600 of 600 scores are not finite",
    ),
    "broken champion": ({"champion": np.full(N, math.inf)}, {}, "numbers", "HOLD", "the champion's scores: 600 of 600"),
    "broken baseline": (
        {"naive": np.full(N, 1.5)},
        {},
        "numbers",
        "HOLD",
        "the naive baseline's scores: scores reach from 1.5",
    ),
    "broken labels": ({"y_true": np.full(N, math.nan)}, {}, "numbers", "HOLD", "y_true holds something other than 0/1"),
}


@pytest.mark.parametrize("case", ALONE)
def test_each_check_alone_forces_its_verdict_and_says_why(case):
    evidence_changes, gate_changes, name, expected, reason = ALONE[case]
    verdict = judge(replace(BASE, **evidence_changes), GATE.model_copy(update=gate_changes))
    assert (verdict.verdict, failed_names(verdict)) == (expected, [name])
    assert reason in verdict.reasons[0]


@pytest.mark.claim("gate")
def test_better_than_naive_perhaps_by_chance_is_held():
    verdicts = [
        judge(draw_evidence(seed=s, n_rows=200, noise=12, champion_noise=14), Gate(minimum_rows=20)) for s in range(20)
    ]
    reasons = [v.reasons[0] for v in verdicts if v.verdict == "HOLD" and "naive" in failed_names(v)]
    assert reasons
    assert all("better than the naive baseline perhaps by chance alone" in reason for reason in reasons)


@pytest.mark.parametrize(("n_tiny", "labels"), [(29, [True, False]), (60, [False])])
def test_a_slice_too_small_or_of_one_class_is_not_judged_and_said_so(n_tiny, labels):
    is_tiny = np.arange(N) < n_tiny
    y_true = np.where(is_tiny, np.resize(labels, N), BASE.y_true)
    evidence = replace(BASE, y_true=y_true, slices={"depot": np.where(is_tiny, "tiny", "large")})
    verdict = judge(evidence, GATE)
    tiny = next(check for check in verdict.checks if check.name == "slice depot=tiny")
    assert tiny.passed is None
    assert tiny.reason.startswith(f"depot = tiny: not judged, {n_tiny} rows of which")
    assert verdict.verdict == "PROMOTE"
    assert verdict.reasons[-2] == "depot: 1 of 2 slices judged, 0 significantly worse, 1 too small to judge"


def test_nearly_one_class_is_not_judged_either():
    """One positive in 60: a third of the resamples lose it."""
    is_tiny = np.arange(N) < 60
    y_true = np.where(is_tiny, np.arange(N) == 7, BASE.y_true)
    verdict = judge(replace(BASE, y_true=y_true, slices={"depot": np.where(is_tiny, "tiny", "large")}), GATE)
    tiny = next(check for check in verdict.checks if check.name == "slice depot=tiny")
    assert tiny.passed is None
    assert "resamples have no value" in tiny.reason


def test_one_class_in_the_test_rows_is_held():
    verdict = judge(replace(BASE, y_true=np.zeros(N)), Gate(minimum={"roc_auc": 0.6}))
    assert verdict.verdict == "HOLD"
    assert set(failed_names(verdict)) == {
        *("minimum roc_auc", "naive", "champion", "metric average_precision", "self-test", "self-test oracle"),
    }
    assert verdict.reasons[0] == "roc_auc has no value: all 600 rows are negative: roc_auc needs both classes"


def test_an_equal_as_of_is_a_retrain_and_allowed():
    assert judge(replace(BASE, champion_as_of=BASE.candidate_as_of), GATE).verdict == "PROMOTE"


def test_reject_outweighs_hold_and_all_reasons_are_told():
    verdict = judge(replace(BASE, latency_ms=21.0, champion_as_of=BASE.candidate_as_of + timedelta(days=1)), GATE)
    assert (verdict.verdict, len(verdict.reasons)) == ("REJECT", 2)
    assert verdict.reasons[0].startswith("latency is 21 ms")


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"metric": "gini"}, "the gate itself failed: DataError: metric 'gini' is unknown"),
        (
            {"candidate": BASE.candidate[:-1]},
            "the gate itself failed: DataError: candidate has 599 values for 600 rows",
        ),
        (
            {"slices": {"depot": ["north"]}},
            "the gate itself failed: DataError: slices['depot'] has 1 values for 600 rows",
        ),
        (
            {"seen_by_champion": None},
            "the gate itself failed: DataError: a champion's evidence is its scores, the rows",
        ),
        ({"champion": None}, "the gate itself failed: DataError: a champion's evidence is its scores, the rows"),
        ({"seen_by_champion": np.zeros(N)}, "the gate itself failed: DataError: seen_by_champion has type float64"),
        (
            {"champion_as_of": CHAMPION_AS_OF.replace(tzinfo=None)},
            "the gate itself failed: TypeError: can't compare offset-naive",
        ),
        (
            {"y_true": np.array([]), "candidate": np.array([]), "naive": np.array([])},
            "the gate itself failed: DataError: champion has 600",
        ),
        ({"slices": None}, "the gate itself failed: AttributeError"),
        ({"seen_by_candidate": np.zeros(N)}, "the gate itself failed: DataError: seen_by_candidate has type float64"),
        ({"seen_by_candidate": None}, "the gate itself failed: DataError: seen_by_candidate has type object"),
        ({"block": timedelta(days=1)}, "the gate itself failed: DataError: blocks of time need a time for each row"),
    ],
)
def test_whatever_fails_inside_is_a_reject(changes, reason):
    verdict = judge(replace(BASE, **changes), GATE)
    assert verdict.verdict == "REJECT"
    assert verdict.reasons[0].startswith(reason)


def test_no_rows_at_all_are_held():
    empty = np.array([])
    seen = empty.astype(bool)
    changes = {"champion": empty, "seen_by_champion": seen, "seen_by_candidate": seen, "slices": {"depot": empty}}
    assert judge(replace(BASE, y_true=empty, candidate=empty, naive=empty, **changes), GATE).verdict == "HOLD"


def test_without_checks_nothing_ships():
    assert decide([], required=frozenset()).verdict == "REJECT"
    assert decide([], required=frozenset({"rows"})).reasons == ("no proof of: rows; without it nothing ships",)


def test_each_required_check_must_be_there_and_passed():
    """Deleted, or turned into 'not judged', any of them stops the promotion."""
    required, checks = required_checks(BASE, GATE), judge(BASE, GATE).checks
    assert decide(checks, required=required).verdict == "PROMOTE"
    for name in required:
        without = [check for check in checks if check.name != name]
        unknown = [replace(check, passed=None) if check.name == name else check for check in checks]
        assert decide(without, required=required).verdict == "REJECT"
        assert decide(unknown, required=required).reasons == (f"no proof of: {name}; without it nothing ships",)


def test_the_verdict_survives_json():
    verdict = judge(replace(BASE, y_true=np.zeros(N)), Gate(minimum={"roc_auc": 0.6}))
    content = json.loads(json.dumps(verdict.to_dict(), allow_nan=False))
    check = next(c for c in content["checks"] if c["name"] == "minimum roc_auc")
    assert check == {
        "name": "minimum roc_auc",
        "observed": None,
        "bound": 0.6,
        "passed": False,
        "forces": "HOLD",
        "reason": "roc_auc has no value: all 600 rows are negative: roc_auc needs both classes",
    }


def test_a_check_that_was_not_asked_has_not_failed():
    check = Check(name="slice a=b", observed=None, bound=None, passed=None, forces=None, reason="")
    assert not check.is_failed
    assert check.is_detail
