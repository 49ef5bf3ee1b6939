"""The compiled scorer: the pipeline's own scores, or none at all."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier, HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import FunctionTransformer, MinMaxScaler, OneHotEncoder, OrdinalEncoder

from include.errors import DataError
from include.modeling import compiled
from include.modeling.compiled import compile_scorer, sigmoid
from include.modeling.features import builder_of_workflow
from include.modeling.frame import feature_columns_of, feature_frame
from include.modeling.labels import labels_of
from include.modeling.model import Model
from include.modeling.schema import coerce_row, iterate_rows
from include.modeling.search import problem_of
from include.selection.ensemble import WeightedEnsemble
from include.selection.families import MAX_LEAVES, PORTFOLIO, Configuration, with_rounds
from include.selection.trial import fit_whole
from include.workflow import Search, Target, Training
from tests.factories import days, parcel_rows
from tests.modeling.conftest import Trained

COMPILED = [
    with_rounds(c, 40) for c in PORTFOLIO if c.family not in ("svm", "neighbors") and c.params.get("target") != "log"
]
LINEAR, BOOSTING, HIST, FOREST = (
    next(c for c in COMPILED if c.family == f) for f in ("linear", "boosting", "hist_boosting", "forest")
)


def some_of(configurations: Iterable[Configuration]) -> list[Any]:
    """Parameters of a test: the first configuration of each family, the others as a claim."""
    seen: set[str] = set()
    found = []
    for c in configurations:
        found.append(pytest.param(c, marks=pytest.mark.claim("serving") if c.family in seen else ()))
        seen.add(c.family)
    return found


ROWS = pa.concat_tables([parcel_rows(day=day, n_rows=400) for day in days(5)])


def model_of(trained: Trained, pipeline: Any, *, table: pa.Table = ROWS) -> Model:
    """Fit a pipeline, or a configuration's, on the parcels and wrap it as a model."""
    builder = builder_of_workflow(trained.workflow, table.schema)
    features = builder.build_table(table)
    columns = feature_columns_of(features)
    X, y = feature_frame(features, columns), labels_of(trained.workflow, table)
    if isinstance(pipeline, Configuration):
        pipeline = fit_whole(problem_of(trained.workflow, columns, classes=(), y=y), X, y, pipeline)
    elif isinstance(pipeline, Pipeline):
        pipeline.fit(X, y)
    names, kinds = tuple(c.name for c in columns), tuple(c.kind for c in columns)
    task = trained.workflow.target.task
    manifest = replace(
        trained.manifest, task=task, input_columns=builder.columns, feature_names=names, feature_kinds=kinds
    )
    return Model(manifest=manifest, pipeline=pipeline, builder=builder)


def strange_rows(model: Model, n_rows: int = 1000) -> list[Mapping[str, Any]]:
    """Real rows, of which many lack a value, come from an unknown depot or are out of all bounds."""
    rng = np.random.default_rng(1)
    names = [column.name for column in model.manifest.input_columns]
    rows = [
        dict(zip(names, values, strict=True))
        for values in iterate_rows(ROWS.slice(0, n_rows), model.manifest.input_columns)
    ]
    for row in rows:
        for name in ("depot", "distance_km", "weight_kg"):
            row[name] = None if rng.random() < 0.15 else row[name]
        row["depot"] = "moon" if rng.random() < 0.15 else row["depot"]
        row["distance_km"] = float(rng.choice([1e30, -1e30, 1e300, 0.0])) if rng.random() < 0.1 else row["distance_km"]
    return rows


@pytest.mark.parametrize(
    "configuration", some_of(COMPILED), ids=lambda c: f"{c.family}-{next(iter(c.params.values()))}-{c.view}"
)
def test_compiled_scores_are_the_pipelines(trained: Trained, configuration: Configuration) -> None:
    model = model_of(trained, configuration)
    scorer = compile_scorer(model)
    assert scorer is not None
    rows = strange_rows(model)
    np.testing.assert_allclose(scorer(rows), model.predict(rows), rtol=0, atol=1e-12)


