"""
A fitted pipeline as bytes: the same bytes for the same pipeline, and the same predictions from them, in every family
and task.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import skops.io
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline

from include.modeling.stored_form import dump_pipeline, load_pipeline
from include.selection.columns import FeatureColumn
from include.selection.families import PORTFOLIO, Configuration, predict_with, with_rounds
from include.selection.problem import Problem
from include.selection.trial import fit_whole
from include.workflow.tasks import Task

KINDS = [
    ("classification", "log_loss", 2),
    ("multiclass", "log_loss", 3),
    ("regression", "rmse", 0),
    ("regression", "pinball", 0),
]


# Classes have no logarithm.
EACH = [(*kind, c) for kind in KINDS for c in PORTFOLIO[:-2] if not (kind[2] and c.params.get("target") == "log")]
# One configuration a family, of two classes, and the most used family in every task; the others are a claim. So are
# forests, which take long and are stored as extra trees are.
FIRST = {
    (task, c.family): c
    for task, _, _, c in reversed(EACH)
    if c.family == "boosting" or (task == "classification" and c.family != "forest")
}
CASES = [
    pytest.param(*case, marks=() if FIRST.get((case[0], case[3].family)) is case[3] else pytest.mark.claim("search"))
    for case in EACH
]


@pytest.mark.parametrize(("task", "metric", "n_classes", "configuration"), CASES)
def test_every_family_is_stored_without_code(
    task: Task, metric: str, n_classes: int, configuration: Configuration
) -> None:
    """Loaded, it predicts the same to the bit; and its bytes depend on nothing but itself."""
    rng = np.random.default_rng(0)
    said = [" ".join(rng.choice(["bird", "struck", "wing", "engine", "runway"], 6)) for _ in range(240)]
    X = pd.DataFrame({"a": [float(i % 7) for i in range(240)], "c": ["xyz"[i % 3] for i in range(240)], "t": said})
    columns = tuple(
        FeatureColumn(name=name, kind=kind) for name, kind in (("a", "number"), ("c", "category"), ("t", "text"))
    )
    problem = Problem(task=task, metric=metric, columns=columns, n_classes=n_classes, random_state=0)
    y = np.arange(240) * 7 % 5 % n_classes if n_classes else X["a"].to_numpy() ** 2
    pipeline = fit_whole(problem, X, y, with_rounds(configuration, 10))
    data = dump_pipeline(pipeline)
    loaded = [load_pipeline(data) for _ in range(2)]
    assert {dump_pipeline(again) for again in loaded} == {data}
    expected = predict_with(pipeline, X, n_classes=n_classes)
    np.testing.assert_array_equal(predict_with(loaded[0], X, n_classes=n_classes), expected)


def test_as_skops_writes_them_bytes_differ() -> None:
    """The control: it names entries after memory addresses."""
    loaded = [
        load_pipeline(dump_pipeline(Pipeline([("model", LogisticRegression().fit([[0], [1]], [0, 1]))])))
        for _ in range(2)
    ]
    assert len({skops.io.dumps(pipeline) for pipeline in loaded}) == 2
