"""When a drop is decay: known in closed form, for metrics in either direction."""

from __future__ import annotations

import numpy as np
import pytest

from include.monitoring.performance import judge_performance
from include.workflow import Decay, Monitoring, Target
from tests.factories import declare_workflow


@pytest.fixture
def judge(tmp_path, champion):
    def judge(truth, scores, *, reference, coverage=0.8, task="classification", **settings):
        target = Target(column="is_late") if task == "classification" else Target(column="minutes", task=task)
        changes = {"monitoring": Monitoring(label_coverage=coverage), "target": target}
        workflow = declare_workflow(tmp_path / "parcels").model_copy(update=changes)
        times = np.arange(len(truth)).astype("datetime64[s]")
        manifest = champion.model.manifest
        return judge_performance(
            workflow, manifest, truth, scores, times=times, reference=reference, settings=Decay(**settings)
        )

    return judge


def answers(n_rows, *, share_right, seed=0):
    """Labels half and half, and scores on their side for a share of the rows: that share is the accuracy."""
    rng = np.random.default_rng(seed)
    truth = rng.random(n_rows) < 0.5
    is_right = np.arange(n_rows) < share_right * n_rows
    return truth.tolist(), np.where(truth == is_right, 0.9, 0.1)


@pytest.mark.parametrize(
    ("share_right", "verdict"),
    [(0.90, "ok"), (0.86, "ok"), (0.84, "ok"), (0.80, "decay"), (0.5, "decay")],
    ids=["as before", "within the drop", "beyond it, but not surely", "surely beyond it", "a coin"],
)
def test_a_drop_is_decay_once_the_whole_interval_lies_beyond_it(judge, share_right, verdict):
    truth, scores = answers(1_000, share_right=share_right)
    found = judge(truth, scores, reference=0.9, metric="accuracy", drop=0.05)
    assert found.value == pytest.approx(share_right, abs=1e-9)
    # The normal interval of a share.
    assert found.high - found.low == pytest.approx(
        2 * 1.96 * (share_right * (1 - share_right) / 1_000) ** 0.5, rel=0.15
    )
    assert found.verdict == verdict


@pytest.mark.parametrize(("error", "verdict"), [(1.0, "ok"), (1.04, "ok"), (1.3, "decay")])
def test_a_loss_in_the_targets_unit_is_a_share_of_the_reference(judge, error, verdict):
    rng = np.random.default_rng(1)
    truth = rng.normal(500, 100, 2_000)
    found = judge(truth.tolist(), truth + 200 * error, reference=200.0, task="regression", metric="mae", drop=0.05)
    assert (found.value, found.verdict) == (pytest.approx(200 * error), verdict)


@pytest.mark.parametrize(
    ("truth", "settings", "said"),
    [
        ([True, False] * 30 + [None] * 40, {}, "60 of 100 predictions have a label, label_coverage=0.8 is asked for"),
        ([True, False] * 20, {}, "40 labelled rows: decay.minimum_rows=50 are needed"),
        ([True] * 100, {"metric": "roc_auc"}, "roc_auc has no interval here"),
        ([None] * 100, {}, "0 of 100 predictions have a label"),
        ([], {}, "0 of 0 predictions have a label"),
    ],
    ids=["below the coverage", "too few", "one class", "no label", "no row"],
)
def test_what_cannot_be_told_is_unknown(judge, truth, settings, said):
    found = judge(truth, np.full(len(truth), 0.5), reference=0.7, **{"metric": "accuracy", **settings})
    assert found.verdict == "unknown"
    assert said in found.reason


def test_without_a_value_on_the_test_rows_nothing_is_held_against_it(judge):
    truth, scores = answers(200, share_right=0.5)
    assert "is not known: evaluate the version again" in judge(truth, scores, reference=None, metric="accuracy").reason


def test_answers_that_are_no_numbers_are_unknown(judge):
    truth, scores = answers(200, share_right=0.9)
    found = judge(truth, np.where(np.arange(200) == 7, np.nan, scores), reference=0.9, metric="accuracy")
    assert (found.verdict, "the window cannot be scored" in found.reason) == ("unknown", True)