@pytest.mark.parametrize("min_frequency", [5000, 1, 600])
def test_rare_categories_and_none_missing(trained: Trained, min_frequency: int) -> None:
    """Every depot is rare, every weight known: the encoder has one column, the imputer no indicator."""
    table = ROWS.set_column(ROWS.schema.get_field_index("weight_kg"), "weight_kg", ROWS["distance_km"])
    model = model_of(trained, LINEAR, table=table)
    [encoder] = [step for name, step, _ in model.pipeline.named_steps["prepare"].transformers if name == "categories"]
    encoder.set_params(min_frequency=min_frequency)
    model = model_of(trained, model.pipeline, table=table)
    scorer = compile_scorer(model)
    assert scorer is not None
    rows = strange_rows(model, 200)
    np.testing.assert_allclose(scorer(rows), model.predict(rows), rtol=0, atol=1e-12)


@pytest.mark.claim("serving")
def test_a_weighted_ensemble_is_compiled(trained: Trained) -> None:
    members = [model_of(trained, configuration).pipeline for configuration in (LINEAR, BOOSTING, FOREST)]
    model = model_of(trained, WeightedEnsemble(members=members, weights=[0.5, 0.3, 0.2]))
    scorer = compile_scorer(model)
    assert scorer is not None
    rows = strange_rows(model, 300)
    np.testing.assert_allclose(scorer(rows), model.predict(rows), rtol=0, atol=1e-12)


@pytest.mark.claim("serving")
def test_an_ensemble_of_numbers_is_compiled_with_its_reach(trained: Trained) -> None:
    """Rows far from any trained on, where the linear member runs off: without the reach the answers are others."""
    task = Target(column="price", task="regression")
    workflow = trained.workflow.model_copy(update={"target": task, "training": Training(search=Search(metric="rmse"))})
    prices = pc.add(pc.fill_null(ROWS["weight_kg"], 1.0), pc.divide(ROWS["distance_km"], 50.0))
    table, of_prices = ROWS.append_column("price", prices), replace(trained, workflow=workflow)
    members = [model_of(of_prices, c, table=table).pipeline for c in (with_rounds(BOOSTING, 30), LINEAR)]
    answers = []
    for reach in (0.5, None):
        model = model_of(of_prices, WeightedEnsemble(members=members, weights=[0.5, 0.5], reach=reach), table=table)
        scorer = compile_scorer(model)
        assert scorer is not None
        rows = strange_rows(model, 200)
        answers.append(model.predict(rows))
        np.testing.assert_allclose(scorer(rows), answers[-1], rtol=1e-12, atol=1e-12)
    assert np.abs(np.subtract(*answers)).max() > 1


@pytest.mark.parametrize(
    "configuration",
    some_of(PORTFOLIO),
    ids=lambda c: f"{c.family}-{next(iter(c.params.values()))}-{c.params.get('target')}",
)
def test_numbers_are_compiled(trained: Trained, configuration: Configuration) -> None:
    """An amount to predict, in each family that can be compiled; the others say that they can't."""
    task = Target(column="price", task="regression")
    workflow = trained.workflow.model_copy(update={"target": task, "training": Training(search=Search(metric="rmse"))})
    prices = pc.add(pc.fill_null(ROWS["weight_kg"], 1.0), pc.divide(ROWS["distance_km"], 50.0))
    table = ROWS.append_column("price", prices)
    model = model_of(replace(trained, workflow=workflow), with_rounds(configuration, 30), table=table)
    scorer = compile_scorer(model)
    assert (scorer is None) == (configuration.family in ("svm", "neighbors"))
    if scorer is not None:
        rows = strange_rows(model, 200)
        np.testing.assert_allclose(scorer(rows), model.predict(rows), rtol=1e-12, atol=1e-12)


