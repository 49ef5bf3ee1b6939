"""Figures are PNG of a legible size, whatever the rows; their looks were judged by eye."""

import struct
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from include.evaluation.evaluate import evaluate_classifier
from include.evaluation.figures import draw_difference, draw_figures
from include.workflow import Gate
from tests.evaluation.rows import draw_evidence

ALL = {"precision_recall.png", "roc.png", "calibration.png", "slices.png"}


def size_of(png: bytes) -> tuple[int, int]:
    """Width and height from the PNG's header."""
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", png[16:24])


def draw(y_true, y_score, **slices):
    report = evaluate_classifier(y_true, y_score, slices=slices, random_state=0, n_bootstrap=20)
    return draw_figures(report, y_true, y_score, metric="average_precision")


def test_all_figures_are_drawn_large_enough():
    e = draw_evidence(n_rows=3_000)
    figures = draw(e.y_true, e.candidate, depot=e.slices["depot"])
    assert set(figures) == ALL
    assert all(width >= 700 and height >= 200 for width, height in map(size_of, figures.values()))


@pytest.mark.claim("gate")
def test_more_slices_make_a_higher_figure(rng):
    y_true, y_score = rng.random(600) < 0.5, rng.random(600)
    low, high = (size_of(draw(y_true, y_score, code=rng.integers(0, n, 600))["slices.png"])[1] for n in (2, 20))
    assert high > low + 300


def test_one_class_leaves_out_the_curves_it_does_not_have():
    assert set(draw([0] * 40, np.linspace(0, 1, 40))) == {"calibration.png"}
    assert set(draw([0] * 40, np.linspace(0, 1, 40), code=["a"] * 40)) == {"calibration.png", "slices.png"}


@pytest.mark.parametrize(
    "label",
    [
        "costs $5 to $9",
        *(pytest.param(label, marks=pytest.mark.claim("gate")) for label in ("x" * 300, "two\nlines", "", "日本")),
    ],
)
def test_odd_labels_are_drawn(label, rng):
    """No formula, no endless label; a warning (a missing glyph, say) would fail the test."""
    draw(rng.random(80) < 0.5, rng.random(80), code=[label] * 60 + ["other"] * 20)


def test_a_slice_of_one_class_and_a_small_one_are_drawn_too(rng):
    y_true = np.arange(140) % 2 * (np.arange(140) >= 40)
    draw(y_true, rng.random(140), code=["one class"] * 40 + ["large"] * 90 + ["small"] * 10)


def test_difference_needs_a_champion_and_unseen_rows():
    evidence = draw_evidence(n_rows=300)
    assert set(draw_difference(evidence, Gate())) == {"difference.png"}
    assert draw_difference(replace(evidence, champion=None), Gate()) == {}
    assert draw_difference(replace(evidence, seen_by_champion=np.ones(300, dtype=bool)), Gate()) == {}


@pytest.mark.parametrize(
    ("task", "metric", "draw"),
    [
        (
            "multiclass",
            "log_loss",
            lambda rng: (rng.integers(0, 3, 300), rng.dirichlet([1, 1, 1], 300), rng.dirichlet([1, 1, 1], 300)),
        ),
        ("forecasting", "mae", lambda rng: rng.normal(100, 10, (3, 300))),
    ],
)
def test_the_difference_of_every_task_is_drawn(task, metric, draw, rng):
    y, candidate, champion = draw(rng)
    evidence = replace(
        draw_evidence(n_rows=300),
        task=task,
        metric=metric,
        y_true=y,
        candidate=candidate,
        champion=champion,
        times=np.datetime64("2026-01-01", "us") + np.arange(300) * np.timedelta64(3600, "s"),
        block=timedelta(days=1),
    )
    assert size_of(draw_difference(evidence, Gate())["difference.png"])[0] > 700


@pytest.mark.claim("gate")
def test_pyplot_and_its_global_state_stay_out():
    """Drawing never imports pyplot, so nothing is shared between threads and forks."""
    code = (
        "import sys; from include.evaluation.figures import draw_figures; from include.evaluation.evaluate import "
        "evaluate_classifier;y, s = [0, 1] * 9, [0.1, 0.7] * 9;draw_figures(evaluate_classifier(y, s, slices={}, "
        "random_state=0, n_bootstrap=2), y, s, metric='f1');sys.exit('matplotlib.pyplot' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
