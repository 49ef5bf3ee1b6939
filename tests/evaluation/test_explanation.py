"""Importance and dependence of models whose inside is known: a formula in place of a fit."""

import numpy as np
import pyarrow as pa
import pytest

from include.errors import DataError
from include.evaluation.evaluate import Scoring
from include.evaluation.explanation import MAX_PREDICTIONS, N_REPEATS, Probe, partial_dependence, permutation_importance


def number(table, name):
    return np.asarray(table[name].to_numpy(), dtype=np.float64)


def probe(predict, *, n_rows=600, task="regression", metric="rmse", **columns):
    rng = np.random.default_rng(0)
    table = pa.table(
        {"a": rng.normal(size=n_rows), "b": rng.normal(size=n_rows), "idle": rng.normal(size=n_rows), **columns}
    )
    return Probe(
        predict=predict,
        table=table,
        y_true=predict(table),
        score=Scoring(task=task).rows,
        metric=metric,
        random_state=0,
    )


def linear(table):
    return 3 * number(table, "a") + number(table, "b")


def test_columns_rank_by_what_the_formula_gives_them():
    """Of a perfect model of unit normals, shuffling a column of weight w costs an RMSE of w * sqrt(2)."""
    found = permutation_importance(probe(linear), columns=["idle", "b", "a"])
    assert [item.column for item in found] == ["a", "b", "idle"]
    assert [item.loss.value for item in found] == pytest.approx([3 * 2**0.5, 2**0.5, 0], rel=0.1)
    assert all(item.loss.low <= item.loss.value <= item.loss.high for item in found)
    assert found[-1].loss.high == 0  # not used at all: no shuffle changes anything


def test_a_metric_to_be_maximised_counts_the_same_way():
    found = permutation_importance(probe(linear, metric="r2"), columns=["a", "idle"])
    assert found[0].column == "a"
    assert found[0].loss.value == pytest.approx(2 * 9 / 10, rel=0.15)  # twice the column's share of the variance


def test_a_column_that_harms_is_worth_less_than_nothing(rng):
    """The model adds noise that the truth does not know."""
    harmed = probe(lambda table: number(table, "a") + 0.5 * number(table, "b"))
    harmed = Probe(**{**vars(harmed), "y_true": number(harmed.table, "a") - 0.5 * number(harmed.table, "b")})
    found = {item.column: item.loss for item in permutation_importance(harmed, columns=["a", "b"])}
    assert found["b"].high < 0 < found["a"].low


def test_the_cost_is_bounded_and_the_seed_decides():
    asked = []

    def counting(table):
        asked.append(table.num_rows)
        return linear(table)

    wide = probe(counting, n_rows=3_000)
    asked.clear()
    first = permutation_importance(wide, columns=["a", "b", "idle"] * 40)
    assert sum(asked) <= MAX_PREDICTIONS * 1.01
    assert len(asked) == 1 + 80 * N_REPEATS + 40  # of an idle column, one shuffle tells all
    assert permutation_importance(wide, columns=["a", "b", "idle"] * 40) == first


def test_two_classes_and_several_are_asked_alike(rng):
    def two(table):
        return (number(table, "a") > 0).astype(float)

    def three(table):
        codes = np.digitize(number(table, "b"), [-0.5, 0.5])
        return np.eye(3)[codes]

    assert permutation_importance(probe(two, task="classification", metric="roc_auc"), columns=["b", "a"])[
        0
    ].loss.value == pytest.approx(0.5, abs=0.05)
    model = probe(three, task="classification")
    several = Probe(
        **{**vars(model), "y_true": three(model.table).argmax(axis=1), "score": Scoring(task="multiclass").rows}
    )
    several = Probe(**{**vars(several), "metric": "accuracy"})
    assert permutation_importance(several, columns=["a", "b"])[0].column == "b"
    (found,) = partial_dependence(several, columns=["b"], outputs=["low", "middle", "high"])
    assert found.answers[0] == (1, 0, 0)
    assert found.answers[-1] == (0, 0, 1)


def test_dependence_follows_the_formula():
    """The mean answer of 3a + b moves by 3 for each unit of a, whatever b is."""
    (found,) = partial_dependence(probe(linear), columns=["a"], outputs=["y"])
    grid, answers = np.array([float(v) for v in found.grid]), np.array(found.answers)[:, 0]
    assert np.diff(answers) / np.diff(grid) == pytest.approx(3, rel=0.02)  # the grid is told to four digits
    assert len(grid) == 10


def test_categories_that_few_rows_share_are_not_shown():
    names = ["rare"] * 29 + ["north"] * 300 + ["south"] * 271
    model = probe(lambda table: (np.array(table["depot"].to_pylist()) == "north").astype(float), depot=names)
    (found,) = partial_dependence(model, columns=["depot"], outputs=["y"])
    assert found.grid == ("north", "south")
    assert found.answers == ((1.0,), (0.0,))


@pytest.mark.parametrize(
    "values",
    [
        pa.array([f"name {i}" for i in range(600)]),  # everybody's own
        pa.nulls(600, pa.float64()),
        pa.array([7.0] * 600),
        pa.array([[1, 2]] * 600),
        pa.array([np.nan] * 600),
    ],
)
def test_a_column_without_a_grid_is_left_out(values):
    assert partial_dependence(probe(linear, odd=values), columns=["odd"], outputs=["y"]) == ()


def test_moments_have_a_grid_in_their_order():
    moments = pa.array(np.datetime64("2026-01-01T00:00:00", "us") + np.arange(600) * np.timedelta64(3600, "s"))
    model = probe(lambda table: np.array([m.timestamp() for m in table["at"].to_pylist()]) / 3600, at=moments)
    (found,) = partial_dependence(model, columns=["at"], outputs=["y"])
    assert list(found.grid) == sorted(found.grid)
    assert not found.is_number


def test_a_metric_without_a_value_says_so():
    constant = probe(lambda table: np.full(table.num_rows, 0.5), task="classification", metric="roc_auc")
    (found,) = permutation_importance(Probe(**{**vars(constant), "y_true": np.zeros(600)}), columns=["a"])
    assert "roc_auc has no value" in found.loss.reason


def test_columns_that_belong_together_are_left_out_one_by_one():
    """
    A feature function that refuses a row whose digest is not its text's: no shuffle of one of them can
    be asked about.
    """
    names = [f"n{i % 5}" for i in range(600)]

    def strict(table):
        if any(
            digest != f"digest of {name}"
            for name, digest in zip(table["name"].to_pylist(), table["digest"].to_pylist(), strict=True)
        ):
            raise DataError("the digest is another's")
        return number(table, "a")

    model = probe(strict, name=names, digest=[f"digest of {name}" for name in names])
    found = {item.column: item.loss for item in permutation_importance(model, columns=["name", "digest", "a"])}
    assert "cannot be made without this column's own values" in found["name"].reason
    assert found["a"].low > 0
    assert [item.column for item in partial_dependence(model, columns=["name", "a"], outputs=["y"])] == ["a"]