def _transform(numbers: Any, categories: Any, model: Any) -> Pipeline:
    steps = [("numbers", numbers, ["distance_km", "hour"]), ("categories", categories, ["depot"])]
    return Pipeline([("prepare", ColumnTransformer(steps, sparse_threshold=0)), ("model", model)])


ONE_HOT = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)


@pytest.mark.parametrize(
    "pipeline",
    [
        _transform(MinMaxScaler(), ONE_HOT, LogisticRegression()),
        _transform(FunctionTransformer(np.abs), ONE_HOT, HistGradientBoostingClassifier(max_iter=3)),
        _transform("passthrough", ORDINAL, HistGradientBoostingClassifier(max_iter=3)),
        _transform("passthrough", ONE_HOT, GradientBoostingClassifier(n_estimators=3)),
        _transform("passthrough", ORDINAL, LogisticRegression()),
    ],
    ids=["scaler", "function", "encoder", "estimator", "linear-encoder"],
)
def test_what_is_not_known_exactly_is_not_compiled(trained: Trained, pipeline: Pipeline) -> None:
    assert compile_scorer(model_of(trained, pipeline)) is None


def test_native_categories_are_not_compiled(trained: Trained) -> None:
    model = model_of(trained, HIST)
    nodes = model.pipeline.named_steps["model"]._predictors[0][0].nodes
    nodes["is_categorical"][0] = 1
    assert compile_scorer(model) is None


def test_another_estimator_behind_the_families_preparation_is_not_compiled(trained: Trained) -> None:
    model = model_of(trained, FOREST)
    model.pipeline.steps[-1] = ("model", GradientBoostingClassifier(n_estimators=3))
    assert compile_scorer(model_of(trained, model.pipeline)) is None


def test_a_compiled_form_that_differs_is_not_handed_out(trained: Trained, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last guard: whatever was compiled is compared with the pipeline."""
    model = model_of(trained, LINEAR)
    monkeypatch.setattr(compiled, "sigmoid", lambda value: sigmoid(value) + 1e-9)
    assert compile_scorer(model) is None


def test_a_child_before_its_parent_is_not_compiled(trained: Trained) -> None:
    model = model_of(trained, HIST)
    model.pipeline.named_steps["model"]._predictors[0][0].nodes["left"][0] = 0
    assert compile_scorer(model) is None


def test_wrong_features_are_the_same_errors(trained: Trained) -> None:
    model = model_of(trained, LINEAR)
    scorer = compile_scorer(model)
    assert scorer is not None
    row = {**strange_rows(model)[0], "depot": 5}
    for score in (scorer, model.predict):
        with pytest.raises(DataError, match="feature 'depot' was trained as a category, but is a number here"):
            score([row])
        with pytest.raises(
            DataError, match=r"features.build fails on a row with AttributeError at line 13 of features.py"
        ):
            score([{**row, "sent_at": None}])


def test_a_loaded_package_serves_requests_as_its_golden_rows_say(trained: Trained) -> None:
    from include.modeling.model import read_golden

    model, golden = trained.load(), read_golden(trained.folder)
    scorer = compile_scorer(model)
    assert scorer is not None
    served = [scorer([coerce_row(model.manifest.input_columns, row)])[0] for row in golden.rows]
    np.testing.assert_allclose(served, golden.predictions, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0, 0.5), (1e30, 1.0), (-1e30, 0.0), (float("inf"), 1.0), (np.log(3), 0.75)]
)
def test_sigmoid(value: float, expected: float) -> None:
    assert sigmoid(value) == pytest.approx(expected, abs=1e-15)


def test_stored_sizes_and_steps_are_bounded() -> None:
    """No forest may grow past what a package and a request can bear, whatever the data."""
    forests = [c for c in PORTFOLIO if c.family in ("forest", "extra_trees")]
    assert max(c.params["n_estimators"] for c in forests) * MAX_LEAVES <= 250_000  # two nodes of some 80 bytes a leaf
