"""The naive baseline: the strongest of a constant and the declared columns, for every task."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from include.errors import DeclarationError, EvidenceError, TrainingError
from include.modeling.labels import labels_of
from include.registry.naive import naive_predictions, naive_scores
from include.workflow import Gate, Search, Target, Training
from tests.factories import declare_workflow


def declare(tmp_path, *, naive, **target):
    return declare_workflow(tmp_path, target=Target(column="weight", **target), gate=Gate(naive=naive))


def table(last, weight):
    return pa.table({"last": pa.array(last, pa.float64()), "weight": pa.array(weight, pa.float64())})


FITTED = table([1, 2, 3, 4, 5, 6, None, 8], [1, 9, 2, 3, 12, 30, 4, 40])


def test_without_a_column_it_is_the_share_of_positives(tmp_path):
    assert naive_scores(declare(tmp_path, naive=None, above=8), FITTED, FITTED).tolist() == [0.5] * 8


def test_a_column_ranks_the_rows_as_itself(tmp_path):
    test = table([3.5, 100, None, 0, -7], [0] * 5)
    scores = naive_scores(declare(tmp_path, naive="last", above=8), FITTED, test)
    assert np.argsort(scores).tolist() == [4, 3, 0, 2, 1]  # the missing one counts as 4, the median of 1 to 6 and 8
    assert scores[2] == naive_scores(declare(tmp_path, naive="last", above=8), FITTED, table([4], [0]))[0]
    assert ((scores > 0) & (scores < 1)).all()


def test_a_column_that_never_differs_says_no_more_than_the_share(tmp_path):
    flat = table([5] * 4, [9, 1, 1, 1])
    assert naive_scores(declare(tmp_path, naive="last", above=8), flat, FITTED).tolist() == [0.25] * 8


@pytest.mark.parametrize(
    ("naive", "message"), [("lost", "'lost' is no column"), ("name", "'name' holds no numbers but string")]
)
def test_a_column_that_cannot_forecast_is_named(tmp_path, naive, message):
    rows = FITTED.append_column("name", pa.array(["a"] * 8))
    with pytest.raises(EvidenceError, match=message):
        naive_scores(declare(tmp_path, naive=naive, above=8), rows, rows)


def test_a_label_is_whether_a_number_lies_above(tmp_path):
    assert labels_of(declare(tmp_path, naive=None, above=8), table([0] * 4, [8, 8.5, -1, 900])).tolist() == [0, 1, 0, 1]


def test_what_holds_no_numbers_lies_above_nothing(tmp_path):
    workflow = declare_workflow(tmp_path, target=Target(column="name", above=8))
    with pytest.raises(TrainingError, match=r"target.above=8: column 'name' holds no numbers but string"):
        labels_of(workflow, pa.table({"name": ["a"]}))


def test_two_ways_to_say_what_is_positive_are_refused():
    with pytest.raises(DeclarationError, match="above=8 and positive='yes' both say what is positive"):
        Target(column="weight", positive="yes", above=8)


def predict(tmp_path, task, metric, *, fitted, test, naive=None, **more):
    quantile = 0.9 if metric == "pinball" else 0.5
    workflow = declare_workflow(
        tmp_path,
        target=Target(column="weight", task=task, quantile=quantile),
        training=Training(search=Search(metric=metric)),
        gate=Gate(naive=naive),
    )
    y = fitted["weight"].to_numpy()
    return naive_predictions(workflow, fitted, test, y_fitted=y.astype(int) if task == "multiclass" else y, **more)


@pytest.mark.parametrize(("metric", "expected"), [("rmse", 3.25), ("r2", 3.25), ("mae", 2.0), ("pinball", 6.5)])
def test_a_number_without_a_column_is_what_its_metric_asks_for(tmp_path, metric, expected):
    """The mean, the median, or the declared quantile: each is the best constant for its metric."""
    rows = table([0] * 4, [1, 1, 3, 8])
    assert predict(tmp_path, "regression", metric, fitted=rows, test=rows).tolist() == pytest.approx([expected] * 4)


def test_persistence_is_the_columns_value_and_the_median_where_it_is_missing(tmp_path):
    walk = np.cumsum(np.random.default_rng(0).normal(size=200))
    fitted, test = table([None, *walk[:-1]], walk), table([7.5, None, -2], [0] * 3)
    scores = predict(tmp_path, "forecasting", "mae", naive="last", fitted=fitted, test=test)
    assert scores.tolist() == pytest.approx([7.5, np.median(walk), -2])


def test_the_strongest_on_the_fitted_rows_is_the_one_to_beat(tmp_path):
    """A column that says nothing loses to the mean, whatever it says on the rows to judge on."""
    rng = np.random.default_rng(0)
    fitted, test = table(10 * rng.normal(size=200), rng.normal(size=200)), table([50, 60], [50, 60])
    scores = predict(tmp_path, "regression", "rmse", naive="last", fitted=fitted, test=test)
    assert scores.tolist() == pytest.approx([np.mean(fitted["weight"].to_numpy())] * 2)


def test_a_number_needs_a_column_of_numbers(tmp_path):
    rows = table([1, 2], [1, 2]).append_column("name", pa.array(["a", "b"]))
    with pytest.raises(EvidenceError, match="'name' holds no numbers but string"):
        predict(tmp_path, "regression", "rmse", naive="name", fitted=rows, test=rows)


def test_several_classes_without_a_column_are_their_shares(tmp_path):
    rows = table([0] * 4, [0, 2, 2, 2])
    scores = predict(tmp_path, "multiclass", "log_loss", fitted=rows, test=rows.slice(0, 2), n_classes=4)
    assert scores.tolist() == [[0.25, 0, 0.75, 0]] * 2


def test_the_last_class_says_what_followed_it(tmp_path):
    """
    After an a always class 0, after a b mostly class 1: drawn a little to the shares of all; what was never seen has
    those.
    """
    fitted = table([0] * 8, [0, 0, 0, 0, 1, 1, 1, 0]).append_column("before", pa.array(["a"] * 4 + ["b"] * 4))
    test = table([0] * 3, [0] * 3).append_column("before", pa.array(["a", "b", "new"]))
    scores = predict(tmp_path, "multiclass", "log_loss", naive="before", fitted=fitted, test=test, n_classes=2)
    assert scores == pytest.approx(np.array([[4.625 / 5, 0.375 / 5], [1.625 / 5, 3.375 / 5], [0.625, 0.375]]))


def test_numbers_tell_several_classes_by_a_curve(tmp_path):
    rng = np.random.default_rng(0)
    codes = rng.choice([0, 2, 3], 300)  # class 1 never occurs
    fitted, test = table(codes + 0.3 * rng.normal(size=300), codes), table([0, 2, 3], [0] * 3)
    scores = predict(tmp_path, "multiclass", "accuracy", naive="last", fitted=fitted, test=test, n_classes=4)
    assert scores.argmax(axis=1).tolist() == [0, 2, 3]
    assert scores[:, 1].tolist() == [0, 0, 0]
    assert scores.sum(axis=1) == pytest.approx(1)
